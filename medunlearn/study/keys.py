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
from medunlearn.study.design import (
    COHORT,
    NOTEBOOKS,
    ModelSpec,
    all_models,
    all_timings,
    is_watched,
)
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


_hash_of = cache(notebook_hash)


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
    notebook = PROJECT / "notebooks" / f"{NOTEBOOKS[spec.role]}.ipynb"
    ingredients: dict[str, Any] = {
        "parameters": asdict(spec),
        "recipe": _recipe(study),
        "settings": dict(study.settings(spec.method)) if spec.method else {},
        "forget set": forget_set.sha256 if forget_set else None,
        "inputs": list(made_from),
        "notebook": _hash_of(notebook),
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
    path, specs = PROJECT / "notebooks" / f"{notebook}.ipynb", list[ModelSpec]()
    if notebook != COHORT:  # which reads no model
        specs = [*all_models(study.profile), *all_timings(study.profile)]
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
    """The parts of the ingredients that differ: ``settings (epochs: 1 -> 2)``, ``cohort``.

    Of the code, the modules.
    """
    told = []
    for part in (part for part in new if old.get(part) != new[part]):
        before, after = old.get(part), new[part]
        if not (isinstance(before, dict) and isinstance(after, dict)):
            told.append(part)
            continue
        names = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
        if part == "code":
            told += [f"code of {module}" for module in names]
        else:
            pairs = [f"{n}: {before.get(n, '-')} -> {after.get(n, '-')}" for n in names]
            told.append(f"{part} ({', '.join(pairs)})")
    return told
