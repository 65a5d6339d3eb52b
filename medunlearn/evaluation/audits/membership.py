"""Membership inference: can the forgotten patients be told from patients nobody trained on?

Attacks give every patient a score; the area under their ROC curve is compared with that of the
retrained model under the same attack, never with 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from medunlearn.evaluation.audits.matching import Match
from medunlearn.statistics.intervals import Interval, contrast_interval

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


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
    """Weighted area under the ROC curve, and what each patient has to do with it.

    The structural components of DeLong, DeLong & Clarke-Pearson 1988, "Comparing the Areas under
    Two or More Correlated ROC Curves", for weighted non-members: member i is placed at
    V_i = sum_j w_j [s_i > s_j], non-member j at V'_j = mean_i [s_i > s_j]. Another member of a
    stratum h also brings the non-members of h, hence the members' values are
    V_i + mean_{j in h} V'_j - area; non-members vary only within their strata, by
    n sum_h share_h w_jh (V'_j - mean_{j in h} V'_j). Then var(members)/members +
    var(others)/others, as in ``contrast_interval``, is the variance of the area when patients are
    drawn anew.

    Args:
        match: Who is compared with whom.
        member_scores: (members,), as in ``match.members``.
        other_scores: (others,), as in ``match.others``.
    """
    if not (np.isfinite(member_scores).all() and np.isfinite(other_scores).all()):
        return Placements(np.nan, member_scores * np.nan, other_scores * np.nan)
    above = _share_below(member_scores, other_scores, match.weights)
    below = 1 - _share_below(other_scores, member_scores, np.ones(len(member_scores)))
    of_cell = match.shares @ below
    area = float(above.mean())
    sizes = (match.shares > 0).sum(axis=1)
    # the mean is taken from these very non-members, as in any variance
    bessel = np.sqrt(sizes / (sizes - 1))
    spread = match.shares * (below - of_cell[:, None])
    return Placements(
        area=area,
        members=above + of_cell[match.cells] - area,
        others=len(match.others) * (match.sizes * bessel) @ spread,
    )


def folded(match: Match, member_scores: Floats, other_scores: Floats) -> tuple[Floats, Floats]:
    """Distance of scores from the non-members' weighted median.

    An attacker who reads it sees members that became abnormally *unlikely* as well as remembered
    ones.
    """
    if not np.isfinite(other_scores).all():
        return member_scores * np.nan, other_scores * np.nan
    order = np.argsort(other_scores, kind="stable")
    reached = np.cumsum(match.weights[order])
    middle = other_scores[order][np.searchsorted(reached, 0.5 * reached[-1])]
    return np.abs(member_scores - middle), np.abs(other_scores - middle)


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


def log_mean_probability(log_p: Floats, out: Flags | None = None) -> Floats:
    """Log of the mean probability over reference models.

    Args:
        log_p: (references, samples).
        out: Which references count for a sample, (references, samples); all if not given.

    Returns:
        (samples,); NaN where no reference counts.
    """
    counted = np.full(log_p.shape, True) if out is None else out
    number = counted.sum(axis=0)
    total = logsumexp(np.where(counted, log_p, -np.inf), axis=0)
    mean: Floats = np.where(number > 0, total, np.nan) - np.log(np.maximum(number, 1))
    return mean


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


def _share_below(scores: Floats, others: Floats, weights: Floats) -> Floats:
    """Weighted share of others that a score exceeds, ties counting half."""
    order = np.argsort(others, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(weights[order])])
    ordered = others[order]
    left, right = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    share: Floats = (reached[left] + reached[right]) / (2 * reached[-1])
    return share
