"""Membership attacks on every model, and what they say of a method beside its yardstick."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits.attack_scores import ATTACKS, AttackScores
from medunlearn.evaluation.audits.comparisons import Comparison, Finding, without_limits
from medunlearn.evaluation.audits.epsilon import (
    distinguish_models,
    too_few,
    true_positive_rate_at,
)
from medunlearn.evaluation.audits.matching import Match, match
from medunlearn.evaluation.audits.membership import Placements, area_interval, folded, placements
from medunlearn.statistics.intervals import runs_interval

Floats = NDArray[np.float64]
Rows = tuple[int, ...]

FALSE_POSITIVE_RATE = 0.01


class Attacks:
    """Findings of all attacks; what several of them need is computed once."""

    def __init__(self, scores: AttackScores, strata: pd.DataFrame, level: float) -> None:
        """Attack nothing yet.

        Args:
            scores: Of the attackers.
            strata: What patients are matched by.
            level: Of the intervals.
        """
        self.scores, self.strata, self.level = scores, strata, level
        self._match, self._place = cache(self._match_of), cache(self._placements_of)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """All attacks, one-sided and folded, by group; then what needs many models."""
        groups = self.scores.answers.groups()
        for group, attack, fold in product(groups, ATTACKS, (False, True)):
            yield self._area(one, attack, group, fold)
        yield self._rate(one)
        if one.against == "retrained":
            yield self._epsilon(one)

    def _area(self, one: Comparison, attack: str, group: str, fold: bool) -> Finding:
        names = (f"{attack}_folded" if fold else attack, ATTACKS[attack], group)
        if reason := self._missing(one, attack, group):
            return Finding(*names, without_limits(np.nan, len(one.seeds), 0), np.nan, reason)
        ours, theirs = (
            [self._place(attack, group, fold, *pair) for pair in zip(rows, one.seeds, strict=True)]
            for rows in (one.rows, one.others)
        )
        found, matched = area_interval(ours, theirs, level=self.level), self._match(attack, group)
        # the smaller side decides whether there are enough patients for a verdict
        found = replace(found, patients=min(len(matched.members), len(matched.others)))
        return Finding(*names, found, float(np.mean([each.area for each in ours])), matched.note)

    def _rate(self, one: Comparison) -> Finding:
        """True positive rate of the strongest attack at a low false positive rate."""
        names, seeds = ("rmia_tpr", "forget", "all"), len(one.seeds)
        if reason := self._missing(one, "rmia", "all"):
            return Finding(*names, without_limits(np.nan, seeds, 0), np.nan, reason)
        matched = self._match("rmia", "all")
        few = too_few(matched.weights, FALSE_POSITIVE_RATE, seeds)

        def rate(row: int, seed: int) -> float:
            scores = self._scores("rmia", "all", row, seed)
            return true_positive_rate_at(FALSE_POSITIVE_RATE, *scores, matched.weights)

        ours, theirs = (
            np.array([np.nan if few else rate(*pair) for pair in zip(rows, one.seeds, strict=True)])
            for rows in (one.rows, one.others)
        )
        found = runs_interval(ours - theirs, len(matched.members), level=self.level)
        return Finding(*names, found, float(ours.mean()), few)

    def _epsilon(self, one: Comparison) -> Finding:
        """From each model's mean confidence on the forget set, patients weighing the same."""
        read = self.scores.answers
        ours, theirs = (
            np.array(
                [read.by_patient(read.confidence(row, "forget"), "forget").mean() for row in rows]
            )
            for rows in (one.rows, one.others)
        )
        value, note = distinguish_models(ours, theirs, level=self.level)
        # the bound is one-sided by nature: there is no interval around it
        patients = len(read.part("forget").patient_ids)
        found = without_limits(value, len(one.seeds), patients)
        return Finding("epsilon", "forget", "all", found, value, note)

    def _missing(self, one: Comparison, attack: str, group: str) -> str:
        """Why an attack cannot be made; empty if it can."""
        reasons = [self.scores.missing(attack, seed) for seed in one.seeds]
        if not any(reasons) and not len(self._match(attack, group).members):
            reasons = ["no member has a like test patient"]
        return next(filter(None, reasons), "")

    def _match_of(self, attack: str, group: str) -> Match:
        read, members = self.scores.answers, ATTACKS[attack]
        mine, theirs = (read.inside(part, group) for part in (members, TEST))
        if attack == "retain_exposure":
            mine = mine & self.scores.unseen.any(axis=0)
        return match(
            self.strata.loc[read.part(members).patient_ids[mine]],
            self.strata.loc[read.part(TEST).patient_ids[theirs]],
        )

    def _scores(self, attack: str, group: str, row: int, seed: int) -> tuple[Floats, Floats]:
        """Of matched members and non-members."""
        read, matched = self.scores.answers, self._match(attack, group)
        members, others = self.scores.of(attack, row, seed)
        return (
            members[np.searchsorted(read.part(ATTACKS[attack]).patient_ids, matched.members)],
            others[np.searchsorted(read.part(TEST).patient_ids, matched.others)],
        )

    def _placements_of(
        self, attack: str, group: str, fold: bool, row: int, seed: int
    ) -> Placements:
        found, scores = self._match(attack, group), self._scores(attack, group, row, seed)
        return placements(found, *(folded(found, *scores) if fold else scores))
