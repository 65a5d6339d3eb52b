"""Right decisions on the test set, in a form that can be split and resampled a thousand times."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import LineUp, Measurements, Run
from medunlearn.evaluation.performance import probabilities, pseudo_values
from medunlearn.statistics.intervals import Interval, contrast_interval
from medunlearn.statistics.verdicts import Terms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Decisions:
    """Whether models are right, on the images of patients whose sex is known.

    Args:
        ours: 1 right, 0 wrong, (seeds, images), images in order of their patients; NaN of a model
            that has blown up.
        theirs: The same of the models that ours are held to.
        owners: Patient of each image, 0 .. patients - 1 ascending, (images,).
        weights: Of each image, so that patients weigh the same, (images,).
        strata: Class of each image as balanced accuracy averages them, 0 .. strata - 1, (images,).
        women: Of each patient, (patients,).
        patient_ids: (patients,).
        sources: The person of each patient as the dataset has it, coded from 0, (patients,).
            Controls shuffle and resample *these*: if a fault has made several patients of one
            person, the statistics know nothing of it, but the controls do.
    """

    ours: Floats
    theirs: Floats
    owners: Ints
    weights: Floats
    strata: Ints
    women: NDArray[np.bool_]
    patient_ids: Ints
    sources: Ints

    def resample(self, chosen: Ints) -> "Decisions":
        """These patients, as often as they are named; each time is a patient of its own.

        Args:
            chosen: Positions of patients, (n,).
        """
        images, owners = members(self.owners, chosen)
        return Decisions(
            self.ours[:, images],
            self.theirs[:, images],
            owners,
            self.weights[images],
            self.strata[images],
            self.women[chosen],
            self.patient_ids[chosen],
            self.sources[chosen],
        )

    def tally(self, right: Floats) -> Floats:
        """Weights of the right decisions, (seeds, images) to (strata, seeds, patients)."""
        sums: Floats = self._cells @ right.T
        shape = (*self.whole.shape, len(right))
        return np.ascontiguousarray(sums.reshape(shape).transpose(0, 2, 1))

    @cached_property
    def whole(self) -> Floats:
        """Weights of all images, (strata, patients)."""
        sums: Floats = self._cells.sum(axis=1)
        return sums.reshape(-1, len(self.patient_ids))

    @cached_property
    def _cells(self) -> csr_array:
        """Adds up the images of each stratum and patient."""
        patients, strata = len(self.patient_ids), int(self.strata.max()) + 1
        places = (self.strata * patients + self.owners, np.arange(len(self.owners)))
        return csr_array((self.weights, places), shape=(strata * patients, len(self.owners)))


def decide(measurements: Measurements, line_up: LineUp) -> Decisions:
    """Decisions of a line-up on the test set; without patients where no sex is known."""
    subset = measurements.subsets.of("", TEST, "all")
    sex = measurements.cohort.set_index("sample")["sex"].reindex(subset.samples)
    known = np.flatnonzero(sex.isin(["F", "M"]).to_numpy(bool))
    chosen = known[np.argsort(subset.patients[known], kind="stable")]
    ids, first, owners = np.unique(subset.patients[chosen], return_index=True, return_inverse=True)

    def right(run: Run) -> Floats:
        logits = measurements.logits[run.row, subset.samples[chosen]]
        if not np.isfinite(measurements.logits[run.row]).all():
            return np.full(len(chosen), np.nan)
        decided = probabilities(logits).argmax(axis=1)
        return np.asarray(decided == subset.labels[chosen], dtype=np.float64)

    return Decisions(
        ours=np.stack([right(run) for run in line_up.runs]),
        theirs=np.stack([right(run) for run in line_up.base]),
        owners=owners.astype(np.int64),
        weights=subset.weights[chosen],
        strata=np.unique(subset.strata[chosen], return_inverse=True)[1].astype(np.int64),
        women=(sex.iloc[chosen] == "F").to_numpy(bool)[first],
        patient_ids=ids,
        sources=_sources(measurements.cohort, ids),
    )


def members(codes: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """Positions of the items with these codes, and which choice each belongs to.

    Args:
        codes: Of each item, from 0, (items,).
        chosen: Codes, in any order and as often as wanted, (n,).
    """
    order, counts = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts, repeats = np.cumsum(counts) - counts, counts[chosen]
    which = np.repeat(np.arange(len(chosen)), repeats)
    within = np.arange(len(which)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return order[np.repeat(starts[chosen], repeats) + within], which


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


def sex_contrast(gaps: Floats, whole: Floats, women: NDArray[np.bool_], level: float) -> Interval:
    """Women minus men of class-balanced accuracy, for any split of the patients.

    Args:
        gaps: As ``Decisions.tally`` of ours minus that of theirs, (strata, seeds, patients).
        whole: As ``Decisions.whole``, (strata, patients).
        women: Who counts as a woman, (patients,).
        level: Of the interval.
    """
    sides = [np.flatnonzero(women), np.flatnonzero(~women)]
    values = [balanced_values(gaps.take(side, axis=2), whole.take(side, axis=1)) for side in sides]
    return contrast_interval(values, level=level)


def too_few(terms: Terms, decisions: Decisions) -> str:
    """Why there is no contrast of the sexes to speak of; empty if there is one."""
    if not np.isfinite([decisions.ours, decisions.theirs]).all():
        return "a model has blown up"
    if len(decisions.ours) < 2:
        return "needs two seeds, there is one"
    patients = int(min(decisions.women.sum(), (~decisions.women).sum()))
    if patients < terms.verdict_patients:
        return f"needs {terms.verdict_patients} test patients of each sex, one has {patients}"
    return ""


def _sources(cohort: pd.DataFrame, patient_ids: Ints) -> Ints:
    """Coded persons of the dataset; patients themselves where the cohort does not name them."""
    if "source_patient" not in cohort:
        return np.arange(len(patient_ids))
    person = cohort.drop_duplicates("patient").set_index("patient")["source_patient"]
    return pd.factorize(person.reindex(patient_ids))[0].astype(np.int64)
