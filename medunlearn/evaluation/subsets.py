"""The images a measure is taken on: a partition as drawn, a group of patients, classes pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import TRAIN
from medunlearn.evaluation.performance import Subset

UNMEMORISED = "unmemorised"
"""Training patients of the lowest tertile of memorisation."""

RARE = 10
"""Classes with fewer patients of some sex than this are pooled in class-balanced measures."""


@dataclass(frozen=True)
class Subsets:
    """All subsets of a cohort, each made once.

    Args:
        cohort: One row for each sample.
        draws: Forgotten patients by name of the draw.
        reference: Code of the class that counts as negative.
        difficulty: As from ``strata.measure_difficulty``; empty if it was not measured.
    """

    cohort: pd.DataFrame
    draws: Mapping[str, Sequence[int]]
    reference: int
    difficulty: pd.DataFrame = field(default_factory=pd.DataFrame)
    _known: dict[tuple[str, str, str], Subset] = field(default_factory=dict)
    _pools: dict[tuple[str, str], set[int]] = field(default_factory=dict)

    def has_patients(self, draw: str, part: str, group: str) -> bool:
        """Whether there is any."""
        return len(self.of(draw, part, group).samples) > 0

    def of(self, draw: str, part: str, group: str) -> Subset:
        """The images of a partition (retain and forget as drawn) and a group of patients.

        Args:
            draw: Name of the forget set.
            part: ``retain``, ``forget``, or a partition.
            group: ``all``, a sex, a stratum of difficulty (whole patients), ``unmemorised``, or
                several of these, as in ``F hard``: who is in each of them.
        """
        key = (draw if part in {"retain", "forget"} else "", part, group)
        if key not in self._known:
            table = self.cohort
            if part in {"retain", "forget"}:
                forgotten = table["patient"].isin(self.draws[draw])
                rows = table[(table["partition"] == TRAIN) & (forgotten == (part == "forget"))]
            else:
                rows = table[table["partition"] == part]
            strata = rows["label"].to_numpy(np.int64)
            strata = np.where(np.isin(strata, list(self._pooled(draw, part))), -1, strata)
            inside = np.full(len(rows), True)
            for word in group.split():
                inside &= self._members(word)[rows.index]
            self._known[key] = Subset(
                samples=rows.loc[inside, "sample"].to_numpy(np.int64),
                patients=rows.loc[inside, "patient"].to_numpy(np.int64),
                labels=rows.loc[inside, "label"].to_numpy(np.int64),
                strata=strata[inside],
                reference=self.reference,
            )
        return self._known[key]

    def _members(self, word: str) -> pd.Series:
        """Whether each sample of the cohort is in one group, by the cohort's index."""
        if word == "all":
            return pd.Series(True, index=self.cohort.index)
        if word in {"F", "M"}:
            return (self.cohort["sex"] == word).fillna(False)
        if self.difficulty.empty:
            return pd.Series(False, index=self.cohort.index)
        known = self.difficulty.set_index("sample").reindex(self.cohort["sample"])
        known.index = self.cohort.index
        if word == UNMEMORISED:
            return known["little_memorised"].fillna(False).astype(bool)
        return known["stratum"] == word

    def _pooled(self, draw: str, part: str) -> set[int]:
        """Classes too rare to be averaged by themselves: the same for all draws of a cell."""
        cell = draw.rsplit("-", 1)[0] if part in {"retain", "forget"} else ""
        if (cell, part) not in self._pools:
            draws = [name for name in self.draws if name.rsplit("-", 1)[0] == cell]
            forgets = [self.cohort["patient"].isin(self.draws[name]) for name in draws]
            training = self.cohort["partition"] == TRAIN
            rows = {
                "retain": [self.cohort[training & ~forget] for forget in forgets],
                "forget": [self.cohort[training & forget] for forget in forgets],
            }.get(part, [self.cohort[self.cohort["partition"] == part]])
            self._pools[cell, part] = pooled_classes(rows)
        return self._pools[cell, part]


def pooled_classes(tables: Sequence[pd.DataFrame]) -> set[int]:
    """Classes with fewer than ``RARE`` patients of either sex in any of these tables.

    The pool is itself a class to be averaged: the rarest others join until it is no longer rare.

    Args:
        tables: Images of one partition, one table for each draw.
    """
    counts = []
    for table in tables:
        patients = table.drop_duplicates(["patient", "label"])
        counts.append(pd.crosstab(patients["label"], patients["sex"]))
    if not counts or counts[0].empty:  # a cohort that does not tell the sex
        return set()
    codes = sorted(set().union(*(count.index for count in counts)))
    least = pd.concat([count.reindex(codes, fill_value=0) for count in counts]).groupby(level=0)
    fewest = least.min().min(axis=1).sort_values(kind="stable")
    pooled = set(fewest.index[fewest < RARE])
    for code in fewest.index:
        pool = [count.reindex(sorted(pooled), fill_value=0).sum() for count in counts]
        if not pooled or min(each.min() for each in pool) >= RARE:
            break
        pooled.add(code)
    return {int(code) for code in pooled}
