"""The design: which models a profile asks for, and the jobs that make them; functions of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from medunlearn.cohort.forget_sets import DEVELOPMENT, DEVELOPMENT_SHARE, HALF, LISTED, STREAM
from medunlearn.study.cells import (
    FIRST_DEVELOPMENT_SEED,
    FLOOR,
    REFERENCE,
    Cell,
    cell_before,
    cells,
    is_floor,
    listed_cells,
    methods_at,
    middle_cell,
    random_cells,
)
from medunlearn.study.profile import Profile

Role = Literal["original", "retrained", "unlearned", "reference", "timing", "trial"]

NOTEBOOKS: dict[Role, str] = {
    "original": "02_train_and_retrain",
    "retrained": "02_train_and_retrain",
    "reference": "02_train_and_retrain",
    "unlearned": "03_unlearn",
    "timing": "08_cost",
    "trial": "06_tuning",
}
"""What makes the models of a role."""

COHORT, SYNTHESIS = "01_cohort", "04_synthesis"
"""The notebooks of a study that make no model."""

TRAININGS_PER_JOB = 4
"""Seeds of one job: enough to hide the start of a kernel, few enough to keep all cores busy."""


@dataclass(frozen=True)
class ModelSpec:
    """One model of a study.

    Args:
        role: ``reference``: trained on half of the training patients, to measure difficulty, and
            never under test; ``timing``: a measurement of cost, whose model is not kept;
            ``trial``: settings tried on the development forget set, timed.
        seed: Of the training, and of the method.
        oracle_set: Of a retrained model: A (paired with its original) or B (the noise floor).
        method: Of an unlearned model.
        cell: The forget set, if there is one.
    """

    role: Role
    seed: int
    oracle_set: Literal["A", "B"] | None = None
    method: str | None = None
    cell: Cell | None = None

    @property
    def draw(self) -> str | None:
        """Name of the forget set."""
        return self.cell.draw_name(self.seed) if self.cell else None

    @property
    def kind(self) -> str:
        """For people: ``retrained B``."""
        return " ".join(str(part) for part in (self.role, self.oracle_set, self.method) if part)

    @property
    def title(self) -> str:
        """For people: ``retrained B, random-0.1-shared, seed 100``."""
        return ", ".join(part for part in (self.kind, self.draw, f"seed {self.seed}") if part)


def original(seed: int) -> ModelSpec:
    """Trained on all training patients."""
    return ModelSpec("original", seed)


def retrained(cell: Cell, seed: int) -> ModelSpec:
    """Trained on the retain set; a seed of the floor makes it a model of oracle set B."""
    return ModelSpec("retrained", seed, "B" if is_floor(seed) else "A", cell=cell)


def unlearned(method: str, cell: Cell, seed: int) -> ModelSpec:
    """What a method makes of the original of this seed; in a stream, of the model before."""
    return ModelSpec("unlearned", seed, method=method, cell=cell)


def reference(seed: int) -> ModelSpec:
    """Trained on half of the training patients; seeds 2k and 2k + 1 on complementary halves."""
    return ModelSpec("reference", seed, cell=Cell(HALF, 0.5, "seed"))


def timing(method: str, cell: Cell, seed: int) -> ModelSpec:
    """The cost of one method (or of ``retrain``) at one size."""
    return ModelSpec("timing", seed, method=method, cell=cell)


def trial(method: str, seed: int) -> ModelSpec:
    """A method, with the study's settings, on the development forget set; timed."""
    cell = Cell(DEVELOPMENT, DEVELOPMENT_SHARE)
    return ModelSpec("trial", seed, method=method, cell=cell)


def seeds(profile: Profile) -> list[int]:
    """Seeds of originals, of oracle set A and of every method."""
    return [profile.first_seed + number for number in range(profile.seeds)]


def development_seeds(profile: Profile) -> list[int]:
    """Seeds of the originals that settings are tuned on."""
    return [FIRST_DEVELOPMENT_SEED + number for number in range(profile.tuning.seeds)]


def references(profile: Profile) -> list[ModelSpec]:
    """The reference models."""
    first = profile.first_seed + REFERENCE
    return [reference(first + number) for number in range(profile.references)]


def is_watched(profile: Profile, spec: ModelSpec) -> bool:
    """Whether the return of its forget set is measured: at the middle size only."""
    return spec.cell == middle_cell(profile) and spec.role in {"retrained", "unlearned"}


def has_raw(spec: ModelSpec) -> bool:
    """Whether it also predicts with the BatchNorm statistics that training or unlearning left."""
    return spec.role in {"original", "retrained", "unlearned"}


def keeps_weights(spec: ModelSpec) -> bool:
    """Whether its weights are needed again: those of a stream by the next request."""
    in_stream = spec.cell is not None and spec.cell.composition == STREAM
    return spec.role in {"original", "retrained"} or (spec.role == "unlearned" and in_stream)


def start_of(profile: Profile, spec: ModelSpec) -> ModelSpec:
    """The model that a method starts from: the original or, in a stream, the model before."""
    before = cell_before(profile, spec.cell) if spec.cell else None
    return replace(spec, cell=before) if before else original(spec.seed)


def made_from(profile: Profile, spec: ModelSpec) -> list[ModelSpec]:
    """The models that a model is made from.

    A forget set drawn by difficulty is not known before the reference models are there: in the key
    of a model they stand for it.
    """
    found = [start_of(profile, spec)] if spec.role in {"unlearned", "timing", "trial"} else []
    return found + (references(profile) if spec.cell and spec.cell.by_difficulty else [])


def sources(profile: Profile, spec: ModelSpec) -> list[ModelSpec]:
    """The models that a model is made from, and what these are made from, inputs first."""
    direct = made_from(profile, spec)
    return [each for source in direct for each in (*sources(profile, source), source)]


def all_models(profile: Profile) -> list[ModelSpec]:
    """Every model of the study, inputs before what needs them; measurements of cost left out."""
    pairs = [(cell, seed) for cell in cells(profile) for seed in seeds(profile)]
    floor = [profile.first_seed + FLOOR + number for number in range(profile.floor_seeds)]
    twice = [*random_cells(profile), *listed_cells(profile)]
    return [
        *references(profile),
        *(original(seed) for seed in seeds(profile)),
        *(retrained(cell, seed) for cell in twice for seed in floor),
        *(retrained(cell, seed) for cell, seed in pairs),
        *(unlearned(name, cell, s) for cell, s in pairs for name in methods_at(profile, cell)),
    ]


def all_timings(profile: Profile) -> list[ModelSpec]:
    """The cost pass: one retraining at the middle size, and each method at the sizes it is run."""
    pairs = [(name, cell) for name in profile.methods for cell in random_cells(profile)]
    kept = [(name, cell) for name, cell in pairs if name in methods_at(profile, cell)]
    every = [("retrain", middle_cell(profile)), *kept]
    return [timing(name, cell, profile.first_seed) for name, cell in every]


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
    notebook = NOTEBOOKS[first.role]
    name = f"{notebook[:2]}-{first.method or first.kind}".replace(" ", "-")
    if cell and cell.composition == LISTED:
        name += f"-{LISTED}-{cell.draw}"
    elif cell:
        name += f"-{100 * cell.forget_size:g}-percent-{cell.composition}".removesuffix("-random")
    if first.method is None:
        name += f"-seeds-{some[0]}-to-{some[-1]}"
    told = {"method": first.method} if first.method else {"role": first.role}
    parameters = {**told, **(asdict(cell) if cell else {}), "seeds": some}
    return Job(name, notebook, parameters, tuple(specs), tuple(dict.fromkeys(needs)))
