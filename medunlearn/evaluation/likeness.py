"""How like retrained models of other seeds a method's models are, beside its yardstick."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.agreement import pair_decisions, pair_divergence, tug_of_war
from medunlearn.evaluation.comparisons import Comparison, Finding, not_estimable
from medunlearn.evaluation.forgetting_quality import leave_pair_out
from medunlearn.evaluation.readings import Readings
from medunlearn.evaluation.seed_pairs import FEWEST_SEEDS, pair_mean, pairs_interval, seed_values
from medunlearn.statistics.intervals import runs_interval

Floats = NDArray[np.float64]
Rows = tuple[int, ...]

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
    _known: dict[tuple[str, str, Rows, Rows], Floats] = field(default_factory=dict)

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
            self._of_patients(audit, part, rows, one.base)[..., inside]
            for rows in (one.rows, one.others)
        )
        found = pairs_interval(ours - theirs, level=self.level)
        return Finding(
            audit, part, group, found, float(pair_mean(ours).mean()), self._note(one, audit)
        )

    def _share(self, one: Comparison, group: str) -> Finding:
        """Share of samples at which most pairs are told apart."""
        inside = self.readings.inside("forget", group)
        shares = []
        for rows in (one.rows, one.others):
            told = pair_mean(self._pairs("forgetting_quality", "forget", rows, one.base))
            above = np.where(np.isfinite(told), told > TOLD_APART, np.nan)
            shares.append(float(self.readings.by_patient(above, "forget")[inside].mean()))
        found = not_estimable(shares[0] - shares[1], len(one.seeds), int(inside.sum()))
        note = "no interval: a share above a threshold is not smooth in the seeds"
        return Finding("forgetting_quality_share", "forget", group, found, shares[0], note)

    def _tug_of_war(self, one: Comparison, group: str) -> Finding:
        """Over seeds only: absolute differences are no means over patients."""
        inside = {part: self.readings.inside(part, group) for part in PARTS}
        patients = sum(int(chosen.sum()) for chosen in inside.values())
        ours, others, base = (
            np.array([[self._accuracy(row, part, inside[part]) for part in PARTS] for row in rows])
            for rows in (one.rows, one.others, one.base)
        )
        mine = tug_of_war(ours, base)
        excess = mine - tug_of_war(others, base)
        if len(excess) < FEWEST_SEEDS:
            found = not_estimable(float(pair_mean(excess).mean()), len(excess), patients)
        else:
            found = runs_interval(seed_values(excess)[:, 0], patients, level=self.level)
        note = self._note(one, "tug_of_war") or "interval over seeds only"
        return Finding("tug_of_war", "all", group, found, float(pair_mean(mine)[0]), note)

    def _accuracy(self, row: int, part: str, inside: NDArray[np.bool_]) -> float:
        answers, subset = self.readings.answers(row, part), self.readings.part(part)
        if not inside.any() or np.isnan(answers).any():
            return np.nan
        right = (answers.argmax(axis=1) == subset.labels).astype(np.float64)
        return float(self.readings.by_patient(right, part)[inside].mean())

    def _of_patients(self, audit: str, part: str, rows: Rows, base: Rows) -> Floats:
        """Pairs by patient, (seeds, seeds, patients)."""
        key = (f"{audit} of patients", part, rows, base)
        if key not in self._known:
            pairs = self._pairs(audit, part, rows, base)
            self._known[key] = self.readings.by_patient(pairs, part)
        return self._known[key]

    def _pairs(self, audit: str, part: str, rows: Rows, base: Rows) -> Floats:
        """Pairs by sample, (seeds, seeds, samples)."""
        key = (audit, part, rows, base)
        if audit == "forgetting_quality":
            if key not in self._known:
                ours, theirs = (
                    self._stack(self.readings.confidence, r, part) for r in (rows, base)
                )
                self._known[key] = leave_pair_out(ours, theirs, same_seeds=True)
            return self._known[key]
        compare = {"divergence": pair_divergence, "equal_decisions": pair_decisions}[audit]
        ours, theirs = (self._stack(self.readings.answers, r, part) for r in (rows, base))
        return compare(ours, theirs)

    @staticmethod
    def _stack(read: Callable[[int, str], Floats], rows: Rows, part: str) -> Floats:
        return np.stack([read(row, part) for row in rows])

    @staticmethod
    def _note(one: Comparison, audit: str) -> str:
        needed = 4 if audit == "forgetting_quality" else FEWEST_SEEDS
        few = len(one.seeds) < needed
        return f"{len(one.seeds)} seeds, at least {needed} needed" if few else ""
