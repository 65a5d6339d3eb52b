"""All audits of a study's forget set, as one table: is what should be forgotten still known?"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import log_expit, logsumexp

from medunlearn.cohort.partition import EVALUATION_VALIDATION as POPULATION
from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits import membership, pairs
from medunlearn.evaluation.audits.pairs import PairMean
from medunlearn.evaluation.measurements import PARTS, Measurements
from medunlearn.evaluation.performance import probabilities
from medunlearn.evaluation.subsets import Floats
from medunlearn.evaluation.yardsticks import RETRAINED, Comparison, Rows, compare, middle_line_ups
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
    cell = middle_line_ups(measurements.models, forget_size, composition)
    retrained = {run.seed: run for run in cell[RETRAINED].runs} if RETRAINED in cell else {}
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
        for (group, matched), attack, fold in product(self.matches.items(), ATTACKS, (False, True)):
            found, own, seeds = no_limits(np.nan, len(one.seeds), 0), np.nan, one.seeds
            if matched.patients:
                ours, theirs = (
                    [self.place(attack, group, fold, *x) for x in zip(rows, seeds, strict=True)]
                    for rows in (one.rows, one.others)
                )
                found = membership.area_interval(ours, theirs, level=self.measurements.level)
                found = replace(found, patients=matched.patients)
                own = float(np.mean([each.area for each in ours]))
            alone = attack == "rmia" and not all(self._others(seed) for seed in seeds)
            note = "no retrained model of another seed to refer to" if alone else matched.note
            yield f"{attack}{'_folded' * fold}", "forget", group, found, own, note

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
        confidence, others = self.measurements.confidence, self._others(seed)
        known = [log_expit(confidence(row)) for row in others]
        return np.asarray(logsumexp(known, axis=0) - np.log(len(known)) if known else np.nan)

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
        quality = [(QUALITY, "forget"), (f"{QUALITY}_share", "forget")]
        asked = [*quality, *((each, part) for part in PARTS for each in PAIRS)]
        for group, (audit, part) in product(self.measurements.groups(self.draw), asked):
            if len(self.measurements.subset(self.draw, part, group).samples):
                yield self._excess(one, audit, part, group)

    def _excess(self, one: Comparison, audit: str, part: str, group: str) -> Finding:
        seeds = len(one.seeds)
        whole, members = (self.measurements.subset(self.draw, part, of) for of in ("all", group))
        inside = np.isin(whole.patient_ids, members.patient_ids)

        def of_patients(rows: Rows) -> PairMean:
            found = self._pairs(audit.removesuffix("_share"), part, rows, one.base)
            if audit.endswith("_share"):  # of samples at which most pairs are distinguished
                above = np.where(np.isfinite(found.mean), found.mean > DISTINGUISHED, np.nan)
                found = PairMean(above, found.by_seed)
            return PairMean(*(whole.total(x)[..., inside] for x in (found.mean, found.by_seed)))

        ours, theirs = of_patients(one.rows), of_patients(one.others)
        found = pairs.excess_interval(ours, theirs, level=self.measurements.level)
        needed = pairs.FEWEST_SEEDS if audit in PAIRS else pairs.FEWEST_DISTINGUISHED
        note = f"{seeds} seeds, an interval needs {needed}" * (seeds < needed)
        if audit.endswith("_share"):
            found = no_limits(float(ours.mean.mean() - theirs.mean.mean()), seeds, len(ours.mean))
            note = "no interval: a share above a threshold is not smooth in the seeds"
        return audit, part, group, found, float(ours.mean.mean()), note

    def _pairs_of(self, audit: str, part: str, rows: Rows, base: Rows) -> PairMean:
        """At each sample of the part; NaN of a model that has diverged."""
        taken, samples = self.measurements, self.measurements.subset(self.draw, part, "all").samples

        def read(row: int) -> Floats:
            if audit == QUALITY:
                return taken.confidence(row)[samples]
            known = np.where(taken.is_finite[row], taken.logits[row, samples], np.nan)
            return probabilities(known)

        ours, theirs = (np.stack([read(row) for row in each]) for each in (rows, base))
        if audit == QUALITY:
            return pairs.distinguish_seeds(ours, theirs)
        return pairs.average_pairs(PAIRS[audit](ours, theirs))
