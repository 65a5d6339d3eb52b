"""Levels and gaps of every method, by forget set, partition and sex, with intervals.

A gap is a model's measure minus that of the model retrained without the same patients, from the
same seed. The retrained models on fresh seeds give the floor, doing nothing gives the ceiling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST
from medunlearn.evaluation.lineups import FLOOR as FLOOR
from medunlearn.evaluation.lineups import NOTHING as NOTHING
from medunlearn.evaluation.lineups import RETRAINED as RETRAINED
from medunlearn.evaluation.lineups import Run, has_gap, line_ups
from medunlearn.evaluation.performance import (
    MEASURES,
    Predicted,
    calibration_error,
    probabilities,
    threshold_at,
)
from medunlearn.evaluation.subsets import Subsets
from medunlearn.statistics.intervals import Interval, contrast_interval, runs_interval

PARTS = ("retain", "forget", "test")
GROUPS = ("all", "F", "M")
DIFFERENCE = "F - M"
CALIBRATION = "calibration_error"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """All measures of a study.

    Args:
        models: One row for each model (see ``study.tables``).
        logits: (models, samples, classes).
        cohort: One row for each sample.
        draws: Forgotten patients by name of the draw.
        reference: Code of the class that counts as negative.
        level: Of the intervals.
    """

    models: pd.DataFrame
    logits: NDArray[np.float32]
    cohort: pd.DataFrame
    draws: Mapping[str, Sequence[int]]
    reference: int
    level: float = 0.95
    _thresholds: dict[int, float] = field(default_factory=dict)
    _known: dict[tuple[int, int, str], Floats] = field(default_factory=dict)

    @cached_property
    def subsets(self) -> Subsets:
        """Partitions by sex, retain and forget sets as drawn."""
        return Subsets(self.cohort, self.draws, self.reference)

    def results(self) -> pd.DataFrame:
        """Estimates with intervals.

        Returns:
            One row for each ``composition``, ``forget_size``, ``method``, ``partition``, ``group``
            (all, F, M, F - M), ``measure`` and ``quantity`` (level or gap): ``estimate``, ``low``,
            ``high``, ``standard_error``, ``df``, ``seeds``, ``patients``, and ``classes`` (how
            many balanced accuracy averages over: rare ones are pooled). A group without a patient
            has no row; limits that cannot be estimated are NaN.
        """
        rows: list[dict[str, object]] = []
        for cell in line_ups(self.models):
            names = {"composition": cell.composition, "forget_size": cell.forget_size}
            quantities = ["level", "gap"] if has_gap(cell.method) else ["level"]
            for part in PARTS:
                for group in (*GROUPS, DIFFERENCE):
                    sides = group.split(" - ")
                    if all(
                        self.subsets.has_patients(r.draw, part, side)
                        for r in cell.runs
                        for side in sides
                    ):
                        for measure, quantity in product((*MEASURES, CALIBRATION), quantities):
                            minus = cell.base if quantity == "gap" else None
                            found = self._interval(cell.runs, minus, part, sides, measure)
                            what = {"partition": part, "group": group, "measure": measure}
                            rows.append(
                                {**names, "method": cell.method, **what, "quantity": quantity}
                            )
                            rows[-1] |= found
        return pd.DataFrame(rows)

    def by_seed(self, measure: str) -> pd.DataFrame:
        """Level and gap of every single seed, columns as in ``results`` and ``seed``."""
        rows = [
            {
                "composition": cell.composition,
                "forget_size": cell.forget_size,
                "method": cell.method,
                "partition": part,
                "group": group,
                "seed": run.seed,
                "level": (mean := self._values(run, part, group, measure).mean()),
                "gap": mean - self._values(paired, part, group, measure).mean()
                if has_gap(cell.method)
                else np.nan,
            }
            for cell in line_ups(self.models)
            for part in PARTS
            for group in GROUPS
            for run, paired in zip(cell.runs, cell.base, strict=True)
            if self.subsets.has_patients(run.draw, part, group)
        ]
        return pd.DataFrame(rows)

    def _interval(
        self,
        runs: list[Run],
        base: list[Run] | None,
        part: str,
        sides: Sequence[str],
        measure: str,
    ) -> dict[str, float]:
        """Level (no base) or gap of a group, or the difference of two groups."""
        groups = []
        for side in sides:
            values = [self._values(run, part, side, measure) for run in runs]
            if base:
                values = [
                    value - self._values(run, part, side, measure)
                    for value, run in zip(values, base, strict=True)
                ]
            groups.append(values)
        patients = sum(len(self.subsets.of(runs[0].draw, part, side).patient_ids) for side in sides)
        means = np.array([[value.mean() for value in values] for values in groups])
        signs = [1, -1][: len(sides)]
        if measure == CALIBRATION:  # not a mean over patients: no interval from this formula
            estimate = float((np.array(signs) @ means).mean())
            found = Interval(estimate, np.nan, np.nan, np.nan, np.nan, len(runs), patients)
        elif part == TEST or len({run.draw for run in runs}) == 1:
            found = contrast_interval([np.stack(v) for v in groups], signs, level=self.level)
        else:  # each seed has patients of its own here
            found = runs_interval(np.array(signs) @ means, patients, level=self.level)
        return {
            "estimate": found.estimate,
            "low": found.low,
            "high": found.high,
            "standard_error": found.standard_error,
            "df": found.df,
            "seeds": found.runs,
            "patients": found.patients,
            "classes": len(set(self.subsets.of(runs[0].draw, part, "all").strata)),
        }

    def _values(self, run: Run, part: str, group: str, measure: str) -> Floats:
        """Patient values of one model; calibration has one value only."""
        subset = self.subsets.of(run.draw, part, group)
        key = (run.row, id(subset), measure)
        if not np.isfinite(self.logits[run.row]).all():  # a model that has blown up has no measure
            return np.full(len(subset.patient_ids), np.nan)
        if key not in self._known:
            chosen = probabilities(self.logits[run.row, subset.samples])
            predicted = Predicted(chosen, self._threshold(run.row))
            if measure == CALIBRATION:
                self._known[key] = np.array([calibration_error(subset, predicted)])
            else:
                self._known[key] = MEASURES[measure](subset, predicted)
        return self._known[key]

    def _threshold(self, row: int) -> float:
        """The model's own threshold, the same for both sexes."""
        if row not in self._thresholds:
            subset = self.subsets.of("", EVALUATION_VALIDATION, "all")
            chosen = probabilities(self.logits[row, subset.samples])
            self._thresholds[row] = threshold_at(subset, 1 - chosen[:, self.reference])
        return self._thresholds[row]
