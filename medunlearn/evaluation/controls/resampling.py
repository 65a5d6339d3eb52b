"""What came of a control; and women and men on the test set, to be resampled a thousand times."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.performance import balanced_values, right
from medunlearn.evaluation.subsets import Flags, Floats, Ints
from medunlearn.evaluation.yardsticks import LineUp, Run
from medunlearn.statistics.intervals import Interval, contrast_interval
from medunlearn.statistics.verdicts import Terms

PASSED, FAILED, UNINFORMATIVE, NOT_RUN = "passed", "failed", "uninformative", "not run"

ALPHA = 0.05
POWER = 0.80


@dataclass(frozen=True)
class Outcome:
    """A control, or a part of one.

    Args:
        control: Its name.
        asked: What must come out.
        guards: Claims whose verdicts are switched off if it fails, separated by commas.
        state: ``passed``, ``failed``, ``uninformative`` (the study is too small to tell) or
            ``not run``.
        found: What came out, or why nothing did.
        estimate: Of the contrast in question, with ``low`` and ``high``.
        low: Lower limit.
        high: Upper limit.
        rate: Share of ``runs``.
        nominal: What the rate is compared with.
        runs: Contrasts, replicates or permutations that had a result.
    """

    control: str
    asked: str
    guards: str
    state: str = NOT_RUN
    found: str = ""
    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    rate: float = float("nan")
    nominal: float = float("nan")
    runs: int = 0

    def came_out(self, passed: bool | None, found: str, **numbers: Any) -> "Outcome":
        """The same as it came out: passed, failed or (None) uninformative."""
        state = {True: PASSED, False: FAILED, None: UNINFORMATIVE}[passed]
        return replace(self, state=state, found=found, **numbers)


def rejections(p: Floats, nominal: float = ALPHA) -> tuple[float, float, int]:
    """How often a test rejects in a simulation, and how often it may.

    Args:
        p: One p-value for each run; NaN where there was no test.
        nominal: Level of the test.

    Returns:
        Share of the tests with p < nominal; nominal + 2 Monte Carlo standard errors sqrt(nominal
        (1 - nominal) / runs), what a test that keeps its level stays under in 98 % of simulations;
        how many tests there were. Shares are NaN if there was none.
    """
    known = p[~np.isnan(p)]
    if not len(known):
        return float("nan"), float("nan"), 0
    limit = nominal + 2 * (nominal * (1 - nominal) / len(known)) ** 0.5
    return float((known < nominal).mean()), limit, len(known)


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


def decide(
    measurements: Measurements, terms: Terms, line_up: LineUp | None, name: str
) -> Decisions | str:
    """Decisions of a line-up on the test set, or why there is no contrast of the sexes.

    Args:
        measurements: Of the study.
        terms: What a contrast needs.
        line_up: None where nothing was measured.
        name: Of the line-up.
    """
    if line_up is None:
        return f"not measured: {name}"
    whole, people = measurements.subset("", TEST, "all"), measurements.people
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
    found = Decisions(
        ours=np.stack([tally(run) for run in line_up.runs], axis=1),
        theirs=np.stack([tally(run) for run in line_up.base], axis=1),
        whole=subset.total(strata),
        women=people["sex"].eq("F").to_numpy(bool),
        patient_ids=subset.patient_ids,
        sources=pd.factorize(people["person"])[0].astype(np.int64),
    )
    patients = int(min(found.women.sum(), (~found.women).sum()))
    if not np.isfinite([found.ours, found.theirs]).all():
        return "a model has blown up"
    if len(line_up.runs) < 2:
        return "needs two seeds, there is one"
    if patients < terms.verdict_patients:
        return f"needs {terms.verdict_patients} test patients of each sex, one has {patients}"
    return found


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
