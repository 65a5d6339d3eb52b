"""The grid as a graph of jobs: one papermill execution of a notebook for some seeds each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from medunlearn.study.ledger import Ledger
from medunlearn.study.models import (
    BY_DIFFICULTY,
    Cell,
    ModelSpec,
    all_timings,
    cells,
    floor_seeds,
    methods_at,
    middle_cell,
    original,
    references,
    retrained,
    seeds,
    unlearned,
)
from medunlearn.study.profile import Profile
from medunlearn.study.study import Study

TRAININGS_PER_JOB = 4
"""Seeds of one job: enough to hide the start of a kernel, few enough to keep all cores busy."""


@dataclass(frozen=True)
class Job:
    """One execution of a notebook.

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
    parameters: dict[str, Any]
    models: tuple[ModelSpec, ...]
    needs: tuple[ModelSpec, ...] = ()
    alone: bool = False


def study_parameters(study: Study) -> dict[str, Any]:
    """The parameters that every notebook has."""
    return {
        "dataset": study.dataset,
        "data_root": study.data_root,
        "runs": str(study.folder.parent),
        "profile": study.profile_name,
        "device": study.device,
    }


def plan_jobs(study: Study) -> list[Job]:
    """Every job that makes a model, inputs first; the cost pass last, one job after the other."""
    profile, middle = study.profile, middle_cell(study.profile)
    training = [
        *_training_jobs("reference", references(profile)),
        *_training_jobs("original", [original(seed) for seed in seeds(profile)]),
        *_training_jobs(
            f"retrained-B-{_slug(middle)}",
            [retrained(middle, seed) for seed in floor_seeds(profile)],
        ),
    ]
    for cell in cells(profile):
        specs = [retrained(cell, seed) for seed in seeds(profile)]
        training += _training_jobs(
            f"retrained-A-{_slug(cell)}", specs, _drawn_from(cell, profile), shown=original
        )
    unlearning = [
        _unlearning_job(method, cell, profile)
        for cell in cells(profile)
        for method in methods_at(profile, cell)
    ]
    timings = all_timings(profile)
    cost = Job(
        name="08_cost",
        notebook="08_cost",
        parameters={},
        models=tuple(timings),
        needs=(original(0),),
        alone=True,
    )
    return [*training, *unlearning, cost]


def missing_jobs(jobs: Sequence[Job], ledger: Ledger) -> list[Job]:
    """The jobs that have something left to make."""
    return [job for job in jobs if any(not ledger.is_done(spec) for spec in job.models)]


def _training_jobs(
    what: str,
    specs: Sequence[ModelSpec],
    needs: tuple[ModelSpec, ...] = (),
    shown: Callable[[int], ModelSpec] | None = None,
) -> list[Job]:
    """Models of one role and forget set, a few seeds in each job.

    What the notebook shows beside a model of each seed has to be there: it would make it itself,
    at the same time as other jobs.
    """
    jobs = []
    for first in range(0, len(specs), TRAININGS_PER_JOB):
        models = tuple(specs[first : first + TRAININGS_PER_JOB])
        some = [spec.seed for spec in models]
        # a reference model's half is known from its seed
        cell = models[0].cell if models[0].role == "retrained" else None
        jobs.append(
            Job(
                name=f"02-{what}-{some[0]}to{some[-1]}",
                notebook="02_reference_models",
                parameters={"role": models[0].role, **_cell_parameters(cell), "seeds": some},
                models=models,
                needs=(*needs, *map(shown, some)) if shown else needs,
            )
        )
    return jobs


def _unlearning_job(method: str, cell: Cell, profile: Profile) -> Job:
    """All seeds of a method and a forget set; the retrained models are shown beside it."""
    each = seeds(profile)
    shown = [model for seed in each for model in (original(seed), retrained(cell, seed))]
    return Job(
        name=f"03-{method}-{_slug(cell)}",
        notebook="03_unlearn",
        parameters={"method": method, **_cell_parameters(cell), "seeds": each},
        models=tuple(unlearned(method, cell, seed) for seed in each),
        needs=(*shown, *_drawn_from(cell, profile)),
    )


def _drawn_from(cell: Cell, profile: Profile) -> tuple[ModelSpec, ...]:
    """The models without which a forget set cannot be drawn."""
    return tuple(references(profile)) if cell.composition in BY_DIFFICULTY else ()


def _cell_parameters(cell: Cell | None) -> dict[str, Any]:
    if cell is None:
        return {}
    return {
        "forget_size": cell.forget_size,
        "composition": cell.composition,
        "draw": cell.draw,
    }


def _slug(cell: Cell) -> str:
    return f"{cell.composition}-{cell.forget_size:g}"
