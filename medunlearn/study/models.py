"""The models of a study: one (role, method, forget size, composition, order, seed) each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medunlearn.cohort.draws import Composition, draw_name
from medunlearn.study.profile import Profile

Role = Literal["original", "retrained", "unlearned", "timing"]

FIRST_FLOOR_SEED = 100
"""Oracle set B starts here: seeds that nothing else uses."""


@dataclass(frozen=True)
class Cell:
    """A forget set of the design: size and composition, before it is drawn for a seed."""

    composition: Composition
    forget_size: float

    def order(self, seed: int, middle_size: float) -> str:
        """Whose order the draw is taken from: shared at the middle size, else the seed's own."""
        return "shared" if self.forget_size == middle_size else f"seed{seed}"


@dataclass(frozen=True)
class ModelSpec:
    """One unit of the ledger.

    Args:
        role: ``timing`` is a measurement of cost, whose model is not kept.
        seed: Of the training, and of the method.
        oracle_set: Of a retrained model: A (paired with its original) or B (the noise floor).
        method: Of an unlearned model.
        cell: The forget set, if there is one.
        order: Whose order of patients the forget set is taken from.
    """

    role: Role
    seed: int
    oracle_set: Literal["A", "B"] | None = None
    method: str | None = None
    cell: Cell | None = None
    order: str | None = None

    @property
    def draw(self) -> str | None:
        """Name of the forget set."""
        if self.cell is None or self.order is None:
            return None
        return draw_name(self.cell.composition, self.cell.forget_size, self.order)

    @property
    def title(self) -> str:
        """For people: ``retrained B, random-0.1-shared, seed 100``."""
        head = " ".join(str(part) for part in (self.role, self.oracle_set, self.method) if part)
        return ", ".join(part for part in (head, self.draw, f"seed {self.seed}") if part)


def cells(profile: Profile) -> list[Cell]:
    """Every forget set of the design: random at all sizes, the others at the middle size."""
    sizes = [Cell("random", size) for size in sorted(profile.forget_sizes)]
    others = [c for c in profile.compositions if c != "random"]
    return sizes + [Cell(composition, profile.middle_size) for composition in others]


def original(seed: int) -> ModelSpec:
    """Trained on all training patients."""
    return ModelSpec("original", seed)


def retrained(profile: Profile, cell: Cell, seed: int) -> ModelSpec:
    """Trained on the retain set; a seed of the floor makes it a model of oracle set B."""
    if seed >= FIRST_FLOOR_SEED:
        return ModelSpec("retrained", seed, "B", cell=cell, order="shared")
    order = cell.order(seed, profile.middle_size)
    return ModelSpec("retrained", seed, "A", cell=cell, order=order)


def unlearned(profile: Profile, method: str, cell: Cell, seed: int) -> ModelSpec:
    """What a method makes of the original of this seed."""
    order = cell.order(seed, profile.middle_size)
    return ModelSpec("unlearned", seed, method=method, cell=cell, order=order)


def timing(profile: Profile, method: str, cell: Cell) -> ModelSpec:
    """The cost of one method (or of ``retrain``) at one size, on the first seed."""
    order = cell.order(0, profile.middle_size)
    return ModelSpec("timing", 0, method=method, cell=cell, order=order)


def seeds(profile: Profile) -> list[int]:
    """Seeds of originals, of oracle set A and of every method."""
    return list(range(profile.seeds))


def floor_seeds(profile: Profile) -> list[int]:
    """Seeds of oracle set B."""
    return list(range(FIRST_FLOOR_SEED, FIRST_FLOOR_SEED + profile.floor_seeds))


def all_models(profile: Profile) -> list[ModelSpec]:
    """Every model of the study, inputs before what needs them; measurements of cost left out."""
    middle = Cell("random", profile.middle_size)
    return [
        *(original(seed) for seed in seeds(profile)),
        *(retrained(profile, middle, seed) for seed in floor_seeds(profile)),
        *(retrained(profile, cell, seed) for cell in cells(profile) for seed in seeds(profile)),
        *(
            unlearned(profile, method, cell, seed)
            for method in profile.methods
            for cell in cells(profile)
            for seed in seeds(profile)
        ),
    ]


def all_timings(profile: Profile) -> Sequence[ModelSpec]:
    """The cost pass: each method at each size, and one retraining at the middle size."""
    random = [cell for cell in cells(profile) if cell.composition == "random"]
    middle = Cell("random", profile.middle_size)
    return [
        timing(profile, "retrain", middle),
        *(timing(profile, method, cell) for method in profile.methods for cell in random),
    ]
