"""Means over pairs of models from *different* seeds, and what each seed and patient adds to them.

Two models of one seed share their start, so they agree for reasons that have nothing to do with
forgetting: pairs of one seed are never used. Every model is in many pairs, so pairs are no
replicates; seeds are, and are left out one at a time, in both roles: Arvesen 1969, "Jackknifing
U-statistics".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medunlearn.statistics.intervals import Interval, contrast_interval

Floats = NDArray[np.float64]

FEWEST_SEEDS = 3
"""Two seeds make one pair of either order: nothing is left when one of them is left out."""


@dataclass(frozen=True)
class PairMean:
    """A mean over pairs of seeds, at every sample or patient.

    Args:
        mean: (units,).
        by_seed: Jackknife pseudo-values, whose mean over seeds is ``mean``, (seeds, units); NaN
            with too few seeds.
    """

    mean: Floats
    by_seed: Floats


def without_same_seed(pairs: Floats) -> Floats:
    """NaN where both models have the same seed, in place: (seeds, seeds, ...)."""
    pairs[np.arange(len(pairs)), np.arange(len(pairs))] = np.nan
    return pairs


def pair_mean(pairs: Floats) -> Floats:
    """Mean over all pairs of different seeds, (units,); NaN if there is none.

    Args:
        pairs: (seeds, seeds, units), the diagonal is ignored.
    """
    seeds = len(pairs)
    if seeds < 2:
        return np.full(pairs.shape[2:], np.nan)
    mean: Floats = pairs[~np.eye(seeds, dtype=bool)].mean(axis=0)
    return mean


def pseudo_values(everyone: Floats, without: Floats) -> Floats:
    """Jackknife pseudo-values n theta - (n - 1) theta_without_s, shifted to have the mean theta.

    Args:
        everyone: (units,).
        without: The same without each seed in turn, (seeds, units).
    """
    seeds = len(without)
    values = seeds * everyone - (seeds - 1) * without
    shifted: Floats = values - values.mean(axis=0) + everyone
    return shifted


def average_pairs(pairs: Floats) -> PairMean:
    """Mean over pairs of a quantity that depends on the two models of a pair only.

    With m the mean, r_s and c_s those over the pairs with s on the left and on the right, and n
    seeds, m_without_s = (n m - r_s - c_s) / (n - 2).

    Args:
        pairs: (seeds, seeds, units), the diagonal is ignored.
    """
    seeds, mean = len(pairs), pair_mean(pairs)
    if seeds < FEWEST_SEEDS:
        return PairMean(mean, np.full((seeds, len(mean)), np.nan))
    others = ~np.eye(seeds, dtype=bool)[..., None]
    clean = np.where(others, pairs, 0)
    sides = (clean.sum(axis=1) + clean.sum(axis=0)) / (seeds - 1)
    return PairMean(mean, pseudo_values(mean, (seeds * mean - sides) / (seeds - 2)))


def excess_interval(ours: PairMean, theirs: PairMean, *, level: float = 0.95) -> Interval:
    """Interval of the difference of two means over pairs and patients.

    Args:
        ours: Of patients, by seed.
        theirs: Likewise, the same patients and seeds.
        level: Of the interval.
    """
    values = ours.by_seed - theirs.by_seed
    estimate = float((ours.mean - theirs.mean).mean())
    if np.isfinite(estimate) and not np.isfinite(values).all():
        return Interval(estimate, np.nan, np.nan, np.nan, np.nan, *values.shape)
    return contrast_interval([values], (1,), level=level)
