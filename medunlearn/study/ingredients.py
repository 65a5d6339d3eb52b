"""Everything that decides a model, and nothing else: the hash of it is the model's key."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

from medunlearn.sources import module_hashes, notebook_hash
from medunlearn.study.draws import Draws
from medunlearn.study.models import (
    BY_DIFFICULTY,
    ModelSpec,
    is_watched,
    original,
    references,
)
from medunlearn.study.study import PROJECT, Study

_NOTEBOOKS = {
    "original": "02_reference_models",
    "retrained": "02_reference_models",
    "reference": "02_reference_models",
    "unlearned": "03_unlearn",
    "timing": "08_cost",
    "trial": "06_tuning",
}


def sources(study: Study, spec: ModelSpec) -> list[ModelSpec]:
    """The models that a model is made from.

    A forget set drawn by difficulty is not known before the reference models are there: in the key
    of a model they stand for it.
    """
    found = [original(spec.seed)] if spec.role in {"unlearned", "timing", "trial"} else []
    return found + (references(study.profile) if _by_difficulty(spec) else [])


def describe(
    study: Study, draws: Draws, spec: ModelSpec, made_from: Sequence[str]
) -> dict[str, Any]:
    """Everything that decides a model, by part.

    Args:
        study: The study.
        draws: Its forget sets.
        spec: The model.
        made_from: Keys of its ``sources``.
    """
    drawn = spec.cell is not None and not _by_difficulty(spec)
    watched = is_watched(study.profile, spec)
    packages = ("torch", "monai", "numpy")
    versions = {name: _version(name) for name in packages}
    ingredients = {
        "parameters": asdict(spec),
        "recipe": study.recipe,
        "settings": dict(study.settings(spec.method)) if spec.method else {},
        "forget set": draws.of(spec).sha256 if drawn else None,
        "inputs": list(made_from),
        "notebook": _hash_of(_NOTEBOOKS[spec.role]),
        "code": module_hashes(*_modules(spec, watched=watched)),
        "cohort": study.cohort.sha256,
        "versions": {"python": ".".join(platform.python_version_tuple()[:2]), **versions},
        "device": study.device,
    }
    if watched:
        ingredients["relearning"] = study.profile.relearning.model_dump()
    if spec.role == "timing":
        ingredients["cost"] = study.profile.cost.model_dump()
    return ingredients


@cache
def _version(package: str) -> str:
    return version(package).split("+")[0]


@cache
def _hash_of(notebook: str) -> str:
    return notebook_hash(PROJECT / "notebooks" / f"{notebook}.ipynb")


def _by_difficulty(spec: ModelSpec) -> bool:
    return spec.cell is not None and spec.cell.composition in BY_DIFFICULTY


def _modules(spec: ModelSpec, *, watched: bool) -> list[str]:
    """The modules that decide a model, with all they import: never statistics or figures."""
    modules = [
        "medunlearn.training",
        "medunlearn.evaluation.predictions",
        "medunlearn.study.workbench",
    ]
    if spec.method:
        modules.append(f"medunlearn.methods.{spec.method}")
    if spec.role in {"timing", "trial"}:
        modules.append("medunlearn.cost")
    if _by_difficulty(spec):
        modules += ["medunlearn.evaluation.difficulty", "medunlearn.cohort.forget_sets"]
    if watched:
        modules.append("medunlearn.evaluation.relearning")
    return modules


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
    if not isinstance(old, dict) or not isinstance(new, dict):
        pairs = {"": (old, new)}
    else:
        both = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        pairs = {f"{name}: ": (old.get(name, "-"), new.get(name, "-")) for name in both}
    short = [
        f"{name}{before} -> {after}"
        for name, (before, after) in pairs.items()
        if max(len(str(before)), len(str(after))) <= SHORT
    ]
    return f"{part} ({', '.join(short)})" if short else part
