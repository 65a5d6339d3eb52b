"""Which models audits compare: every method with retrained ones of the same seeds, and set B."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medunlearn.evaluation.measurements import FLOOR, LineUp, has_gap
from medunlearn.statistics.intervals import Interval


@dataclass(frozen=True)
class Comparison:
    """A method, model by model beside those it is compared with.

    Args:
        method: Its name.
        against: ``retrained`` (oracle set A, the same seed) or ``floor`` (oracle set B).
        seeds: Of the retrained models; those of the method, but for set B.
        rows: Models of the method.
        others: What each is compared with.
        base: Retrained models of ``seeds``, which agreement is with.
    """

    method: str
    against: str
    seeds: tuple[int, ...]
    rows: tuple[int, ...]
    others: tuple[int, ...]
    base: tuple[int, ...]


def comparisons(cell: Sequence[LineUp]) -> Iterator[Comparison]:
    """Every method against retrained models, and against set B where there is one.

    Set B stands in pairs with set A (see ``line_ups``): a method's seed is compared with the
    partner of its retrained model. Fresh seeds share nothing with anything, so any pairing would
    do. Where set B has fewer seeds only their partners are compared with it: also leave-pair-out,
    whose level depends on how many models it fits, then has equally many of either kind.

    Args:
        cell: All line-ups of one forget set.
    """
    pairs = {one.method: list(zip(one.runs, one.base, strict=True)) for one in cell}
    partner = {base.seed: run.row for run, base in pairs.get(FLOOR, [])}
    for method in filter(has_gap, pairs):
        known = [(base.seed, run.row, base.row, base.row) for run, base in pairs[method]]
        yield Comparison(method, "retrained", *zip(*known, strict=True))
        floor = [(s, row, partner[s], base) for s, row, _, base in known if s in partner]
        if floor and method != FLOOR:
            yield Comparison(method, "floor", *zip(*floor, strict=True))


@dataclass(frozen=True)
class Finding:
    """What an audit says in one comparison.

    Args:
        audit: Its name.
        partition: Whose patients it is about.
        group: All, or those of one sex.
        interval: Of the difference from the models compared with.
        level_estimate: The audit's own value for the method, mean over seeds.
        note: Anything a reader must know, such as why something is not estimable.
    """

    audit: str
    partition: str
    group: str
    interval: Interval
    level_estimate: float
    note: str = ""
