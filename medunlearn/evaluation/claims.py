"""The contrasts that the five claims rest on: what is asked, of whom, and whether it may be judged.

Confirmatory contrasts are those of a few methods named before results are seen, on the random
forget set of the middle size; everything else is exploratory. Verdicts are given in
`statistics.verdicts`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.evaluation.adjustment import (
    adjusted_difference,
    age_standardised_difference,
    covariates,
)
from medunlearn.evaluation.contrasts import Terms, make_row, refuse
from medunlearn.evaluation.generalisation import generalisation_contrasts
from medunlearn.evaluation.lineups import LineUp, has_gap, line_ups
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.strata import RELIABLE
from medunlearn.evaluation.subsets import UNMEMORISED
from medunlearn.statistics.intervals import Interval

BY_CONSTRUCTION = "doing nothing differs here by construction: read it beside floor and ceiling"


def measure_contrasts(measurements: Measurements, terms: Terms) -> pd.DataFrame:
    """Every contrast of claims C1 to C4.

    Returns:
        One row for each ``claim``, ``contrast``, ``partition``, ``measure``, ``adjustment`` and
        ``method``: ``estimate``, ``low``, ``high``, ``standard_error``, ``df``, ``seeds``,
        ``patients``, and for `verdicts.judge` ``family``, ``confirmatory``, ``margin`` and
        ``refused``.
    """
    rows: list[dict[str, object]] = []
    for line_up in line_ups(measurements.models):
        middle = line_up.composition == "random" and line_up.forget_size == terms.middle_size
        if middle and has_gap(line_up.method):
            claims = _Claims(measurements, terms, line_up)
            rows += [*claims.utility(), *claims.sexes(), *claims.difficulty()]
    rows += generalisation_contrasts(measurements, terms)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Claims:
    """The contrasts of one method at the middle size."""

    measurements: Measurements
    terms: Terms
    line_up: LineUp

    def utility(self) -> Iterator[dict[str, object]]:
        """C1: gap on the retain and the forget set; sure probabilities where decisions saturate."""
        for part in ("retain", "forget"):
            for measure in ("accuracy", "brier", "confidence"):
                found = self.measurements.interval(self.line_up, part, measure)
                yield self._row("C1", "gap", part, measure, found, ["all"])

    def sexes(self) -> Iterator[dict[str, object]]:
        """C2: gap of women minus gap of men; adjusted on the forget set, where groups are small."""
        both, sides = self.measurements, ("F", "M")
        for part in ("forget", "retain", "test"):
            if not both.has(self.line_up, part, sides):
                continue
            for measure in ("balanced_accuracy", "accuracy", "true_positive_rate",
                            "false_positive_rate", "brier"):  # fmt: skip
                found = both.interval(self.line_up, part, measure, sides, (1, -1))
                primary = part == "test" and measure == "balanced_accuracy"
                yield self._row("C2", "F - M", part, measure, found, sides, primary=primary)
            if part == "forget":
                found, names = adjusted_difference(*self._patients(part), level=both.level)
                row = self._row("C2", "F - M", part, "accuracy", found, sides, primary=True)
                yield {**row, "adjustment": names}
            if part == "test":
                standard = age_standardised_difference(*self._patients(part), level=both.level)
                if standard is not None:
                    row = self._row("C2", "F - M", part, "accuracy", standard, sides)
                    yield {**row, "adjustment": "age"}

    def difficulty(self) -> Iterator[dict[str, object]]:
        """C4: gap of hard minus gap of easy patients, and whether sex and difficulty interact."""
        sides, crossed = ("hard", "easy"), ("F hard", "F easy", "M hard", "M easy")
        unsure = "" if self.terms.reliability >= RELIABLE else self._unreliable()
        if self.measurements.has(self.line_up, "test", sides):
            found = self.measurements.interval(self.line_up, "test", "accuracy", sides, (1, -1))
            row = self._row("C4", "hard - easy", "test", "accuracy", found, sides, primary=True)
            yield {**row, "refused": row["refused"] or unsure}
        if self.measurements.has(self.line_up, "test", crossed):
            weights = (1, -1, -1, 1)
            found = self.measurements.interval(self.line_up, "test", "accuracy", crossed, weights)
            what = "(F hard - F easy) - (M hard - M easy)"
            row = self._row("C4", what, "test", "accuracy", found, crossed)
            yield {**row, "refused": row["refused"] or unsure}
        for group in (*sides, UNMEMORISED):
            if self.measurements.has(self.line_up, "forget", [group]):
                found = self.measurements.interval(self.line_up, "forget", "accuracy", [group])
                row = self._row("C4", f"gap, {group}", "forget", "accuracy", found, [group])
                judged = group == UNMEMORISED
                yield {**row, "refused": row["refused"] or unsure if judged else BY_CONSTRUCTION}

    def _unreliable(self) -> str:
        if np.isnan(self.terms.reliability):
            return "how reliable difficulty is was not measured"
        found = f"{self.terms.reliability:.2f}"
        return f"split-half reliability of difficulty is {found}, below {RELIABLE}"

    def _patients(self, part: str) -> tuple[pd.DataFrame, NDArray[np.float64]]:
        """Patients with covariates, and their gaps (seeds, patients)."""
        table = covariates(self.measurements, self.line_up.runs[0].draw, part)
        return table, np.stack(self.measurements.gaps(self.line_up, part, "all", "accuracy"))

    def _row(
        self,
        claim: str,
        contrast: str,
        part: str,
        measure: str,
        found: Interval,
        groups: Sequence[str],
        *,
        primary: bool = False,
    ) -> dict[str, object]:
        patients = self.measurements.patients(self.line_up, part, groups)
        return make_row(
            self.terms,
            claim=claim,
            contrast=contrast,
            partition=part,
            measure=measure,
            adjustment="",
            method=self.line_up.method,
            found=found,
            margin=self.terms.margins[part],
            primary=primary,
            refused=refuse(self.terms, found.runs, patients),
        )
