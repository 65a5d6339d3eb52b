"""The design: which models and forget sets a profile asks for, as pure functions of it."""

from dataclasses import dataclass
from typing import Literal, cast

import pandas as pd

from medunlearn.cohort import forget_sets
from medunlearn.cohort.forget_sets import DEVELOPMENT, HALF, LISTED, Composition, ForgetSet
from medunlearn.errors import InputError
from medunlearn.study.profile import Profile

Role = Literal["original", "retrained", "unlearned", "reference", "timing", "trial"]
DRAWS = ("shared", "seed")

FLOOR, REFERENCE, BLOCK = 100, 200, 1000
"""A thousand seeds: a hundred of originals and set A, a hundred of set B, then references."""

FIRST_DEVELOPMENT_SEED = 9100
"""Of tuning; a profile's ``first_seed`` is below it."""

KEPT = ("original", "retrained")
"""Roles whose weights are needed again, and kept."""

BY_DIFFICULTY = ("easy", "hard")
"""Compositions that can be drawn only once the reference models are there."""


@dataclass(frozen=True)
class Cell:
    """A forget set of the design.

    Args:
        composition: Which patients may be drawn; ``half``: what a reference model does not see;
            ``development``: those reserved for tuning; ``listed``: those that a list names.
        forget_size: Share of the training patients.
        draw: ``shared``: one draw for all seeds; ``seed``: each seed has a draw of its own; of
            listed patients the beginning of their hash.
    """

    composition: Composition | Literal["half", "development", "listed"]
    forget_size: float
    draw: str = "shared"

    @property
    def by_difficulty(self) -> bool:
        """Whether it is drawn from what the reference models say."""
        return self.composition in BY_DIFFICULTY

    def order(self, seed: int) -> str:
        """Whose order of patients it is drawn from; set B forgets what its partner in A does."""
        own = seed - FLOOR if is_floor(seed) else seed
        return f"seed{own}" if self.draw == "seed" else self.draw

    def draw_name(self, seed: int) -> str:
        """Name of the forget set that this seed forgets."""
        return forget_sets.forget_set_name(self.composition, self.forget_size, self.order(seed))

    def forget_set(self, table: pd.DataFrame, seed: int, confidence: pd.Series | None) -> ForgetSet:
        """Draw the forget set of a seed from the cohort's table.

        Args:
            table: The cohort.
            seed: Of the model.
            confidence: For easy and hard: of each training patient, from models that never saw it.
        """
        if self.composition == HALF:
            return forget_sets.draw_half(table, seed)
        if self.composition == DEVELOPMENT:
            return forget_sets.draw_development(table)
        if self.composition == LISTED:
            raise ValueError("listed patients are not drawn: the store has them recorded")
        whose, size = self.order(seed), self.forget_size
        return forget_sets.draw_forget_set(table, self.composition, size, whose, confidence)


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


def make_cell(composition: str, forget_size: float, draw: str = "shared") -> Cell:
    """A forget set from a notebook's parameters.

    Raises:
        InputError: Names what is not known and lists the choices; the size is checked when drawn.
    """
    faults = [
        f"{name} {given!r} is not known; choose from {', '.join(known)}"
        for name, given, known in (
            ("composition", composition, (*forget_sets.COMPOSITIONS, LISTED)),
            ("draw", draw, [draw] if composition == LISTED else DRAWS),
        )
        if given not in known
    ]
    if faults:
        raise InputError("parameters", faults)
    return Cell(cast(Composition, composition), forget_size, draw)


def original(seed: int) -> ModelSpec:
    """Trained on all training patients."""
    return ModelSpec("original", seed)


def retrained(cell: Cell, seed: int) -> ModelSpec:
    """Trained on the retain set; a seed of the floor makes it a model of oracle set B."""
    return ModelSpec("retrained", seed, "B" if is_floor(seed) else "A", cell=cell)


def unlearned(method: str, cell: Cell, seed: int) -> ModelSpec:
    """What a method makes of the original of this seed."""
    return ModelSpec("unlearned", seed, method=method, cell=cell)


def reference(seed: int) -> ModelSpec:
    """Trained on half of the training patients; seeds 2k and 2k + 1 on complementary halves."""
    return ModelSpec("reference", seed, cell=Cell(HALF, 0.5, "seed"))


def timing(method: str, cell: Cell, seed: int) -> ModelSpec:
    """The cost of one method (or of ``retrain``) at one size."""
    return ModelSpec("timing", seed, method=method, cell=cell)


def trial(method: str, seed: int) -> ModelSpec:
    """A method, with the study's settings, on the development forget set; timed."""
    cell = Cell(DEVELOPMENT, forget_sets.DEVELOPMENT_SHARE)
    return ModelSpec("trial", seed, method=method, cell=cell)


def seeds(profile: Profile) -> list[int]:
    """Seeds of originals, of oracle set A and of every method."""
    return [profile.first_seed + number for number in range(profile.seeds)]


def is_floor(seed: int) -> bool:
    """Whether a retrained model of this seed belongs to oracle set B."""
    return FLOOR <= seed % BLOCK < REFERENCE and seed < FIRST_DEVELOPMENT_SEED


def development_seeds(profile: Profile) -> list[int]:
    """Seeds of the originals that settings are tuned on."""
    return [FIRST_DEVELOPMENT_SEED + number for number in range(profile.tuning.seeds)]


def references(profile: Profile) -> list[ModelSpec]:
    """The reference models."""
    first = profile.first_seed + REFERENCE
    return [reference(first + number) for number in range(profile.references)]


def middle_cell(profile: Profile) -> Cell:
    """The forget set at which patients are compared."""
    return Cell("random", profile.middle_size)


def random_cells(profile: Profile) -> list[Cell]:
    """The random forget sets.

    One draw is shared by all seeds at the middle size, where patients are compared; elsewhere each
    seed has its own, so that the slope over sizes carries the spread of draws.
    """
    sizes, middle = sorted(profile.forget_sizes), profile.middle_size
    return [Cell("random", size, "shared" if size == middle else "seed") for size in sizes]


def listed_cells(profile: Profile) -> list[Cell]:
    """The forget set of the listed patients; none unless the study was opened with a list.

    Its models are, as of any other, ``retrained(cell, seed)`` and ``unlearned(name, cell, seed)``.
    """
    listed = profile.listed
    return [Cell(LISTED, listed.forget_size, listed.order)] if listed else []


def cells(profile: Profile) -> list[Cell]:
    """Every forget set: random at all sizes, others at the middle size, then listed patients."""
    others = [Cell(c, profile.middle_size) for c in profile.compositions if c != "random"]
    return [*random_cells(profile), *others, *listed_cells(profile)]


def is_watched(profile: Profile, spec: ModelSpec) -> bool:
    """Whether the return of its forget set is measured: at the middle size only."""
    return spec.cell == middle_cell(profile) and spec.role in {"retrained", "unlearned"}


def methods_at(profile: Profile, cell: Cell) -> list[str]:
    """The methods that are run on a forget set: the confirmatory ones.

    All at the middle size and on listed patients. Doing nothing is among them on the random one of
    the middle size, to be watched as they are.
    """
    if cell.forget_size != profile.middle_size and cell.composition != LISTED:
        return [method for method in profile.methods if method in profile.confirmatory]
    return [*(["original"] if cell == middle_cell(profile) else []), *profile.methods]


def has_raw(profile: Profile, spec: ModelSpec) -> bool:
    """Whether it also predicts with the BatchNorm statistics that training or unlearning left."""
    return profile.norm == "batch" and spec.role in {"original", "retrained", "unlearned"}


def made_from(profile: Profile, spec: ModelSpec) -> list[ModelSpec]:
    """The models that a model is made from.

    A forget set drawn by difficulty is not known before the reference models are there: in the key
    of a model they stand for it.
    """
    found = [original(spec.seed)] if spec.role in {"unlearned", "timing", "trial"} else []
    return found + (references(profile) if spec.cell and spec.cell.by_difficulty else [])


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
