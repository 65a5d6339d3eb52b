"""The images a measure is taken on: a partition as drawn, a group of patients, classes pooled."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

RARE = 10
"""Classes with fewer patients of some sex than this are pooled in class-balanced measures."""


@dataclass(frozen=True, eq=False)  # told apart by identity: measures are kept by subset
class Subset:
    """Some images of some patients, and how they weigh.

    Args:
        samples: Rows of the prediction table, (n,).
        patients: Whose they are, (n,).
        labels: Class codes, (n,).
        strata: Classes as balanced accuracy averages them, (n,): rare classes are pooled.
        reference: Code of the class that counts as negative.
    """

    samples: Ints
    patients: Ints
    labels: Ints
    strata: Ints
    reference: int

    @cached_property
    def codes(self) -> Ints:
        """Patient of each image as 0 .. patients - 1, ascending by patient id."""
        return np.asarray(np.unique(self.patients, return_inverse=True)[1])

    @cached_property
    def patient_ids(self) -> Ints:
        """The patients, ascending: the order of every array of patient values."""
        return np.unique(self.patients)

    @cached_property
    def weights(self) -> Floats:
        """1 / number of the patient's images here, so that patients weigh the same."""
        return np.asarray(1.0 / np.bincount(self.codes)[self.codes])

    @cached_property
    def pairs(self) -> tuple[Ints, Ints]:
        """All ordered pairs of images of one patient, as row numbers; also of an image itself."""
        together = (self._sums.T @ self._sums).sorted_indices().tocoo()
        return together.row, together.col

    @cached_property
    def _sums(self) -> csr_array:
        place = self.codes, np.arange(len(self.codes))
        return csr_array((self.weights, place), shape=(len(self.patient_ids), len(self.codes)))

    def total(self, values: Floats) -> Floats:
        """Weighted sum for each patient of an image-wise value, (n,), or of k, (k, n).

        Returns:
            (patients,) or (k, patients).
        """
        return np.ascontiguousarray((self._sums @ values.T).T)


def pooled_classes(tables: Sequence[pd.DataFrame]) -> set[int]:
    """Classes with fewer than ``RARE`` patients of either sex in any of these tables.

    The pool is itself a class to be averaged: the rarest others join until it is no longer rare.

    Args:
        tables: Images of one partition, one table for each draw.
    """
    patients = [table.drop_duplicates(["patient", "label"]) for table in tables]
    counts = [pd.crosstab(each["label"], each["sex"]) for each in patients]
    if counts[0].empty:  # a cohort that does not tell the sex
        return set()
    codes = sorted(set().union(*(count.index for count in counts)))
    counts = [count.reindex(codes, fill_value=0) for count in counts]
    fewest = pd.concat(counts).groupby(level=0).min().min(axis=1).sort_values(kind="stable")
    pooled = list(fewest.index[fewest < RARE])
    for code in fewest.index[len(pooled) :]:
        if not pooled or min(count.loc[pooled].sum().min() for count in counts) >= RARE:
            break
        pooled.append(code)
    return {int(code) for code in pooled}
