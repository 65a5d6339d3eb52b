"""The images a measure is taken on: a partition as drawn, a group of patients, classes pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from medunlearn.cohort.partition import TRAIN
from medunlearn.evaluation.difficulty import STRATA

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWN = ("retain", "forget")
"""Parts of the training patients; every other part is a partition."""

UNMEMORISED = "unmemorised"
"""Training patients of the lowest tertile of memorisation."""

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
        codes: Ints = np.unique(self.patients, return_inverse=True)[1]
        return codes

    @cached_property
    def patient_ids(self) -> Ints:
        """The patients, ascending: the order of every array of patient values."""
        return np.unique(self.patients)

    @cached_property
    def weights(self) -> Floats:
        """1 / number of the patient's images here, so that patients weigh the same."""
        weights: Floats = 1.0 / np.bincount(self.codes)[self.codes]
        return weights

    @cached_property
    def pairs(self) -> tuple[Ints, Ints]:
        """All ordered pairs of different images of one patient, as row numbers."""
        order, counts = np.argsort(self.codes, kind="stable"), np.bincount(self.codes)
        owner = self.codes[order]
        times, first = counts[owner], (np.cumsum(counts) - counts)[owner]
        a = np.repeat(order, times)
        within = np.arange(len(a)) - np.repeat(np.cumsum(times) - times, times)
        b = order[np.repeat(first, times) + within]
        return a[a != b], b[a != b]

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


@dataclass(eq=False)
class Subsets:
    """All subsets of a cohort, each made once.

    Args:
        cohort: One row for each sample.
        draws: Forgotten patients by name of the draw.
        reference: Code of the class that counts as negative.
        difficulty: As from ``difficulty.measure_difficulty``; empty if it was not measured.
    """

    cohort: pd.DataFrame
    draws: Mapping[str, Sequence[int]]
    reference: int
    difficulty: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __post_init__(self) -> None:
        """Make nothing yet."""
        self._made, self._pooled = cache(self._make), cache(self._pool)

    def of(self, draw: str, part: str, group: str) -> Subset:
        """The images of a partition (retain and forget as drawn) and a group of patients.

        Args:
            draw: Name of the forget set.
            part: ``retain``, ``forget``, or a partition.
            group: ``all``, a sex, a stratum of difficulty (whole patients), ``unmemorised``, or
                several of these, as in ``F hard``: who is in each of them.
        """
        return self._made(draw if part in DRAWN else "", part, group)

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
