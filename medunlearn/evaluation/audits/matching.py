"""Non-members that are like the members in sex, label and difficulty.

Test patients are weighted, not drawn: exact post-stratification. Without it an attack separates
kinds of patients: a hard forget set makes even a retrained model look attacked.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = (["sex", "label", "difficulty"], ["sex", "label"], ["label"])
"""What a member and its non-members have in common, finest first."""

FEWEST = 2
"""Non-members of a cell: one alone would carry a stratum whose spread nobody knows."""

UNKNOWN, TEXTS = "unknown", {"sex": object, "difficulty": object}


@dataclass(frozen=True)
class Match:
    """Members, the non-members they are compared with, and how these weigh.

    Args:
        members: Patients that found non-members, ascending, (members,).
        others: Non-members with a weight above 0, ascending, (others,).
        cells: Row of ``shares`` to which each member belongs, (members,).
        shares: Which non-members make up a cell, equal weights that sum to 1, (cells, others).
        note: How well it went, for the record.
    """

    members: Ints
    others: Ints
    cells: Ints
    shares: Floats
    note: str

    @property
    def sizes(self) -> Floats:
        """Share of the members in each cell, (cells,)."""
        counts = np.bincount(self.cells, minlength=len(self.shares))
        sizes: Floats = counts / max(len(self.cells), 1)
        return sizes


def match(members: pd.DataFrame, others: pd.DataFrame) -> Match:
    """Weight non-members so that they are distributed as the members are.

    Every member stands for the non-members of its stratum, in equal parts. Where there are fewer
    than ``FEWEST`` of them, strata are coarsened: difficulty is dropped first, for sex and label
    are what claims are made about, then sex. Without a non-member of its label a member is
    dropped. Nothing is random.

    Args:
        members: By patient, ``sex``, ``label`` and ``difficulty``, each may be missing.
        others: Candidates, likewise.
    """
    left, others = (
        table[LEVELS[0]].astype(TEXTS).fillna(UNKNOWN).sort_index() for table in (members, others)
    )
    unknown = [name for name in LEVELS[0] if (left[name] == UNKNOWN).all()]
    cells, shares, told = [pd.Series(dtype=np.int64)], list[Floats](), list[str]()
    for names in LEVELS:
        before = len(left)
        for _, mine in left.groupby(names):
            like = (others[names] == mine[names].iloc[0]).all(axis=1).to_numpy()
            if like.sum() >= FEWEST:
                cells.append(pd.Series(len(shares), mine.index))
                shares.append(like / like.sum())
                left = left.drop(mine.index)
        if found := before - len(left):
            known = " x ".join(name for name in names if name not in unknown)
            told.append(f"{found / len(members):.0%} on {known}")
    notes = [f"matched {', '.join(told)}"] if told else []
    notes += [f"{name} not known" for name in unknown]
    notes += [f"{len(left)} members without match dropped"] if len(left) else []
    every, placed = np.array(shares).reshape(-1, len(others)), pd.concat(cells).sort_index()
    used = every.sum(axis=0) > 0
    return Match(
        members=placed.index.to_numpy(np.int64),
        others=others.index.to_numpy(np.int64)[used],
        cells=placed.to_numpy(np.int64),
        shares=every[:, used],
        note="; ".join(notes),
    )
