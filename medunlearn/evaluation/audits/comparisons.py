"""Which models an audit holds each method to: retrained ones of the same seeds, and set B."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medunlearn.evaluation.measurements import FLOOR, LineUp, has_gap
from medunlearn.statistics.intervals import Interval


@dataclass(frozen=True)
class Comparison:
    """A method, model by model beside those it is held to.

    Args:
        method: Its name.
        against: ``retrained`` (oracle set A, the same seed) or ``floor`` (oracle set B).
        rows: Models of the method.
        others: What each is held to.
        base: Retrained models of ``seeds``, which agreement is with.
        seeds: Of the retrained models; those of the method, but for set B.
    """

    method: str
    against: str
    rows: tuple[int, ...]
    others: tuple[int, ...]
    base: tuple[int, ...]
    seeds: tuple[int, ...]


def comparisons(cell: Sequence[LineUp]) -> Iterator[Comparison]:
    """Every method against retrained models, and against set B where there is one.

    Set B stands in pairs with set A (see ``line_ups``): a method's seed is held to the partner of
    its retrained model. Fresh seeds share nothing with anything, so any pairing would do.

    Args:
        cell: All line-ups of one forget set.
    """
    partner = {
        pair.seed: run.row
        for one in cell
        if one.method == FLOOR
        for run, pair in zip(one.runs, one.base, strict=True)
    }
    for one in cell:
        if not has_gap(one.method):
            continue
        rows = {pair.seed: run.row for run, pair in zip(one.runs, one.base, strict=True)}
        base = {pair.seed: pair.row for pair in one.base}
        yield _compare(one.method, "retrained", rows, base, base)
        floor = {seed: partner[seed] for seed in rows if seed in partner}
        if floor and one.method != FLOOR:
            yield _compare(one.method, "floor", rows, floor, base)


def _compare(
    method: str, against: str, rows: dict[int, int], others: dict[int, int], base: dict[int, int]
) -> Comparison:
    """Seeds that have both."""
    seeds = tuple(sorted(others))
    ours, theirs, retrained = (tuple(by[s] for s in seeds) for by in (rows, others, base))
    return Comparison(method, against, ours, theirs, retrained, seeds)


@dataclass(frozen=True)
class Finding:
    """What an audit says in one comparison.

    Args:
        audit: Its name.
        partition: Whose patients it is about.
        group: All, or those of one sex.
        interval: Of the difference from the models compared with.
        level: The audit's own value for the method, mean over seeds.
        note: Anything a reader must know, such as why something is not estimable.
    """

    audit: str
    partition: str
    group: str
    interval: Interval
    level: float
    note: str = ""


def not_estimable(value: float, seeds: int, patients: int) -> Interval:
    """An estimate (or NaN) without limits."""
    return Interval(value, np.nan, np.nan, np.nan, np.nan, seeds, patients)
