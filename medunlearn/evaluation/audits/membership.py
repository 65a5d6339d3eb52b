"""Membership inference: can the forgotten patients be told from patients nobody trained on?

Attacks give every patient a score; the area under their ROC curve is compared with that of the
retrained model under the same attack, never with 0.5. Non-members are like the members in sex,
label and difficulty: test patients are weighted, not drawn (exact post-stratification). Without it
an attack separates kinds of patients: a hard forget set makes even a retrained model look attacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medunlearn.evaluation.subsets import Floats, Ints
from medunlearn.statistics.intervals import Interval, contrast_interval

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
    def patients(self) -> int:
        """Of the smaller side, which decides whether there are enough for a verdict."""
        return min(len(self.members), len(self.others))


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
    every = np.array(shares).reshape(len(shares), len(others))
    placed = pd.concat(cells).sort_index()
    used = every.sum(axis=0) > 0
    return Match(
        members=placed.index.to_numpy(np.int64),
        others=others.index.to_numpy(np.int64)[used],
        cells=placed.to_numpy(np.int64),
        shares=every[:, used],
        note="; ".join(notes),
    )


DIGITS = 10
"""Patients' scores are rounded to so many before they are ranked: else rounding error, which is
not the same on two processors, decides what should be a tie."""


@dataclass(frozen=True)
class Placements:
    """The area under the ROC curve as a sum over patients.

    Args:
        area: Chance that a member scores above a like non-member, a tie counting half.
        members: Value of each member, whose mean is the area, (members,).
        others: Value of each non-member, whose mean is 0, (others,).
    """

    area: float
    members: Floats
    others: Floats


def placements(match: Match, member_scores: Floats, other_scores: Floats) -> Placements:
    """Area under the ROC curve within strata, and what each patient has to do with it.

    A member is compared with the non-members of its own stratum alone: compared with all of them,
    however weighted, it would also win for being of an easy kind. The structural components of
    DeLong, DeLong & Clarke-Pearson 1988, "Comparing the Areas under Two or More Correlated ROC
    Curves", stratum by stratum: member i of stratum h is placed at V_i = sum_j share_hj [s_i >
    s_j], and the area is the mean of V_i; non-member j of h at V'_hj = mean_{i in h} [s_i > s_j].
    Members are drawn with their stratum, non-members vary only within theirs, by n sum_h size_h
    share_hj (V'_hj - area_h). Then var(members)/members + var(others)/others, as in
    ``contrast_interval``, is the variance of the area when patients are drawn anew.

    Args:
        match: Who is compared with whom.
        member_scores: (members,), as in ``match.members``; equal scores are ties.
        other_scores: (others,), as in ``match.others``; or one row for each cell, (cells, others).
    """
    if not (np.isfinite(member_scores).all() and np.isfinite(other_scores).all()):
        return Placements(np.nan, member_scores * np.nan, np.full(len(match.others), np.nan))
    ours = member_scores[:, None]
    theirs = other_scores[match.cells] if other_scores.ndim > 1 else other_scores
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    members = (wins * match.shares[match.cells]).sum(axis=1)
    in_cell = match.cells == np.arange(len(match.shares))[:, None]
    placed = (in_cell / in_cell.sum(axis=1, keepdims=True)) @ wins
    of_cell = (match.shares * placed).sum(axis=1, keepdims=True)
    sizes, members_here = (match.shares > 0).sum(axis=1), in_cell.sum(axis=1) / len(in_cell.T)
    # the mean is taken from these very non-members, as in any variance
    weights = members_here * np.sqrt(sizes / (sizes - 1))
    return Placements(
        area=float(members.mean()),
        members=members,
        others=len(match.others) * weights @ (match.shares * (placed - of_cell)),
    )


def folded(match: Match, member_scores: Floats, other_scores: Floats) -> tuple[Floats, Floats]:
    """Distance of scores from the median of the non-members of the same stratum.

    An attacker who reads it sees members that became abnormally *unlikely* as well as remembered
    ones. The median is the stratum's own: around that of all non-members a stratum of hard
    patients, who all lie below it, would not be folded but turned over. Where a stratum has few
    non-members these lie too near their own median, for every model alike: the area is read as a
    difference between models only.

    Args:
        match: Who is compared with whom.
        member_scores: (members,), as in ``match.members``.
        other_scores: (others,), as in ``match.others``.

    Returns:
        Of members, (members,), and of non-members, (cells, others), for one may stand in several
        strata.
    """
    middle = np.array([np.median(other_scores[inside]) for inside in match.shares > 0])
    ours, theirs = member_scores - middle[match.cells], other_scores - middle[:, None]
    return np.abs(ours).round(DIGITS), np.abs(theirs).round(DIGITS)


def area_interval(
    unlearned: Sequence[Placements], base: Sequence[Placements], *, level: float = 0.95
) -> Interval:
    """Difference of the area from that of other models, mean over seeds.

    Args:
        unlearned: One for each seed.
        base: The models that each is compared with, attacked alike.
        level: Of the interval.

    Returns:
        Interval over seeds and patients: both groups' placements are in its patient variance.
    """
    pairs = list(zip(unlearned, base, strict=True))
    members = np.stack([ours.members - theirs.members for ours, theirs in pairs])
    others = np.stack([ours.others - theirs.others for ours, theirs in pairs])
    # non-members have mean 0: they add to the variance, not to the difference
    return contrast_interval([members, others], (1, 1), level=level)


def rmia(log_ratio: Floats, population_log_ratio: Floats, weights: Floats) -> Floats:
    """Robust membership inference: the share of a population that a sample dominates.

    Pr_z[(p(x|target) / p(x)) / (p(z|target) / p(z)) >= 1], where p(.) is the mean over reference
    models: the likelihood ratio of pairs, and the score made of it, of Zarifzadeh, Liu & Shokri
    2024, "Low-Cost High-Power Membership Inference Attacks". References are OUT models only
    (the paper's offline case with a = 1): nobody ever trains on a non-member, so IN models exist
    for members alone, and a ratio that averages over IN for one side and not for the other tells
    the sides apart by itself. Nor may the target's own seed be among the references: it shares
    the target's start, whose quirks would cancel as they never do for an attacker.

    Args:
        log_ratio: log p(x|target) - log p(x), (samples,).
        population_log_ratio: The same of samples z outside of all training, (population,).
        weights: Of the population, (population,).

    Returns:
        (samples,), 0 to 1; NaN where the ratio is, and everywhere if one of the population is.
    """
    if not np.isfinite(population_log_ratio).all():
        return log_ratio * np.nan
    order = np.argsort(population_log_ratio, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    beaten = reached[np.searchsorted(population_log_ratio[order], log_ratio, side="right")]
    return np.where(np.isfinite(log_ratio), beaten, np.nan)
