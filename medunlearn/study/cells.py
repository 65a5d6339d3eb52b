"""The forget sets of a study: which ones a profile asks for, and who is in them."""

from dataclasses import dataclass, replace
from typing import cast

import pandas as pd

from medunlearn.cohort import forget_sets
from medunlearn.cohort.forget_sets import (
    AT_ONCE,
    COMPOSITIONS,
    DEVELOPMENT,
    HALF,
    LISTED,
    STREAM,
    ForgetSet,
    Kind,
)
from medunlearn.errors import InputError
from medunlearn.study.profile import Profile

DRAWS = ("shared", "seed")

FLOOR, REFERENCE, BLOCK = 100, 200, 1000
"""A thousand seeds: a hundred of originals and set A, a hundred of set B, then references."""

FIRST_DEVELOPMENT_SEED = 9100
"""Of tuning; a profile's ``first_seed`` is below it."""

BY_DIFFICULTY = ("easy", "hard")
"""Compositions that can be drawn only once the reference models are there."""


@dataclass(frozen=True)
class Cell:
    """A forget set of the design.

    Args:
        composition: Which patients may be drawn; ``half``: what a reference model does not see;
            ``development``: those reserved for tuning; ``listed``: those that a list names;
            ``stream``: those of all requests so far; ``at_once``: those of a whole stream.
        forget_size: Share of the training patients.
        draw: ``shared``: one draw for all seeds; ``seed``: each seed has a draw of its own; of
            listed patients the beginning of their hash.
    """

    composition: Kind
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
        whose, size = self.order(seed), self.forget_size
        return forget_sets.draw_forget_set(table, self.composition, size, whose, confidence)


def make_cell(composition: str, forget_size: float, draw: str = "shared") -> Cell:
    """A forget set from a notebook's parameters.

    Raises:
        InputError: Names what is not known and lists the choices; the size is checked when drawn.
    """
    faults = [
        f"{name} {given!r} is not known; choose from {', '.join(known)}"
        for name, given, known in (
            ("composition", composition, (*COMPOSITIONS, LISTED, STREAM, AT_ONCE)),
            ("draw", draw, [draw] if composition == LISTED else DRAWS),
        )
        if given not in known
    ]
    if faults:
        raise InputError("parameters", faults)
    return Cell(cast("Kind", composition), forget_size, draw)


def is_floor(seed: int) -> bool:
    """Whether a retrained model of this seed belongs to oracle set B."""
    return FLOOR <= seed % BLOCK < REFERENCE and seed < FIRST_DEVELOPMENT_SEED


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


def stream_cells(profile: Profile) -> list[Cell]:
    """Requests that come one after another: after each of them the patients of all so far.

    They are of equal size, nested, and taken from the order of ``random``, each seed from its own.
    """
    if (asked := profile.stream) is None:
        return []
    shares = (number / asked.requests for number in range(1, asked.requests + 1))
    return [Cell(STREAM, round(asked.up_to * share, 6), "seed") for share in shares]


def cell_before(profile: Profile, cell: Cell) -> Cell | None:
    """The requests before the last one; none of a first request, or outside a stream.

    Raises:
        InputError: The profile's stream has no such request.
    """
    if cell.composition != STREAM:
        return None
    requests = stream_cells(profile)
    if cell not in requests:
        sizes = ", ".join(f"{each.forget_size:g}" for each in requests) or "none: it has no stream"
        given = f"forget_size {cell.forget_size:g}, draw {cell.draw!r}: no request of a stream"
        raise InputError("parameters", [f"{given}; expected draw 'seed', and of sizes {sizes}"])
    place = requests.index(cell)
    return requests[place - 1] if place else None


def cells(profile: Profile) -> list[Cell]:
    """Every forget set: random at all sizes, others at the middle size, listed, of a stream.

    After a stream come its patients at once: the same forget set, unlearned by one request.
    """
    others = [Cell(c, profile.middle_size) for c in profile.compositions if c != "random"]
    requests = stream_cells(profile)
    whole = [replace(last, composition=AT_ONCE) for last in requests[-1:]]
    return [*random_cells(profile), *others, *listed_cells(profile), *requests, *whole]


def methods_at(profile: Profile, cell: Cell) -> list[str]:
    """The methods that are run on a forget set: the confirmatory ones.

    All at the middle size and on listed patients. Doing nothing is among them on the random one of
    the middle size, to be watched as they are. A stream names its own.
    """
    if cell.composition in {STREAM, AT_ONCE}:
        return profile.stream.methods if profile.stream else []
    if cell.forget_size != profile.middle_size and cell.composition != LISTED:
        return [method for method in profile.methods if method in profile.confirmatory]
    return [*(["original"] if cell == middle_cell(profile) else []), *profile.methods]
