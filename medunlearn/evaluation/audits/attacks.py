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
from medunlearn.evaluation.audits.comparisons import Audited, Comparison, Finding, Floats
from medunlearn.evaluation.audits.matching import match
from medunlearn.evaluation.audits.membership import (
    DIGITS,
    Placements,
    area_interval,
    folded,
    log_mean_probability,
    placements,
    rmia,
)
from medunlearn.statistics.intervals import no_limits

ATTACKS = ("population", "rmia")
SIDES = ("forget", TEST)
"""Members and non-members."""


class Attacks:
    """Findings of the loss attack on a population and of RMIA; members are forgotten patients."""

    def __init__(self, audited: Audited, retrained: Mapping[int, int]) -> None:
        """Match members and non-members.

        Args:
            audited: The models.
            retrained: Row of the retrained model (oracle set A) of each seed.
        """
        self.audited, self.retrained = audited, retrained
        people = audited.measurements.people
        self.matches = {
            group: match(*(people.loc[audited.part(side, group).patient_ids] for side in SIDES))
            for group in audited.groups
        }
        # many comparisons ask for the same
        self.place, self.scores = cache(self._placements_of), cache(self._scores_of)
        self._means = cache(self._means_of)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """All attacks, one-sided and folded, by group."""
        level = self.audited.measurements.level
        for group, attack, fold in product(self.matches, ATTACKS, (False, True)):
            names = (f"{attack}_folded" if fold else attack, "forget", group)
            if reason := self._missing(one, attack, group):
                yield Finding(*names, no_limits(np.nan, len(one.seeds), 0), np.nan, reason)
                continue
            ours, theirs = (
                [self.place(attack, group, fold, *x) for x in zip(rows, one.seeds, strict=True)]
                for rows in (one.rows, one.others)
            )
            found, matched = area_interval(ours, theirs, level=level), self.matches[group]
            # the smaller side decides whether there are enough patients for a verdict
            found = replace(found, patients=min(len(matched.members), len(matched.others)))
            yield Finding(*names, found, float(np.mean([x.area for x in ours])), matched.note)

    def _missing(self, one: Comparison, attack: str, group: str) -> str:
        """Why an attack cannot be made; empty if it can."""
        if attack == "rmia" and not len(self.audited.part(POPULATION).samples):
            return "no population: validation_evaluation is empty"
        if attack == "rmia" and not all(self._others(seed) for seed in one.seeds):
            return "no retrained model of another seed to refer to"
        return "" if len(self.matches[group].members) else "no member has a like test patient"

    def _placements_of(
        self, attack: str, group: str, fold: bool, row: int, seed: int
    ) -> Placements:
        matched, scores = self.matches[group], self.scores(attack, row, seed)
        chosen = zip(SIDES, (matched.members, matched.others), strict=True)
        members, others = (np.asarray(scores[side][ids], np.float64) for side, ids in chosen)
        if fold:
            members, others = folded(matched, members, others)
        return placements(matched, members, others)

    def _scores_of(self, attack: str, row: int, seed: int) -> dict[str, "pd.Series[float]"]:
        """What an attack says of forgotten and of test patients, by patient.

        Args:
            attack: One of ``ATTACKS``.
            row: The model.
            seed: Of the retrained model that it is compared with, which is no reference.
        """
        values = self.audited.measurements.confidence(row)
        if attack == "rmia":
            ratio, population = log_expit(values) - self._means(seed), self.audited.part(POPULATION)
            values = rmia(ratio, ratio[population.samples], population.weights)
        scores = {}
        for side in SIDES:
            subset = self.audited.part(side)
            by_patient = subset.total(values[subset.samples]).round(DIGITS)
            scores[side] = pd.Series(by_patient, subset.patient_ids)
        return scores

    def _means_of(self, seed: int) -> Floats:
        """Log of the mean probability over retrained models of other seeds, (samples,)."""
        confidence = self.audited.measurements.confidence
        return log_mean_probability(
            np.stack([log_expit(confidence(row)) for row in self._others(seed)])
        )

    def _others(self, seed: int) -> list[int]:
        """Retrained models of all other seeds."""
        is_finite, others = self.audited.measurements.is_finite, self.retrained.items()
        return [row for other, row in others if other != seed and is_finite[row]]
