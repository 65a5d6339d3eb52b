"""All audits of a study's forget set, as one table: is what should be forgotten still known?"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import log_expit

from medunlearn.cohort.partition import EVALUATION_VALIDATION as POPULATION
from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits import membership, pairs
from medunlearn.evaluation.audits.pairs import PairMean
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.performance import probabilities
from medunlearn.evaluation.subsets import Floats
from medunlearn.evaluation.yardsticks import RETRAINED, Comparison, Rows, compare, line_ups
from medunlearn.statistics.intervals import Interval, no_limits

COLUMNS = (
    "method", "audit", "partition", "group", "against", "estimate", "standard_error", "df",
    "low", "high", "seeds", "patients", "level_estimate", "note",
)  # fmt: skip

QUALITY = "forgetting_quality"
PAIRS = {"divergence": pairs.pair_divergence, "equal_decisions": pairs.pair_decisions}

DISTINGUISHED = 0.9
"""Share of pairs above which a sample gives the unlearning away."""

Finding = tuple[str, str, str, Interval, float, str]
"""Of a comparison: audit, partition, group of patients; interval of the difference from the models
compared with; the audit's own value, mean over seeds; anything a reader must know."""

ATTACKS = ("population", "rmia")
SIDES = ("forget", TEST)
"""Members and non-members."""


def audit(
    measurements: Measurements, forget_size: float, composition: str = "random"
) -> pd.DataFrame:
    """Every audit of every method on one forget set that all seeds share.

    Args:
        measurements: Of a study.
        forget_size: Share of the training patients.
        composition: Of the forget set.

    Returns:
        One row for each method (unlearned ones, do nothing, set B), audit, partition, group of
        patients (all, F, M) and yardstick (``against``). ``patients`` are those of the smallest
        side; ``estimate`` is the difference from the yardstick's models and ``level_estimate`` the
        audit's own value, means over seeds. Audits: ``population``, ``rmia`` (areas under the ROC
        curve; ``_folded`` where abnormally unlikely is conspicuous too); ``forgetting_quality``
        and ``forgetting_quality_share`` (above 0.9); ``divergence``, ``equal_decisions``. What
        cannot be estimated is NaN, with a ``note`` why. Intervals are conditional on the forget
        set and the split.

    Raises:
        ValueError: Each seed forgets other patients.
    """
    cell = [
        one
        for one in line_ups(measurements.models)
        if one.composition == composition and np.isclose(one.forget_size, forget_size)
    ]
    retrained = {run.seed: run for one in cell if one.method == RETRAINED for run in one.runs}
    draws = {run.draw for run in retrained.values()}
    if len(draws) > 1:
        raise ValueError(
            f"forget size {forget_size:g} ({composition}): each seed forgets other patients; "
            "audits need the size at which all seeds share a draw"
        )
    rows = []
    for draw in draws:
        base = {seed: run.row for seed, run in retrained.items()}
        audits = Attacks(measurements, draw, base), Similarity(measurements, draw)
        rows += [
            _row(one, finding, measurements)
            for one in compare(cell)
            for each in audits
            for finding in each.findings(one)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(one: Comparison, finding: Finding, measurements: Measurements) -> dict[str, object]:
    """A finding as a row; notes say what all findings of a comparison have to say."""
    *names, found, own, note = finding
    notes, compared = [note], list({*one.rows, *one.others, *one.base})
    if lost := int((~measurements.is_finite[compared]).sum()):
        notes.append(f"{lost} of the models compared have blown up")
    elif len(one.seeds) < 2:
        notes.append("one seed: no interval")
    elif np.isfinite(found.estimate) and not np.isfinite(found.standard_error) and not note:
        notes.append("no spread: not estimable (ceiling)")
    told = dict(zip(("audit", "partition", "group"), names, strict=True)) | found.columns
    return vars(one) | told | {"level_estimate": own, "note": "; ".join(filter(None, notes))}


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


class Similarity:
    """Findings of agreement and of forgetting quality; pairs of models are compared once.

    All are of pairs (a model of seed s, a retrained one of seed t != s), less the same pairs with
    the yardstick's model of s in its place.
    """

    def __init__(self, measurements: Measurements, draw: str) -> None:
        """Compare nothing yet."""
        self.measurements, self.draw = measurements, draw
        self._pairs = cache(self._pairs_of)

    def findings(self, one: Comparison) -> Iterator[Finding]:
        """By group of patients; agreement on each partition, quality on the forget set."""
        for group in self.measurements.groups(self.draw):
            yield self._excess(one, QUALITY, "forget", group)
            yield self._share(one, group)
            for part in ("retain", "forget", TEST):
                if len(self.measurements.subset(self.draw, part, group).samples):
                    yield from (self._excess(one, audit, part, group) for audit in PAIRS)

    def _excess(self, one: Comparison, audit: str, part: str, group: str) -> Finding:
        def of_patients(rows: Rows) -> PairMean:
            found = self._pairs(audit, part, rows, one.base)
            return PairMean(*(self._total(x, part, group) for x in (found.mean, found.by_seed)))

        ours, theirs = of_patients(one.rows), of_patients(one.others)
        found = pairs.excess_interval(ours, theirs, level=self.measurements.level)
        needed = pairs.FEWEST_DISTINGUISHED if audit == QUALITY else pairs.FEWEST_SEEDS
        few = f"{len(one.seeds)} seeds, an interval needs {needed}" * (len(one.seeds) < needed)
        return audit, part, group, found, float(ours.mean.mean()), few

    def _share(self, one: Comparison, group: str) -> Finding:
        """Share of samples at which most pairs are distinguished."""

        def of_patients(rows: Rows) -> Floats:
            chance = self._pairs(QUALITY, "forget", rows, one.base).mean
            above = np.where(np.isfinite(chance), chance > DISTINGUISHED, np.nan)
            return self._total(above, "forget", group)

        ours, theirs = of_patients(one.rows), of_patients(one.others)
        found = no_limits(float(ours.mean() - theirs.mean()), len(one.seeds), len(ours))
        note = "no interval: a share above a threshold is not smooth in the seeds"
        return f"{QUALITY}_share", "forget", group, found, float(ours.mean()), note

    def _total(self, values: Floats, part: str, group: str) -> Floats:
        """Means over the images of each patient of a group, (..., patients)."""
        whole = self.measurements.subset(self.draw, part, "all")
        members = self.measurements.subset(self.draw, part, group).patient_ids
        return whole.total(values)[..., np.isin(whole.patient_ids, members)]

    def _pairs_of(self, audit: str, part: str, rows: Rows, base: Rows) -> PairMean:
        """At each sample of the part; NaN of a model that has diverged."""
        samples = self.measurements.subset(self.draw, part, "all").samples

        def read(row: int) -> Floats:
            if audit == QUALITY:
                return self.measurements.confidence(row)[samples]
            logits = self.measurements.logits[row, samples]
            known = self.measurements.is_finite[row]
            return probabilities(logits) if known else np.full(logits.shape, np.nan)

        ours, theirs = (np.stack([read(row) for row in each]) for each in (rows, base))
        if audit == QUALITY:
            return pairs.distinguish_seeds(ours, theirs)
        return pairs.average_pairs(PAIRS[audit](ours, theirs))
