"""Women and men on the test set, in a form that can be split and resampled a thousand times."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import LineUp, Measurements, Run
from medunlearn.evaluation.performance import balanced_values, right
from medunlearn.statistics.intervals import Interval, contrast_interval
from medunlearn.statistics.verdicts import Terms

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Decisions:
    """Right decisions about patients whose sex is known, added up for each patient.

    Args:
        ours: Weight of a patient's right decisions in each class as balanced accuracy averages
            them, (strata, seeds, patients); NaN of a model that has diverged.
        theirs: The same of the models that ours are compared with.
        whole: Weight of all of a patient's images, (strata, patients); patients weigh the same.
        women: Of each patient, (patients,).
        patient_ids: Ascending, (patients,).
        sources: The person of each patient as the dataset has it, coded from 0, (patients,).
            Controls shuffle and resample *these*: if an error has made several patients of one
            person, the statistics know nothing of it, but the controls do.
    """

    ours: Floats
    theirs: Floats
    whole: Floats
    women: Flags
    patient_ids: Ints
    sources: Ints

    @cached_property
    def persons(self) -> list[Ints]:
        """Positions of each person's patients."""
        order = np.argsort(self.sources, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.sources))[:-1])

    @property
    def female_persons(self) -> Flags:
        """Which persons are women, (persons,)."""
        return self.women[[patients[0] for patients in self.persons]]


def decide(measurements: Measurements, line_up: LineUp) -> Decisions:
    """Decisions of a line-up on the test set; without patients where no sex is known."""
    whole, people = measurements.subsets.of("", TEST, "all"), measurements.people
    known = people.loc[whole.patients, "sex"].isin(["F", "M"]).to_numpy(bool)
    columns = {
        name: getattr(whole, name)[known] for name in ("samples", "patients", "labels", "strata")
    }
    subset = replace(whole, **columns)
    strata = (subset.strata == np.unique(subset.strata)[:, None]).astype(np.float64)

    def tally(run: Run) -> Floats:
        sums = subset.total(strata * right(subset, measurements.predicted(run.row, subset)))
        return sums if measurements.is_finite[run.row] else sums * np.nan

    people = people.loc[subset.patient_ids]
    return Decisions(
        ours=np.stack([tally(run) for run in line_up.runs], axis=1),
        theirs=np.stack([tally(run) for run in line_up.base], axis=1),
        whole=subset.total(strata),
        women=people["sex"].eq("F").to_numpy(bool),
        patient_ids=subset.patient_ids,
        sources=pd.factorize(people["person"])[0].astype(np.int64),
    )


def sex_contrast(values: Floats, whole: Floats, women: Flags) -> Interval:
    """Women minus men of class-balanced accuracy, for any split of the patients.

    Args:
        values: Weights of right decisions, or gaps, (strata, seeds, patients).
        whole: Weights of all images, (strata, patients).
        women: Who counts as a woman, (patients,).
    """
    sides = [np.flatnonzero(women), np.flatnonzero(~women)]
    return contrast_interval(
        [balanced_values(values.take(side, axis=2), whole.take(side, axis=1)) for side in sides]
    )


def replicate(worlds: Iterable[tuple[Floats, Floats, Flags]]) -> Floats:
    """Estimate, standard error and df of the sex contrast in each world, (3, worlds).

    Args:
        worlds: The arguments of ``sex_contrast`` for each.
    """
    found = [sex_contrast(*world) for world in worlds]
    return np.array([(each.estimate, each.standard_error, each.df) for each in found]).T


def too_few(terms: Terms, decisions: Decisions | None, name: str) -> str:
    """Why there is no contrast of the sexes to speak of; empty if there is one.

    Args:
        terms: Of the study.
        decisions: None where nothing was measured.
        name: Of whom they are.
    """
    if decisions is None:
        return f"not measured: {name}"
    if not np.isfinite([decisions.ours, decisions.theirs]).all():
        return "a model has blown up"
    if decisions.ours.shape[1] < 2:
        return "needs two seeds, there is one"
    patients = int(min(decisions.women.sum(), (~decisions.women).sum()))
    if patients < terms.verdict_patients:
        return f"needs {terms.verdict_patients} test patients of each sex, one has {patients}"
    return ""
