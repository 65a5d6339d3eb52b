"""Membership attacks on every model, and what they say of a method beside its yardstick."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits.attack_scores import ATTACKS, Readings
from medunlearn.evaluation.audits.certainty import distinguish_models, true_positive_rate_at
from medunlearn.evaluation.audits.comparisons import Comparison, Finding, not_estimable
from medunlearn.evaluation.audits.matching import Match, match
from medunlearn.evaluation.audits.membership import Placements, area_interval, folded, placements
from medunlearn.statistics.intervals import runs_interval

Floats = NDArray[np.float64]

FALSE_POSITIVE_RATE = 0.01


@dataclass(frozen=True)
class Attacks:
    """Findings of all attacks; what several of them need is computed once.

    Args:
        readings: The models.
        strata: What patients are matched by.
        level: Of the intervals.
    """

    readings: Readings
    strata: pd.DataFrame
    level: float
    _matches: dict[tuple[str, str], Match] = field(default_factory=dict)
    _placed: dict[tuple[str, str, bool, int, int], Placements] = field(default_factory=dict)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """All attacks, one-sided and folded, by group; then what needs many models."""
        for group, attack, fold in product(self.readings.groups, ATTACKS, (False, True)):
            yield self._area(one, attack, group, fold)
        yield self._rate(one)
        if one.against == "retrained":
            yield self._epsilon(one)

    def _area(self, one: Comparison, attack: str, group: str, fold: bool) -> Finding:
        names = (f"{attack}_folded" if fold else attack, ATTACKS[attack], group)
        if reason := self._missing(one, attack, group):
            return Finding(*names, not_estimable(np.nan, len(one.seeds), 0), np.nan, reason)
        ours, theirs = (
            [self._place(attack, group, fold, *pair) for pair in zip(rows, one.seeds, strict=True)]
            for rows in (one.rows, one.others)
        )
        found = area_interval(ours, theirs, level=self.level)
        # the smaller side decides whether there are enough patients for a verdict
        sides = self._match(attack, group)
        found = replace(found, patients=min(len(sides.members), len(sides.others)))
        area = float(np.mean([each.area for each in ours]))
        return Finding(*names, found, area, self._match(attack, group).note)

    def _rate(self, one: Comparison) -> Finding:
        """True positive rate of the strongest attack at a low false positive rate."""
        names = ("rmia_tpr", "forget", "all")
        if reason := self._missing(one, "rmia", "all"):
            return Finding(*names, not_estimable(np.nan, len(one.seeds), 0), np.nan, reason)
        found, models = self._match("rmia", "all"), len(one.seeds)
        ours, theirs = (
            [
                true_positive_rate_at(
                    found,
                    *self._scores("rmia", "all", *pair),
                    rate=FALSE_POSITIVE_RATE,
                    models=models,
                )
                for pair in zip(rows, one.seeds, strict=True)
            ]
            for rows in (one.rows, one.others)
        )
        rates = [np.array([rate.value for rate in side]) for side in (ours, theirs)]
        interval = runs_interval(rates[0] - rates[1], len(found.members), level=self.level)
        return Finding(*names, interval, float(rates[0].mean()), ours[0].note)

    def _epsilon(self, one: Comparison) -> Finding:
        """From each model's mean confidence on the forget set, patients weighing the same."""
        read = self.readings
        ours, theirs = (
            np.array(
                [read.by_patient(read.confidence(row, "forget"), "forget").mean() for row in r]
            )
            for r in (one.rows, one.others)
        )
        found = distinguish_models(ours, theirs, level=self.level)
        patients = len(read.part("forget").patient_ids)
        # the bound is one-sided by nature: there is no interval around it
        interval = not_estimable(found.value, len(one.seeds), patients)
        return Finding("epsilon", "forget", "all", interval, found.value, found.note)

    def _missing(self, one: Comparison, attack: str, group: str) -> str:
        """Why an attack cannot be made; empty if it can."""
        reasons = [self.readings.missing(attack, seed) for seed in one.seeds]
        if not any(reasons) and not len(self._match(attack, group).members):
            reasons = ["no member has a like test patient"]
        return next(filter(None, reasons), "")

    def _match(self, attack: str, group: str) -> Match:
        members = ATTACKS[attack]
        if (attack, group) not in self._matches:
            inside = {part: self.readings.inside(part, group) for part in (members, TEST)}
            if attack == "retain_exposure":
                inside[members] = inside[members] & self.readings.unseen.any(axis=0)
            mine, theirs = (
                self.strata.loc[self.readings.part(part).patient_ids[chosen]]
                for part, chosen in inside.items()
            )
            self._matches[attack, group] = match(mine, theirs)
        return self._matches[attack, group]

    def _scores(self, attack: str, group: str, row: int, seed: int) -> tuple[Floats, Floats]:
        """Of matched members and non-members."""
        found, scores = self._match(attack, group), self.readings.scores(attack, row, seed)
        known = [self.readings.part(part).patient_ids for part in (ATTACKS[attack], TEST)]
        places = [
            np.searchsorted(ids, wanted)
            for ids, wanted in zip(known, (found.members, found.others), strict=True)
        ]
        return scores[0][places[0]], scores[1][places[1]]

    def _place(self, attack: str, group: str, fold: bool, row: int, seed: int) -> Placements:
        key = (attack, group, fold, row, seed)
        if key not in self._placed:
            found, scores = self._match(attack, group), self._scores(attack, group, row, seed)
            self._placed[key] = placements(found, *(folded(found, *scores) if fold else scores))
        return self._placed[key]
