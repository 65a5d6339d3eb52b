"""Membership attacks on every model, and what they say of a method beside its yardstick."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import log_expit

from medunlearn.cohort.partition import EVALUATION_VALIDATION as POPULATION
from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits import membership
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.subsets import Floats
from medunlearn.evaluation.yardsticks import Comparison
from medunlearn.statistics.intervals import Interval, no_limits

Finding = tuple[str, str, str, Interval, float, str]
"""Of a comparison: audit, partition, group of patients; interval of the difference from the models
compared with; the audit's own value, mean over seeds; anything a reader must know."""

ATTACKS = ("population", "rmia")
SIDES = ("forget", TEST)
"""Members and non-members."""


class Attacks:
    """Findings of the loss attack on a population and of RMIA; members are forgotten patients."""

    def __init__(self, measurements: Measurements, draw: str, retrained: Mapping[int, int]) -> None:
        """Match members and non-members.

        Args:
            measurements: Of the models.
            draw: Name of the forget set.
            retrained: Row of the retrained model (oracle set A) of each seed.
        """
        self.measurements, self.draw, self.retrained = measurements, draw, retrained
        people = measurements.people
        self.matches = {
            group: membership.match(
                *(people.loc[measurements.subset(draw, side, group).patient_ids] for side in SIDES)
            )
            for group in measurements.groups(draw)
        }
        # many comparisons ask for the same
        self.place, self.scores = cache(self._placements_of), cache(self._scores_of)
        self._means = cache(self._means_of)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """All attacks, one-sided and folded, by group."""
        for group, attack, fold in product(self.matches, ATTACKS, (False, True)):
            names = (f"{attack}_folded" if fold else attack, "forget", group)
            if reason := self._missing(one, attack, group):
                yield *names, no_limits(np.nan, len(one.seeds), 0), np.nan, reason
                continue
            ours, theirs = (
                [self.place(attack, group, fold, *x) for x in zip(rows, one.seeds, strict=True)]
                for rows in (one.rows, one.others)
            )
            found = membership.area_interval(ours, theirs, level=self.measurements.level)
            found = replace(found, patients=self.matches[group].patients)
            own = float(np.mean([each.area for each in ours]))
            yield *names, found, own, self.matches[group].note

    def _missing(self, one: Comparison, attack: str, group: str) -> str:
        """Why an attack cannot be made; empty if it can."""
        if attack == "rmia":
            if not len(self.measurements.subset("", POPULATION, "all").samples):
                return "no population: validation_evaluation is empty"
            if not all(self._others(seed) for seed in one.seeds):
                return "no retrained model of another seed to refer to"
        return "" if self.matches[group].patients else "no member has a like test patient"

    def _placements_of(
        self, attack: str, group: str, fold: bool, row: int, seed: int
    ) -> membership.Placements:
        matched, scores = self.matches[group], self.scores(attack, row, seed)
        chosen = zip(SIDES, (matched.members, matched.others), strict=True)
        members, others = (np.asarray(scores[side][ids], np.float64) for side, ids in chosen)
        if fold:
            members, others = membership.folded(matched, members, others)
        return membership.placements(matched, members, others)

    def _scores_of(self, attack: str, row: int, seed: int) -> dict[str, "pd.Series[float]"]:
        """What an attack says of forgotten and of test patients, by patient.

        Args:
            attack: One of ``ATTACKS``.
            row: The model.
            seed: Of the retrained model that it is compared with, which is no reference.
        """
        values, subset = self.measurements.confidence(row), self.measurements.subset
        if attack == "rmia":
            ratio = log_expit(values) - self._means(seed)
            population = subset("", POPULATION, "all")
            values = membership.rmia(ratio, ratio[population.samples], population.weights)
        sides = {side: subset(self.draw, side, "all") for side in SIDES}
        return {
            side: pd.Series(of.total(values[of.samples]).round(membership.DIGITS), of.patient_ids)
            for side, of in sides.items()
        }

    def _means_of(self, seed: int) -> Floats:
        """Log of the mean probability over retrained models of other seeds, (samples,)."""
        confidence = self.measurements.confidence
        return membership.log_mean_probability(
            np.stack([log_expit(confidence(row)) for row in self._others(seed)])
        )

    def _others(self, seed: int) -> list[int]:
        """Retrained models of all other seeds."""
        is_finite, others = self.measurements.is_finite, self.retrained.items()
        return [row for other, row in others if other != seed and is_finite[row]]
