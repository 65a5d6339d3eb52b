"""The design: which models and forget sets a profile asks for, as pure functions of it."""

from dataclasses import dataclass
from typing import Literal, cast

import pandas as pd

from medunlearn.cohort.forget_sets import (
    COMPOSITIONS,
    DEVELOPMENT,
    DEVELOPMENT_SHARE,
    HALF,
    Composition,
    ForgetSet,
    draw_development,
    draw_forget_set,
    draw_half,
    forget_set_name,
)
from medunlearn.errors import InputError
from medunlearn.study.profile import Profile

Role = Literal["original", "retrained", "unlearned", "reference", "timing", "trial"]

FIRST_FLOOR_SEED, FIRST_REFERENCE_SEED, FIRST_DEVELOPMENT_SEED = 100, 200, 300
"""Oracle set B, the reference models and tuning start here: seeds that nothing else uses."""

KEPT = ("original", "retrained")
"""Roles whose weights are needed again, and kept."""

BY_DIFFICULTY = ("easy", "hard")
"""Compositions that can be drawn only once the reference models are there."""


@dataclass(frozen=True)
class Cell:
    """A forget set of the design.

    Args:
        composition: Which patients may be drawn; ``half``: what a reference model does not see;
            ``development``: those reserved for tuning.
        forget_size: Share of the training patients.
        draw: ``shared``: one draw for all seeds; ``seed``: each seed has a draw of its own.
    """

    composition: Composition | Literal["half", "development"]
    forget_size: float
    draw: Literal["shared", "seed"] = "shared"

    @property
    def by_difficulty(self) -> bool:
        """Whether it is drawn from what the reference models say."""
        return self.composition in BY_DIFFICULTY

    def order(self, seed: int) -> str:
        """Whose order of patients the draw is taken from."""
        return "shared" if self.draw == "shared" else f"seed{seed}"

    def draw_name(self, seed: int) -> str:
        """Name of the forget set that this seed forgets."""
        return forget_set_name(self.composition, self.forget_size, self.order(seed))

    def forget_set(self, table: pd.DataFrame, seed: int, confidence: pd.Series | None) -> ForgetSet:
        """Draw the forget set of a seed from the cohort's table.

        Args:
            table: The cohort.
            seed: Of the model.
            confidence: For easy and hard: of each training patient, from models that never saw it.
        """
        if self.composition == HALF:
            return draw_half(table, seed)
        if self.composition == DEVELOPMENT:
            return draw_development(table)
        order = self.order(seed)
        return draw_forget_set(table, self.composition, self.forget_size, order, confidence)


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
    choices = {"composition": (composition, COMPOSITIONS), "draw": (draw, ("shared", "seed"))}
    faults = [
        f"{name} {given!r} is not known; choose from {', '.join(known)}"
        for name, (given, known) in choices.items()
        if given not in known
    ]
    if faults:
        raise InputError("parameters", faults)
    return Cell(cast(Composition, composition), forget_size, cast(Literal["shared", "seed"], draw))


def original(seed: int) -> ModelSpec:
    """Trained on all training patients."""
    return ModelSpec("original", seed)


def retrained(cell: Cell, seed: int) -> ModelSpec:
    """Trained on the retain set; a seed of the floor makes it a model of oracle set B."""
    return ModelSpec("retrained", seed, "B" if seed >= FIRST_FLOOR_SEED else "A", cell=cell)


def unlearned(method: str, cell: Cell, seed: int) -> ModelSpec:
    """What a method makes of the original of this seed."""
    return ModelSpec("unlearned", seed, method=method, cell=cell)


def reference(seed: int) -> ModelSpec:
    """Trained on half of the training patients; seeds 2k and 2k + 1 on complementary halves."""
    return ModelSpec("reference", seed, cell=Cell(HALF, 0.5, "seed"))


def timing(method: str, cell: Cell) -> ModelSpec:
    """The cost of one method (or of ``retrain``) at one size, on the first seed."""
    return ModelSpec("timing", 0, method=method, cell=cell)


def trial(method: str, seed: int) -> ModelSpec:
    """A method, with the study's settings, on the development forget set; timed."""
    return ModelSpec("trial", seed, method=method, cell=Cell(DEVELOPMENT, DEVELOPMENT_SHARE))


def seeds(profile: Profile) -> list[int]:
    """Seeds of originals, of oracle set A and of every method."""
    return list(range(profile.seeds))


def floor_seeds(profile: Profile) -> list[int]:
    """Seeds of oracle set B."""
    return [FIRST_FLOOR_SEED + number for number in range(profile.floor_seeds)]


def development_seeds(profile: Profile) -> list[int]:
    """Seeds of the originals that settings are tuned on."""
    return [FIRST_DEVELOPMENT_SEED + number for number in range(profile.tuning.seeds)]


def references(profile: Profile) -> list[ModelSpec]:
    """The reference models."""
    return [reference(FIRST_REFERENCE_SEED + number) for number in range(profile.references)]


def middle_cell(profile: Profile) -> Cell:
    """The forget set at which patients are compared."""
    return Cell("random", profile.middle_size)


def cells(profile: Profile) -> list[Cell]:
    """Every forget set of the design: random at all sizes, the others at the middle size.

    One draw is shared by all seeds at the middle size, where patients are compared; elsewhere each
    seed has its own, so that the slope over sizes carries the spread of draws.
    """
    middle = profile.middle_size
    sizes = [
        Cell("random", size, "shared" if size == middle else "seed")
        for size in sorted(profile.forget_sizes)
    ]
    return sizes + [Cell(c, middle) for c in profile.compositions if c != "random"]


def is_watched(profile: Profile, spec: ModelSpec) -> bool:
    """Whether the return of its forget set is measured: at the middle size only."""
    return spec.cell == middle_cell(profile) and spec.role in {"retrained", "unlearned"}


def methods_at(profile: Profile, cell: Cell) -> list[str]:
    """The methods that are run on a forget set.

    At the middle size doing nothing is among them, so that it is watched as they are.
    """
    return [*(["original"] if cell == middle_cell(profile) else []), *profile.methods]


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
    return [
        *references(profile),
        *(original(seed) for seed in seeds(profile)),
        *(retrained(middle_cell(profile), seed) for seed in floor_seeds(profile)),
        *(retrained(cell, seed) for cell, seed in pairs),
        *(
            unlearned(method, cell, seed)
            for cell, seed in pairs
            for method in methods_at(profile, cell)
        ),
    ]


def all_timings(profile: Profile) -> list[ModelSpec]:
    """The cost pass: one retraining at the middle size, and each method at each size."""
    random = [cell for cell in cells(profile) if cell.composition == "random"]
    methods = [timing(method, cell) for method in profile.methods for cell in random]
    return [timing("retrain", middle_cell(profile)), *methods]
