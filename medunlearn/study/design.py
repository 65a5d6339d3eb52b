"""The design: which models a profile asks for, as pure functions of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from medunlearn.cohort.forget_sets import DEVELOPMENT, DEVELOPMENT_SHARE, HALF, STREAM
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


def has_raw(profile: Profile, spec: ModelSpec) -> bool:
    """Whether it also predicts with the BatchNorm statistics that training or unlearning left."""
    return profile.norm == "batch" and spec.role in {"original", "retrained", "unlearned"}


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


def can_report(profile: Profile, is_done: Callable[[ModelSpec], bool]) -> bool:
    """Whether any method can be held to retraining at the middle size: a report begins there."""
    cell = middle_cell(profile)
    return any(
        is_done(unlearned(name, cell, seed)) and is_done(retrained(cell, seed))
        for name in profile.methods
        for seed in seeds(profile)
    )


def all_timings(profile: Profile) -> list[ModelSpec]:
    """The cost pass: one retraining at the middle size, and each method at the sizes it is run."""
    pairs = [(name, cell) for name in profile.methods for cell in random_cells(profile)]
    kept = [(name, cell) for name, cell in pairs if name in methods_at(profile, cell)]
    every = [("retrain", middle_cell(profile)), *kept]
    return [timing(name, cell, profile.first_seed) for name, cell in every]
