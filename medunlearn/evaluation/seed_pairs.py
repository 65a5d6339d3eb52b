"""Means over pairs of models from *different* seeds, and what each seed and patient adds to them.

Two models of one seed share their start, so they agree for reasons that have nothing to do with
forgetting: pairs of one seed are never used.
"""

import numpy as np
from numpy.typing import NDArray

from medunlearn.statistics.intervals import Interval, contrast_interval

Floats = NDArray[np.float64]

FEWEST_SEEDS = 3
"""Two seeds make one pair of either order: nothing is left when one of them is left out."""


def without_same_seed(pairs: Floats) -> Floats:
    """NaN where both models have the same seed, in place: (seeds, seeds, ...)."""
    pairs[np.arange(len(pairs)), np.arange(len(pairs))] = np.nan
    return pairs


def pair_mean(pairs: Floats) -> Floats:
    """Mean over all pairs of different seeds, (...); NaN if there is none.

    Args:
        pairs: (seeds, seeds, ...), the diagonal is ignored.
    """
    seeds = len(pairs)
    if seeds < 2:
        return np.full(pairs.shape[2:], np.nan)
    mean: Floats = pairs[~np.eye(seeds, dtype=bool)].mean(axis=0)
    return mean


def seed_values(pairs: Floats) -> Floats:
    """Jackknife pseudo-values of the mean over pairs, leaving out one seed in either role.

    Every model is in many pairs, so pairs are not replicates; seeds are. With m the mean over
    pairs, r_s and c_s those over the pairs with s on the left and on the right, and n seeds:
    n m - (n - 1) m_without_s = m + (n - 1)/(n - 2) (r_s + c_s - 2 m). Their mean is m, and their
    variance over n estimates (a little too large) that of m: Arvesen 1969, "Jackknifing
    U-statistics".

    Args:
        pairs: (seeds, seeds, patients), the diagonal is ignored; at least three seeds.

    Returns:
        (seeds, patients).
    """
    seeds, mean = len(pairs), pair_mean(pairs)
    clean = pairs.copy()
    clean[np.arange(seeds), np.arange(seeds)] = 0
    sides = (clean.sum(axis=1) + clean.sum(axis=0)) / (seeds - 1)
    values: Floats = mean + (seeds - 1) / (seeds - 2) * (sides - 2 * mean)
    return values


def pairs_interval(pairs: Floats, *, level: float = 0.95) -> Interval:
    """Interval of the mean over pairs and patients, both seeds of a pair and patients random.

    Args:
        pairs: (seeds, seeds, patients); an excess is a difference of such arrays.
        level: Of the interval.
    """
    if len(pairs) < FEWEST_SEEDS:
        estimate = float(pair_mean(pairs).mean())
        return Interval(estimate, np.nan, np.nan, np.nan, np.nan, len(pairs), pairs.shape[2])
    return contrast_interval([seed_values(pairs)], (1,), level=level)
