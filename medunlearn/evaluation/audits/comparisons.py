"""Which models audits compare: every method with retrained ones of the same seeds, and set B."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medunlearn.evaluation.measurements import FLOOR, LineUp, Measurements, has_gap
from medunlearn.evaluation.performance import probabilities
from medunlearn.evaluation.subsets import Subset
from medunlearn.statistics.intervals import Interval

Floats = NDArray[np.float64]
Rows = tuple[int, ...]


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
    rows: Rows
    others: Rows
    base: Rows


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


@dataclass(frozen=True)
class Audited:
    """Models on the parts of a cohort; NaN of a model that has diverged.

    Args:
        measurements: Of a study.
        draw: Name of the forget set.
    """

    measurements: Measurements
    draw: str

    def part(self, name: str, group: str = "all") -> Subset:
        """Images of ``forget``, ``retain`` or another partition, of all patients or of one sex."""
        return self.measurements.subsets.of(self.draw, name, group)

    def inside(self, part: str, group: str) -> NDArray[np.bool_]:
        """Which patients of a part are of a group."""
        return np.isin(self.part(part).patient_ids, self.part(part, group).patient_ids)

    @property
    def groups(self) -> list[str]:
        """All, and each sex that has a patient to forget."""
        return [each for each in ("all", "F", "M") if len(self.part("forget", each).samples)]

    def probabilities(self, row: int, part: str) -> Floats:
        """Of each class, (samples of the part, classes)."""
        logits = self.measurements.logits[row, self.part(part).samples]
        known = self.measurements.is_finite[row]
        return probabilities(logits) if known else np.full(logits.shape, np.nan)

    def confidence(self, row: int, part: str) -> Floats:
        """Logit-scaled label confidence, (samples of the part,)."""
        chosen: Floats = self.measurements.confidence(row)[self.part(part).samples]
        return chosen


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
