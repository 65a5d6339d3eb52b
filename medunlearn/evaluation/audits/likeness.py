"""How like retrained models of other seeds a method's models are, beside its yardstick."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits.agreement import pair_decisions, pair_divergence, tug_of_war
from medunlearn.evaluation.audits.attack_scores import Readings
from medunlearn.evaluation.audits.comparisons import Comparison, Finding, not_estimable
from medunlearn.evaluation.audits.forgetting_quality import FEWEST_SEEDS as FEWEST_TOLD_APART
from medunlearn.evaluation.audits.forgetting_quality import told_apart
from medunlearn.evaluation.audits.seed_pairs import (
    FEWEST_SEEDS,
    PairMean,
    average_pairs,
    excess_interval,
)
from medunlearn.statistics.intervals import runs_interval

Floats = NDArray[np.float64]
Rows = tuple[int, ...]

PAIRS = {"divergence": pair_divergence, "equal_decisions": pair_decisions}
PARTS = ("retain", "forget", TEST)
TOLD_APART = 0.9
"""Share of pairs above which a sample gives the unlearning away."""


@dataclass(frozen=True)
class Likeness:
    """Findings of agreement and of forgetting quality; pairs of models are compared once.

    All are of pairs (a model of seed s, a retrained one of seed t != s), less the same pairs with
    the yardstick's model of s in its place.

    Args:
        readings: The models.
        level: Of the intervals.
    """

    readings: Readings
    level: float
    _known: dict[tuple[str, str, Rows, Rows], PairMean] = field(default_factory=dict)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """By group of patients; agreement on each partition, quality on the forget set."""
        for group in self.readings.groups:
            yield self._finding(one, "forgetting_quality", "forget", group)
            yield self._share(one, group)
            for part in PARTS:
                if self.readings.inside(part, group).any():
                    yield self._finding(one, "divergence", part, group)
                    yield self._finding(one, "equal_decisions", part, group)
            yield self._tug_of_war(one, group)

    def _finding(self, one: Comparison, audit: str, part: str, group: str) -> Finding:
        inside = self.readings.inside(part, group)
        ours, theirs = (
            self._of_patients(audit, part, rows, one.base, inside)
            for rows in (one.rows, one.others)
        )
        found = excess_interval(ours, theirs, level=self.level)
        return Finding(audit, part, group, found, float(ours.mean.mean()), self._note(one, audit))

    def _share(self, one: Comparison, group: str) -> Finding:
        """Share of samples at which most pairs are told apart."""
        inside = self.readings.inside("forget", group)
        shares = []
        for rows in (one.rows, one.others):
            told = self._of_samples("forgetting_quality", "forget", rows, one.base).mean
            above = np.where(np.isfinite(told), told > TOLD_APART, np.nan)
            shares.append(float(self.readings.by_patient(above, "forget")[inside].mean()))
        found = not_estimable(shares[0] - shares[1], len(one.seeds), int(inside.sum()))
        note = "no interval: a share above a threshold is not smooth in the seeds"
        return Finding("forgetting_quality_share", "forget", group, found, shares[0], note)

    def _tug_of_war(self, one: Comparison, group: str) -> Finding:
        """Over seeds only: absolute differences are no means over patients."""
        inside = {part: self.readings.inside(part, group) for part in PARTS}
        patients = min(int(chosen.sum()) for chosen in inside.values())
        names = ("tug_of_war", "all", group)
        if not all(chosen.any() for chosen in inside.values()):
            found = not_estimable(np.nan, len(one.seeds), patients)
            return Finding(*names, found, np.nan, "a partition has no patient")
        ours, others, base = (
            np.array([[self._accuracy(row, part, inside[part]) for part in PARTS] for row in rows])
            for rows in (one.rows, one.others, one.base)
        )
        mine, theirs = (average_pairs(tug_of_war(each, base)) for each in (ours, others))
        excess = (mine.by_seed - theirs.by_seed)[:, 0]
        if np.isfinite(excess).all():
            found = runs_interval(excess, patients, level=self.level)
        else:
            found = not_estimable(float((mine.mean - theirs.mean)[0]), len(excess), patients)
        note = self._note(one, "tug_of_war") or "interval over seeds only"
        return Finding(*names, found, float(mine.mean[0]), note)

    def _accuracy(self, row: int, part: str, inside: NDArray[np.bool_]) -> float:
        return float(self.readings.accuracy(row, part)[inside].mean())

    def _of_patients(
        self, audit: str, part: str, rows: Rows, base: Rows, inside: NDArray[np.bool_]
    ) -> PairMean:
        found = self._of_samples(audit, part, rows, base)
        mean, by_seed = (
            self.readings.by_patient(values, part)[..., inside]
            for values in (found.mean, found.by_seed)
        )
        return PairMean(mean, by_seed)

    def _of_samples(self, audit: str, part: str, rows: Rows, base: Rows) -> PairMean:
        key = (audit, part, rows, base)
        if key not in self._known:
            read = self.readings
            if audit == "forgetting_quality":
                ours, theirs = (self._stack(read.confidence, each, part) for each in (rows, base))
                self._known[key] = told_apart(ours, theirs)
            else:
                ours, theirs = (self._stack(read.answers, each, part) for each in (rows, base))
                self._known[key] = average_pairs(PAIRS[audit](ours, theirs))
        return self._known[key]

    @staticmethod
    def _stack(read: Callable[[int, str], Floats], rows: Rows, part: str) -> Floats:
        return np.stack([read(row, part) for row in rows])

    @staticmethod
    def _note(one: Comparison, audit: str) -> str:
        needed = FEWEST_TOLD_APART if audit == "forgetting_quality" else FEWEST_SEEDS
        few = len(one.seeds) < needed
        return f"{len(one.seeds)} seeds, an interval needs {needed}" if few else ""
