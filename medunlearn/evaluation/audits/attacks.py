"""Membership attacks on every model, and what they say of a method beside its yardstick."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_expit

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST
from medunlearn.evaluation.audits.answers import Answers
from medunlearn.evaluation.audits.comparisons import Comparison, Finding
from medunlearn.evaluation.audits.matching import Match, match
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

Floats = NDArray[np.float64]

ATTACKS = ("population", "rmia")


class Attacks:
    """Findings of the loss attack on a population and of RMIA; members are forgotten patients."""

    def __init__(
        self, answers: Answers, strata: pd.DataFrame, retrained: Mapping[int, int], level: float
    ) -> None:
        """Attack nothing yet.

        Args:
            answers: Of the models.
            strata: What patients are matched by.
            retrained: Row of the retrained model (oracle set A) of each seed.
            level: Of the intervals.
        """
        self.answers, self.strata, self.level = answers, strata, level
        self.retrained = retrained
        # many comparisons ask for the same
        self._match, self._place = cache(self._match_of), cache(self._placements_of)
        self.scores, self._means = cache(self._scores_of), cache(self._means_of)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """All attacks, one-sided and folded, by group."""
        for group, attack, fold in product(self.answers.groups(), ATTACKS, (False, True)):
            yield self._area(one, attack, group, fold)

    def _area(self, one: Comparison, attack: str, group: str, fold: bool) -> Finding:
        names = (f"{attack}_folded" if fold else attack, "forget", group)
        if reason := self._missing(one, attack, group):
            return Finding(*names, no_limits(np.nan, len(one.seeds), 0), np.nan, reason)
        ours, theirs = (
            [self._place(attack, group, fold, *pair) for pair in zip(rows, one.seeds, strict=True)]
            for rows in (one.rows, one.others)
        )
        found, matched = area_interval(ours, theirs, level=self.level), self._match(group)
        # the smaller side decides whether there are enough patients for a verdict
        found = replace(found, patients=min(len(matched.members), len(matched.others)))
        return Finding(*names, found, float(np.mean([each.area for each in ours])), matched.note)

    def _missing(self, one: Comparison, attack: str, group: str) -> str:
        """Why an attack cannot be made; empty if it can."""
        if attack == "rmia" and not len(self.answers.part(EVALUATION_VALIDATION).samples):
            return "no population: validation_evaluation is empty"
        if attack == "rmia" and not all(self._others(seed) for seed in one.seeds):
            return "no retrained model of another seed to refer to"
        return "" if len(self._match(group).members) else "no member has a like test patient"

    def _match_of(self, group: str) -> Match:
        read = self.answers
        members, others = (
            self.strata.loc[read.part(part).patient_ids[read.inside(part, group)]]
            for part in ("forget", TEST)
        )
        return match(members, others)

    def _placements_of(
        self, attack: str, group: str, fold: bool, row: int, seed: int
    ) -> Placements:
        read, matched = self.answers, self._match(group)
        members, others = self.scores(attack, row, seed)
        chosen = (
            members[np.searchsorted(read.part("forget").patient_ids, matched.members)],
            others[np.searchsorted(read.part(TEST).patient_ids, matched.others)],
        )
        return placements(matched, *(folded(matched, *chosen) if fold else chosen))

    def _scores_of(self, attack: str, row: int, seed: int) -> tuple[Floats, Floats]:
        """What an attack says of forgotten and of test patients.

        Args:
            attack: One of ``ATTACKS``.
            row: The model.
            seed: Of the retrained model that it is compared with, which is no reference.
        """
        read = self.answers
        if attack == "population":
            by_image = {part: read.confidence(row, part) for part in ("forget", TEST)}
        else:
            ratios = {
                part: log_expit(read.confidence(row, part)) - mean
                for part, mean in self._means(seed).items()
            }
            population = read.part(EVALUATION_VALIDATION).weights
            by_image = {
                part: rmia(ratios[part], ratios[EVALUATION_VALIDATION], population)
                for part in ("forget", TEST)
            }
        members, others = (
            read.by_patient(values, part).round(DIGITS) for part, values in by_image.items()
        )
        return members, others

    def _means_of(self, seed: int) -> dict[str, Floats]:
        """Log of the mean probability over retrained models of other seeds, by part."""
        read, others = self.answers, self._others(seed)
        return {
            part: log_mean_probability(
                np.stack([log_expit(read.confidence(row, part)) for row in others])
            )
            for part in ("forget", TEST, EVALUATION_VALIDATION)
        }

    def _others(self, seed: int) -> list[int]:
        """Retrained models of all other seeds."""
        is_finite, others = self.answers.is_finite, self.retrained.items()
        return [row for other, row in others if other != seed and is_finite(row)]
