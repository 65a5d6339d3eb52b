"""How similar a method's models are to retrained models of other seeds, beside its yardstick."""

from collections.abc import Iterator
from functools import cache

import numpy as np

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits.comparisons import Audited, Comparison, Finding, Rows
from medunlearn.evaluation.audits.pairs import (
    FEWEST_DISTINGUISHED,
    FEWEST_SEEDS,
    PairMean,
    average_pairs,
    distinguish_seeds,
    excess_interval,
    pair_decisions,
    pair_divergence,
)
from medunlearn.statistics.intervals import no_limits

QUALITY, DIVERGENCE, DECISIONS = "forgetting_quality", "divergence", "equal_decisions"
PAIRS = {DIVERGENCE: pair_divergence, DECISIONS: pair_decisions}
PARTS = ("retain", "forget", TEST)
DISTINGUISHED = 0.9
"""Share of pairs above which a sample gives the unlearning away."""


class Similarity:
    """Findings of agreement and of forgetting quality; pairs of models are compared once.

    All are of pairs (a model of seed s, a retrained one of seed t != s), less the same pairs with
    the yardstick's model of s in its place.
    """

    def __init__(self, audited: Audited) -> None:
        """Compare nothing yet."""
        self.audited, self._pairs = audited, cache(self._pairs_of)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """By group of patients; agreement on each partition, quality on the forget set."""
        for group in self.audited.groups:
            yield self._excess(one, QUALITY, "forget", group)
            yield self._share(one, group)
            for part in PARTS:
                if self.audited.inside(part, group).any():
                    yield self._excess(one, DIVERGENCE, part, group)
                    yield self._excess(one, DECISIONS, part, group)

    def _excess(self, one: Comparison, audit: str, part: str, group: str) -> Finding:
        inside, subset = self.audited.inside(part, group), self.audited.part(part)

        def of_patients(rows: Rows) -> PairMean:
            found = self._pairs(audit, part, rows, one.base)
            return PairMean(*(subset.total(x)[..., inside] for x in (found.mean, found.by_seed)))

        ours, theirs = of_patients(one.rows), of_patients(one.others)
        found = excess_interval(ours, theirs, level=self.audited.measurements.level)
        needed = FEWEST_DISTINGUISHED if audit == QUALITY else FEWEST_SEEDS
        few = f"{len(one.seeds)} seeds, an interval needs {needed}" * (len(one.seeds) < needed)
        return Finding(audit, part, group, found, float(ours.mean.mean()), few)

    def _share(self, one: Comparison, group: str) -> Finding:
        """Share of samples at which most pairs are distinguished."""
        inside, subset = self.audited.inside("forget", group), self.audited.part("forget")

        def share(rows: Rows) -> float:
            chance = self._pairs(QUALITY, "forget", rows, one.base).mean
            above = np.where(np.isfinite(chance), chance > DISTINGUISHED, np.nan)
            return float(subset.total(above)[inside].mean())

        ours, theirs = share(one.rows), share(one.others)
        found = no_limits(ours - theirs, len(one.seeds), int(inside.sum()))
        note = "no interval: a share above a threshold is not smooth in the seeds"
        return Finding(f"{QUALITY}_share", "forget", group, found, ours, note)

    def _pairs_of(self, audit: str, part: str, rows: Rows, base: Rows) -> PairMean:
        """At each sample of the part."""
        read = self.audited.confidence if audit == QUALITY else self.audited.probabilities
        ours, theirs = (np.stack([read(row, part) for row in each]) for each in (rows, base))
        if audit == QUALITY:
            return distinguish_seeds(ours, theirs)
        return average_pairs(PAIRS[audit](ours, theirs))
