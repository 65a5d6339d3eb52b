"""Women and men on the test set, in a form that can be split and resampled a thousand times."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import LineUp, Measurements, Run
from medunlearn.evaluation.performance import probabilities, pseudo_values
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

    @property
    def gaps(self) -> Floats:
        """Ours less theirs, (strata, seeds, patients)."""
        return self.ours - self.theirs

    @cached_property
    def persons(self) -> list[Ints]:
        """Positions of each person's patients."""
        order = np.argsort(self.sources, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.sources))[:-1])

    @property
    def female_persons(self) -> Flags:
        """Which persons are women, (persons,)."""
        return self.women[[patients[0] for patients in self.persons]]

    def resample(self, patients: Ints) -> "Decisions":
        """Patients at these positions, as often as named; each time is a patient of its own."""
        return Decisions(
            self.ours[..., patients],
            self.theirs[..., patients],
            self.whole[:, patients],
            self.women[patients],
            self.patient_ids[patients],
            self.sources[patients],
        )


def decide(measurements: Measurements, line_up: LineUp) -> Decisions:
    """Decisions of a line-up on the test set; without patients where no sex is known."""
    subset, cohort = measurements.subsets.of("", TEST, "all"), measurements.cohort
    sex = cohort.set_index("sample")["sex"].reindex(subset.samples)
    known = np.flatnonzero(sex.isin(["F", "M"]).to_numpy(bool))
    ids, first, owners = np.unique(subset.patients[known], return_index=True, return_inverse=True)
    names, strata = np.unique(subset.strata[known], return_inverse=True)
    labels, weights, shape = subset.labels[known], subset.weights[known], (len(names), len(ids))

    def tally(values: Floats) -> Floats:
        sums = np.bincount(strata * len(ids) + owners, weights * values, len(names) * len(ids))
        return sums.astype(np.float64).reshape(shape)

    def right(run: Run) -> Floats:
        logits = measurements.logits[run.row]
        if not np.isfinite(logits).all():
            return np.full(shape, np.nan)
        return tally(probabilities(logits[subset.samples[known]]).argmax(axis=1) == labels)

    person = cohort.drop_duplicates("patient").set_index("patient").reindex(ids)
    named = person.get("source_patient", person.index)
    return Decisions(
        ours=np.stack([right(run) for run in line_up.runs], axis=1),
        theirs=np.stack([right(run) for run in line_up.base], axis=1),
        whole=tally(np.ones(len(known))),
        women=(sex.iloc[known] == "F").to_numpy(bool)[first],
        patient_ids=ids,
        sources=pd.factorize(named)[0].astype(np.int64),
    )


def balanced_values(part: Floats, whole: Floats) -> Floats:
    """Pseudo-values of class-balanced accuracy, as ``performance.balanced_accuracy`` has them.

    Recall is a ratio of sums over patients and the average over strata is linear in the decisions:
    of the differences between two models' decisions come the differences of their pseudo-values.

    Args:
        part: Weights of the right decisions, or differences of two models' weights,
            (strata, seeds, patients).
        whole: Weights of all images, (strata, patients).

    Returns:
        (seeds, patients). Strata that none of these patients has are left out.
    """
    held = whole.sum(axis=1)
    present = held > 0
    part, whole, held = part[present], whole[present, None], held[present, None]
    sums = part.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (sums[..., None] - part) / (held[..., None] - whole)
    return pseudo_values((sums / held).mean(axis=0), without.mean(axis=0))


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


def too_few(terms: Terms, decisions: Decisions) -> str:
    """Why there is no contrast of the sexes to speak of; empty if there is one."""
    if not np.isfinite([decisions.ours, decisions.theirs]).all():
        return "a model has blown up"
    if decisions.ours.shape[1] < 2:
        return "needs two seeds, there is one"
    patients = int(min(decisions.women.sum(), (~decisions.women).sum()))
    if patients < terms.verdict_patients:
        return f"needs {terms.verdict_patients} test patients of each sex, one has {patients}"
    return ""
