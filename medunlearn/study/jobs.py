"""The jobs that make the models of a study, and the space these take: functions of its profile."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medunlearn.cohort.forget_sets import LISTED
from medunlearn.models import weight_bytes
from medunlearn.study.cells import Cell
from medunlearn.study.design import (
    ModelSpec,
    Role,
    all_models,
    all_timings,
    has_raw,
    keeps_weights,
    made_from,
    original,
    retrained,
)
from medunlearn.study.profile import Profile

TRAININGS_PER_JOB = 4
"""Seeds of one job: enough to hide the start of a kernel, few enough to keep all cores busy."""

NOTEBOOKS: dict[Role, str] = {
    "original": "02_train_and_retrain",
    "retrained": "02_train_and_retrain",
    "reference": "02_train_and_retrain",
    "unlearned": "03_unlearn",
    "timing": "08_cost",
    "trial": "06_tuning",
}
"""What makes the models of a role."""

TASKS = {
    ("original", None): "train-originals",
    ("reference", None): "train-references",
    ("retrained", "A"): "retrain",
    ("retrained", "B"): "retrain-again",
}
"""What a job of notebook 02 is called."""

COHORT, SYNTHESIS = "01_cohort", "04_synthesis"
"""The notebooks of a study that make no model."""

BYTES_PER_MODEL = 60_000
"""Records and parquet headers of one model, beside its logits and weights."""


@dataclass(frozen=True)
class Job:
    """One papermill execution of a notebook, for some seeds.

    Args:
        name: Also of the executed notebook, ``jobs/<name>.ipynb``.
        notebook: Stem of the source notebook.
        parameters: What papermill injects, beside those of the study.
        models: What it makes; it skips those that are there.
        needs: Models that must be there before it starts.
        alone: It runs while nothing else does.
    """

    name: str
    notebook: str
    parameters: dict[str, Any] = field(default_factory=dict)
    models: tuple[ModelSpec, ...] = ()
    needs: tuple[ModelSpec, ...] = ()
    alone: bool = False


def plan_jobs(profile: Profile) -> list[Job]:
    """Every job that makes a model, inputs first; the cost pass last, while nothing else runs."""
    groups: dict[tuple[str, Cell | None], list[ModelSpec]] = {}
    for spec in all_models(profile):
        # every reference model has a half of its own
        groups.setdefault((spec.kind, _told_cell(spec)), []).append(spec)
    jobs = []
    for specs in groups.values():
        size = len(specs) if specs[0].role == "unlearned" else TRAININGS_PER_JOB
        jobs += [_job(profile, specs[first : first + size]) for first in range(0, len(specs), size)]
    timings, notebook = tuple(all_timings(profile)), NOTEBOOKS["timing"]
    needs = tuple(made_from(profile, timings[0]))
    return [*jobs, Job(notebook, notebook, {}, timings, needs, alone=True)]


def _told_cell(spec: ModelSpec) -> Cell | None:
    """The forget set that a job is told; the half of a reference model is known from its seed."""
    return None if spec.role == "reference" else spec.cell


def _job(profile: Profile, specs: Sequence[ModelSpec]) -> Job:
    """Models of one kind and forget set.

    What the notebook shows beside a model of each seed has to be there: it would make it itself,
    at the same time as other jobs.
    """
    first, some, cell = specs[0], [spec.seed for spec in specs], _told_cell(specs[0])
    needs = [source for spec in specs for source in made_from(profile, spec)]
    if first.method or first.oracle_set == "A":
        needs += [original(seed) for seed in some]
    if cell and first.method:
        needs += [retrained(cell, seed) for seed in some]
        name, told = f"03-{first.method}", {"method": first.method}
    else:
        name, told = f"02-{TASKS[first.role, first.oracle_set]}", {"role": first.role}
    if cell and cell.composition == LISTED:
        name += f"-{LISTED}-{cell.draw}"
    elif cell:
        name += f"-{100 * cell.forget_size:g}-percent-{cell.composition}".removesuffix("-random")
    if first.method is None:
        name += f"-seeds-{some[0]}-to-{some[-1]}"
    parameters = {**told, **(asdict(cell) if cell else {}), "seeds": some}
    needed = tuple(dict.fromkeys(needs))
    return Job(name, NOTEBOOKS[first.role], parameters, tuple(specs), needed)


def missing_jobs(jobs: Sequence[Job], is_done: Callable[[ModelSpec], bool]) -> list[Job]:
    """The jobs that have something left to make."""
    return [job for job in jobs if not all(map(is_done, job.models))]


def needed_bytes(
    profile: Profile, specs: Sequence[ModelSpec], *, samples: int, classes: int, channels: int = 1
) -> int:
    """Space that models will take: predictions here and in the tables, weights where kept.

    Args:
        profile: The profile.
        specs: Which models.
        samples: Images of the cohort.
        classes: Number of logits.
        channels: Of the images.
    """
    predicted = sum((spec.role != "timing") + has_raw(profile, spec) for spec in specs)
    kept = sum(map(keeps_weights, specs))
    size = profile.image_size
    weights = kept and weight_bytes(
        profile.network, channels=channels, classes=classes, image_size=size
    )
    return len(specs) * BYTES_PER_MODEL + predicted * 8 * samples * classes + kept * weights
