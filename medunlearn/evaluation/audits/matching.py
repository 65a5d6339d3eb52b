"""Non-members that are like the members in sex, label and difficulty.

Test patients are weighted, not drawn: exact post-stratification. Without it an attack separates
kinds of patients: a hard forget set makes even a retrained model look attacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import patient_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = (("sex", "label", "difficulty"), ("sex", "label"), ("label",))
"""What a member and its non-members have in common, finest first."""

FEWEST = 2
"""Non-members of a cell: one alone would carry a stratum whose spread nobody knows."""

UNKNOWN = "unknown"
_DIFFICULTY = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Match:
    """Members, the non-members they are compared with, and how these weigh.

    Args:
        members: Patients that found non-members, ascending, (members,).
        others: Non-members with a weight above 0, ascending, (others,).
        cells: Row of ``shares`` to which each member belongs, (members,).
        shares: Which non-members make up a cell, equal weights that sum to 1, (cells, others).
        matched: Share of all members matched at each level, in the order of ``LEVELS``.
        dropped: Members without any like non-member.
        unknown: What is known of no member, and therefore not matched by.
    """

    members: Ints
    others: Ints
    cells: Ints
    shares: Floats
    matched: tuple[float, ...]
    dropped: int
    unknown: tuple[str, ...] = ()

    @property
    def weights(self) -> Floats:
        """Of the non-members, (others,): summing to 1, distributed as the members are."""
        share = np.bincount(self.cells, minlength=len(self.shares)) / max(len(self.cells), 1)
        weights: Floats = share @ self.shares
        return weights

    @property
    def note(self) -> str:
        """How well it went, for the record."""
        levels = [
            f"{share:.0%} on {' x '.join(name for name in names if name not in self.unknown)}"
            for names, share in zip(LEVELS, self.matched, strict=True)
            if share
        ]
        told = [f"matched {', '.join(levels)}"] if levels else []
        told += [f"{name} not known" for name in self.unknown]
        told += [f"{self.dropped} members without match dropped"] if self.dropped else []
        return "; ".join(told)


def patient_strata(cohort: pd.DataFrame, difficulty: pd.DataFrame | None) -> pd.DataFrame:
    """What patients are matched by.

    A patient's label is the rarest of its images' (as in ``patient_table``), its difficulty the
    mean over its images of easy 0, medium 1, hard 2, rounded, halves towards the harder.

    Args:
        cohort: One row for each sample.
        difficulty: ``sample`` and ``stratum``; none if it was not measured.

    Returns:
        Indexed by patient: ``sex``, ``label``, ``difficulty``; ``unknown`` where it is missing.
    """
    table = patient_table(cohort).rename(columns={"rarest": "label"})
    codes = pd.Series(dtype=float)
    if difficulty is not None and len(difficulty):
        ranks = difficulty["stratum"].astype(object).map({k: i for i, k in enumerate(_DIFFICULTY)})
        owner = cohort.set_index("sample")["patient"]
        codes = ranks.astype(float).groupby(difficulty["sample"].map(owner).to_numpy()).mean()
    rounded = np.floor(codes.reindex(table.index) + 0.5)
    names = rounded.map(dict(enumerate(_DIFFICULTY))).astype(object)
    return table.assign(
        sex=table["sex"].astype(object).fillna(UNKNOWN), difficulty=names.fillna(UNKNOWN)
    )


def match(members: pd.DataFrame, others: pd.DataFrame) -> Match:
    """Weight non-members so that they are distributed as the members are.

    Every member stands for the non-members of its stratum, in equal parts. Where there are fewer
    than ``FEWEST`` of them, strata are coarsened: difficulty is dropped first, for sex and label
    are what claims are made about, then sex. Without a non-member of its label a member is
    dropped. Nothing is random.

    Args:
        members: As from ``patient_strata``.
        others: Candidates, likewise.
    """
    left, others = members.sort_index(), others.sort_index()
    matched: list[float] = []
    rows: list[Floats] = []
    cells: list[Ints] = []
    ids: list[Ints] = []
    for names in LEVELS:
        mine, theirs, strata = _codes(left, others, names)
        counts = np.bincount(theirs, minlength=strata)
        found = counts[mine] >= FEWEST
        for code in np.unique(mine[found]):
            ids.append(left.index.to_numpy(np.int64)[mine == code])
            cells.append(np.full(len(ids[-1]), len(rows)))
            rows.append((theirs == code) / counts[code])
        matched.append(float(found.sum()) / max(len(members), 1))
        left = left[~found]
    shares = np.array(rows).reshape(len(rows), len(others))
    used = shares.sum(axis=0) > 0
    found_ids, places = _joined(ids), _joined(cells)
    order = np.argsort(found_ids)
    return Match(
        members=found_ids[order],
        others=others.index.to_numpy(np.int64)[used],
        cells=places[order],
        shares=shares[:, used],
        matched=tuple(matched),
        dropped=len(left),
        unknown=tuple(name for name in LEVELS[0] if (members[name] == UNKNOWN).all()),
    )


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([*parts, np.array([], np.int64)]).astype(np.int64)


def _codes(
    members: pd.DataFrame, others: pd.DataFrame, names: Sequence[str]
) -> tuple[Ints, Ints, int]:
    """Stratum of each patient as 0 .. strata - 1, and how many there are."""
    keys = [
        "/".join(parts)
        for table in (members, others)
        for parts in zip(*(table[name].astype(str) for name in names), strict=True)
    ]
    known, codes = np.unique(np.array(keys, dtype=str), return_inverse=True)
    return codes[: len(members)], codes[len(members) :], len(known)
