"""Everything that decides a model, and nothing else: the hash of it is the model's key."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medunlearn.cohort.forget_sets import ForgetSet
from medunlearn.models import is_short, target_of
from medunlearn.sources import (
    canonical_hash,
    file_hash,
    module_hash,
    module_hashes,
    notebook_hash,
    notebook_imports,
    source_of,
)
from medunlearn.study.design import ModelSpec, all_models, all_timings, is_watched
from medunlearn.study.jobs import COHORT, NOTEBOOKS
from medunlearn.study.study import PROJECT, Study

if TYPE_CHECKING:
    from medunlearn.study.store import Store

_MEASURED = frozenset({"medunlearn.cost"})
"""What methods import, and what decides no model but measurements of cost."""

_MAKERS = frozenset(
    f"medunlearn.study.{name}" for name in ("builder", "devices", "engine", "reproduce", "store")
) | {"medunlearn.unlearning.call"}
"""What makes models and keeps them: a report reads their files, whose hashes are in its key.

The public call is what ``import medunlearn`` offers; a notebook that calls it makes no model here.
"""


def describe(
    study: Study, spec: ModelSpec, forget_set: ForgetSet | None, made_from: Sequence[str]
) -> dict[str, Any]:
    """Everything that decides a model, by part.

    Args:
        study: The study.
        spec: The model.
        forget_set: What it is not to know; none where the reference models stand for it.
        made_from: Keys of the models that it is made from.
    """
    watched = is_watched(study.profile, spec)
    ingredients: dict[str, Any] = {
        "parameters": asdict(spec),
        "recipe": _recipe(study),
        "settings": dict(study.settings(spec.method)) if spec.method else {},
        "forget set": forget_set.sha256 if forget_set else None,
        "inputs": list(made_from),
        "notebook": _hash_of(NOTEBOOKS[spec.role]),
        "code": _code(spec, watched=watched),
        "cohort": study.cohort.sha256,
        "versions": versions(),
        "device": study.device,
    }
    if spec.role == "original" and study.profile.rewinds:
        ingredients["checkpoint"] = True
    if watched:
        ingredients["relearning"] = study.profile.relearning.model_dump()
    if spec.role == "timing":
        ingredients["cost"] = study.profile.cost.model_dump()
    return ingredients


def _recipe(study: Study) -> dict[str, Any]:
    """The recipe, with hashes of files where it names them: of weights, of a network's source."""
    recipe, network = dict(study.recipe), study.profile.network
    if recipe["weights"]:
        recipe["weights"] = file_hash(Path(recipe["weights"]))
    if not is_short(network) and (source := source_of(target_of(network)[0])):
        recipe["network source"] = file_hash(source)
    return recipe


def notebook_key(study: Study, notebook: str, store: "Store") -> str:
    """What decides a notebook that makes no model: all code upstream, configuration and models."""
    path = PROJECT / "notebooks" / f"{notebook}.ipynb"
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    if notebook == COHORT:  # it reads no model
        specs = []
    models = [store.files(store.entry(spec).key) for spec in specs]
    return canonical_hash(
        [
            notebook_hash(path),
            module_hashes(*notebook_imports(path), without=_MAKERS),
            study.cohort.sha256,
            study.cohort.manifest.model_dump(mode="json"),
            study.profile.model_dump(mode="json"),
            study.tuned.model_dump(mode="json") if study.tuned else None,
            models,
        ]
    )


@cache
def versions() -> dict[str, str]:
    """Of what decides a result beside the code."""
    packages = {name: version(name).split("+")[0] for name in ("torch", "monai", "numpy")}
    return {"python": ".".join(platform.python_version_tuple()[:2]), **packages}


@cache
def _hash_of(notebook: str) -> str:
    return notebook_hash(PROJECT / "notebooks" / f"{notebook}.ipynb")


def _code(spec: ModelSpec, *, watched: bool) -> dict[str, str]:
    """Hashes of the modules that decide a model, with all they import; of ``builder`` itself."""
    builder = "medunlearn.study.builder"
    modules = ["medunlearn.training", "medunlearn.evaluation.predictions"]
    if spec.method:
        modules.append(f"medunlearn.methods.{spec.method}")
    if spec.cell and spec.cell.by_difficulty:
        modules += ["medunlearn.evaluation.difficulty", "medunlearn.cohort.forget_sets"]
    if watched:
        modules.append("medunlearn.evaluation.relearning")
    timed = spec.role in {"timing", "trial"}
    return {
        **module_hashes(*modules, without=frozenset() if timed else _MEASURED),
        builder: module_hash(builder),
    }


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The parts of the ingredients that differ, with both values where they are short.

    Of the code, the modules.
    """
    parts = [part for part in new if part != "code" and old.get(part) != new[part]]
    before, after = old.get("code", {}), new["code"]
    modules = sorted({*before, *after})
    changed = [f"code of {m}" for m in modules if before.get(m) != after.get(m)]
    return [_tell(part, old.get(part), new[part]) for part in parts] + changed


SHORT = 24
"""Characters of a value that a reason still shows: hashes are longer."""


def _tell(part: str, old: object, new: object) -> str:
    """``settings (epochs: 1 -> 2)``; the part alone where values are long."""
    before, after = (each if isinstance(each, dict) else {"": each} for each in (old, new))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    pairs = {name: (str(before.get(name, "-")), str(after.get(name, "-"))) for name in names}
    short = [
        f"{name}: {first} -> {last}".removeprefix(": ")
        for name, (first, last) in pairs.items()
        if max(len(first), len(last)) <= SHORT
    ]
    return f"{part} ({', '.join(short)})" if short else part
