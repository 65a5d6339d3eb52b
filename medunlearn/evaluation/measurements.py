"""Every measure of every model beside the retrained model it is held to, patient by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST, TRAIN, patient_table
from medunlearn.evaluation import performance
from medunlearn.evaluation.difficulty import STRATA
from medunlearn.evaluation.performance import CALIBRATION, MEASURES, Predicted
from medunlearn.evaluation.scores import label_confidence
from medunlearn.evaluation.subsets import Floats, Subset, pooled_classes
from medunlearn.evaluation.yardsticks import LineUp, Run
from medunlearn.statistics.intervals import Interval, contrast_interval, no_limits, runs_interval

PARTS = ("retain", "forget", "test")

DRAWN = ("retain", "forget")
"""Parts of the training patients; every other part is a partition."""

UNMEMORISED = "unmemorised"
"""Training patients of the lowest tertile of memorisation."""

RECENT = 256
"""Predictions kept in double precision: those of one method and group, whatever the measure."""


@dataclass(eq=False)
class Measurements:
    """One value for each model, patient and measure; taken when first asked for, and kept.

    Args:
        models: One row for each model (see ``study.tables``).
        logits: (models, samples, classes).
        cohort: One row for each sample.
        draws: Patients not to be known, by name of the draw.
        reference: Code of the class that counts as negative.
        difficulty: As from ``difficulty.measure_difficulty``; empty if it was not measured.
        level: Of the intervals.
        sparse: Whether logits are known of some samples only, and NaN elsewhere.
    """

    models: pd.DataFrame
    logits: NDArray[np.float32]
    cohort: pd.DataFrame
    draws: Mapping[str, Sequence[int]]
    reference: int
    difficulty: pd.DataFrame = field(default_factory=pd.DataFrame)
    level: float = 0.95
    sparse: bool = False

    def __post_init__(self) -> None:
        """Measure nothing yet."""
        self._made, self._pooled = cache(self._make), cache(self._pool)
        self._kept, self._threshold = cache(self._measure), cache(self._set_threshold)
        self.predicted, self.confidence = lru_cache(RECENT)(self._predict), cache(self._confide)

    def subset(self, draw: str, part: str, group: str) -> Subset:
        """The images of a partition (retain and forget as drawn) and a group of patients.

        Args:
            draw: Name of the forget set.
            part: ``retain``, ``forget``, or a partition.
            group: ``all``, a sex, a stratum of difficulty (whole patients), ``unmemorised``, or
                several of these, as in ``F hard``: who is in each of them.
        """
        return self._made(draw if part in DRAWN else "", part, group)

    def groups(self, draw: str) -> list[str]:
        """All, and each sex that has a patient to forget."""
        return [g for g in ("all", "F", "M") if len(self.subset(draw, "forget", g).samples)]

    def _make(self, draw: str, part: str, group: str) -> Subset:
        inside = self._part(draw, part)
        for word in group.split():
            inside = inside & self._groups.get(word, False)
        rows = self.cohort[inside]
        labels = rows["label"].to_numpy(np.int64)
        pooled = list(self._pooled(draw.rsplit("-", 1)[0], part))
        return Subset(
            samples=rows["sample"].to_numpy(np.int64),
            patients=rows["patient"].to_numpy(np.int64),
            labels=labels,
            strata=np.where(np.isin(labels, pooled), -1, labels),
            reference=self.reference,
        )

    def _part(self, draw: str, part: str) -> NDArray[np.bool_]:
        """Whether each sample of the cohort is in it."""
        if part not in DRAWN:
            return (self.cohort["partition"] == part).to_numpy(bool)
        forgotten = self.cohort["patient"].isin(self.draws[draw]) == (part == "forget")
        return ((self.cohort["partition"] == TRAIN) & forgotten).to_numpy(bool)

    @cached_property
    def _groups(self) -> dict[str, NDArray[np.bool_]]:
        """Whether each sample of the cohort is in each group."""
        groups = {sex: self.cohort["sex"].eq(sex).fillna(False) for sex in ("F", "M")}
        groups["all"] = pd.Series(True, index=self.cohort.index)
        if len(self.difficulty):
            known = self.difficulty.set_index("sample").reindex(self.cohort["sample"])
            groups |= {stratum: known["stratum"] == stratum for stratum in STRATA}
            groups[UNMEMORISED] = known["little_memorised"].fillna(False)
        return {name: inside.to_numpy(bool) for name, inside in groups.items()}

    def _pool(self, cell: str, part: str) -> set[int]:
        """Classes too rare to be averaged by themselves: the same for all draws of a cell."""
        draws = [name for name in self.draws if name.rsplit("-", 1)[0] == cell] if cell else [""]
        return pooled_classes([self.cohort[self._part(draw, part)] for draw in draws])

    @cached_property
    def is_finite(self) -> NDArray[np.bool_]:
        """Whether every logit of a model that is known is a number, (models,)."""
        known = np.asarray(np.isfinite(self.logits).all(axis=2))
        if self.sparse:
            known = known | np.isnan(self.logits).all(axis=2)
        return np.asarray(known.all(axis=1))

    @cached_property
    def people(self) -> pd.DataFrame:
        """By patient: ``sex``, ``label`` (the rarest of its images'), and what is known of it.

        ``age``, and ``confidence`` (high: easy) are means over images, ``difficulty`` is a stratum;
        none where they are not known. The ``person`` is who the dataset says the patient is: one,
        unless an error has made several patients of one.
        """
        first = self.cohort.drop_duplicates("patient").set_index("patient")
        table = patient_table(self.cohort).rename(columns={"rarest": "label"})
        table = table.assign(age=np.nan, difficulty=None, confidence=np.nan)
        if "age" in self.cohort:
            table["age"] = self.cohort.groupby("patient")["age"].mean()
        if len(self.difficulty):
            known = self.difficulty.set_index("sample")
            table["difficulty"] = first["sample"].map(known["stratum"].astype(object))
            confidence = self.cohort["sample"].map(known["confidence_out"])
            table["confidence"] = confidence.groupby(self.cohort["patient"]).mean()
        return table.assign(person=first.get("source_patient", first.index.to_series()))

    def patients(self, line_up: LineUp, part: str, groups: Sequence[str]) -> int:
        """Patients in the smallest of these groups, of any run."""
        pairs = product({run.draw for run in line_up.runs}, groups)
        return min(len(self.subset(draw, part, group).patient_ids) for draw, group in pairs)

    def values(self, run: Run, part: str, group: str, measure: str) -> Floats:
        """Patient values of one model, ascending by patient; calibration has one value only."""
        return self._kept(run.row, self.subset(run.draw, part, group), measure)

    def levels(self, line_up: LineUp, part: str, group: str, measure: str) -> list[Floats]:
        """Patient values of each run."""
        return [self.values(run, part, group, measure) for run in line_up.runs]

    def gaps(self, line_up: LineUp, part: str, group: str, measure: str) -> list[Floats]:
        """Patient values of each run minus those of the model it is held to, run by run."""
        both = zip(self.levels(line_up, part, group, measure), line_up.base, strict=True)
        return [ours - self.values(base, part, group, measure) for ours, base in both]

    def interval(
        self,
        line_up: LineUp,
        part: str,
        measure: str,
        groups: Sequence[str] = ("all",),
        weights: Sequence[float] = (1,),
        *,
        gap: bool = True,
    ) -> Interval:
        """Interval of a weighted sum of the groups' means, of gaps or of levels.

        Where each seed has a draw of its own the patients are not the same over seeds: then the
        seeds alone carry the spread. Calibration is no mean over patients: it has no limits here.
        """
        take, first = self.gaps if gap else self.levels, line_up.runs[0].draw
        values = [take(line_up, part, group, measure) for group in groups]
        patients = sum(len(self.subset(first, part, group).patient_ids) for group in groups)
        with np.errstate(invalid="ignore"):
            means = np.array(weights) @ np.array([[v.mean() for v in each] for each in values])
        if measure == CALIBRATION:
            return no_limits(float(means.mean()), len(line_up.runs), patients)
        if part == TEST or len({run.draw for run in line_up.runs}) == 1:
            stacked = [np.stack(each) for each in values]
            return contrast_interval(stacked, weights, level=self.level)
        return runs_interval(means, patients, level=self.level)

    def _measure(self, row: int, subset: Subset, measure: str) -> Floats:
        known = not self.sparse or np.isfinite(self.logits[row, subset.samples]).all()
        if not (known and self.is_finite[row]):  # a model that has diverged has no measure
            return np.full(len(subset.patient_ids), np.nan)
        return MEASURES[measure](subset, self.predicted(row, subset))

    def _predict(self, row: int, subset: Subset) -> Predicted:
        """Probabilities of a model on a subset, with the model's own threshold."""
        chosen = performance.probabilities(self.logits[row, subset.samples])
        return Predicted(chosen, self._threshold(row))

    def _set_threshold(self, row: int) -> float:
        """The same for both sexes."""
        subset = self.subset("", EVALUATION_VALIDATION, "all")
        chosen = performance.probabilities(self.logits[row, subset.samples])
        return performance.threshold_at(subset, 1 - chosen[:, self.reference])

    def _confide(self, row: int) -> Floats:
        """Logit-scaled confidence in the label of each sample; NaN of a model that diverged."""
        if not self.is_finite[row]:
            return np.full(len(self.cohort), np.nan)
        return label_confidence(self.logits[row], self.cohort["label"].to_numpy(np.int64))
