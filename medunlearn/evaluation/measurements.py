"""Every measure of every model on every subset, taken once, as one value for each patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST
from medunlearn.evaluation.lineups import LineUp, Run
from medunlearn.evaluation.performance import (
    MEASURES,
    Predicted,
    Subset,
    calibration_error,
    probabilities,
    threshold_at,
)
from medunlearn.evaluation.subsets import Subsets
from medunlearn.statistics.intervals import Interval, contrast_interval, runs_interval

PARTS = ("retain", "forget", "test")
CALIBRATION = "calibration_error"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measurements:
    """All measures of a study.

    Args:
        models: One row for each model (see ``study.tables``).
        logits: (models, samples, classes).
        cohort: One row for each sample.
        draws: Patients not to be known, by name of the draw.
        reference: Code of the class that counts as negative.
        difficulty: As from ``strata.measure_difficulty``; empty if it was not measured.
        level: Of the intervals.
    """

    models: pd.DataFrame
    logits: NDArray[np.float32]
    cohort: pd.DataFrame
    draws: Mapping[str, Sequence[int]]
    reference: int
    difficulty: pd.DataFrame = field(default_factory=pd.DataFrame)
    level: float = 0.95
    _thresholds: dict[int, float] = field(default_factory=dict)
    _known: dict[tuple[int, int, str], Floats] = field(default_factory=dict)
    _predicted: dict[tuple[int, int], Predicted] = field(default_factory=dict)

    @cached_property
    def subsets(self) -> Subsets:
        """Partitions by sex and difficulty, retain and forget sets as drawn."""
        return Subsets(self.cohort, self.draws, self.reference, self.difficulty)

    @cached_property
    def _finite(self) -> NDArray[np.bool_]:
        """Whether every logit of a model is a number, (models,)."""
        return np.asarray(np.isfinite(self.logits).all(axis=(1, 2)))

    def has(self, line_up: LineUp, part: str, groups: Sequence[str]) -> bool:
        """Whether every run has a patient in each of these groups."""
        return all(
            self.subsets.has_patients(run.draw, part, group)
            for run in line_up.runs
            for group in groups
        )

    def patients(self, line_up: LineUp, part: str, groups: Sequence[str]) -> int:
        """Patients in the smallest of these groups, of the first run."""
        draw = line_up.runs[0].draw
        return min(len(self.subsets.of(draw, part, group).patient_ids) for group in groups)

    def values(self, run: Run, part: str, group: str, measure: str) -> Floats:
        """Patient values of one model, ascending by patient; calibration has one value only."""
        subset = self.subsets.of(run.draw, part, group)
        key = (run.row, id(subset), measure)
        if not self._finite[run.row]:  # a model that has blown up has no measure
            return np.full(len(subset.patient_ids), np.nan)
        if key not in self._known:
            predicted = self.predicted(run, subset)
            if measure == CALIBRATION:
                self._known[key] = np.array([calibration_error(subset, predicted)])
            else:
                self._known[key] = MEASURES[measure](subset, predicted)
        return self._known[key]

    def predicted(self, run: Run, subset: Subset) -> Predicted:
        """A model's probabilities on a subset, with its own threshold."""
        key = (run.row, id(subset))
        if key not in self._predicted:
            chosen = probabilities(self.logits[run.row, subset.samples])
            self._predicted[key] = Predicted(chosen, self._threshold(run.row))
        return self._predicted[key]

    def gaps(self, line_up: LineUp, part: str, group: str, measure: str) -> list[Floats]:
        """Patient values of each run minus those of the model it is held to, run by run."""
        return [
            self.values(run, part, group, measure) - self.values(paired, part, group, measure)
            for run, paired in zip(line_up.runs, line_up.base, strict=True)
        ]

    def levels(self, line_up: LineUp, part: str, group: str, measure: str) -> list[Floats]:
        """Patient values of each run."""
        return [self.values(run, part, group, measure) for run in line_up.runs]

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
        take = self.gaps if gap else self.levels
        values = [take(line_up, part, group, measure) for group in groups]
        draw = line_up.runs[0].draw
        patients = sum(len(self.subsets.of(draw, part, group).patient_ids) for group in groups)
        with np.errstate(invalid="ignore"):
            means = np.array(weights) @ np.array([[v.mean() for v in each] for each in values])
        if measure == CALIBRATION:
            nothing = (np.nan,) * 4
            return Interval(float(means.mean()), *nothing, len(line_up.runs), patients)
        if part == TEST or len({run.draw for run in line_up.runs}) == 1:
            stacked = [np.stack(each) for each in values]
            return contrast_interval(stacked, weights, level=self.level)
        return runs_interval(means, patients, level=self.level)

    def _threshold(self, row: int) -> float:
        """The model's own threshold, the same for both sexes."""
        if row not in self._thresholds:
            subset = self.subsets.of("", EVALUATION_VALIDATION, "all")
            chosen = probabilities(self.logits[row, subset.samples])
            self._thresholds[row] = threshold_at(subset, 1 - chosen[:, self.reference])
        return self._thresholds[row]
