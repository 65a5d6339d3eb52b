"""Slope of a gap over the size of the forget set, per doubling of the size.

The line is fitted within each training seed: seeds are its replicates. That is honest only if each
seed forgot *patients of its own*. Were a draw shared by all seeds, what is peculiar to it would
shift every seed's gap at that size alike: it would look like part of a slope, yet be in no spread
between seeds and so in no interval (simulated: 10-27 % false slopes; 5 % with a draw a seed).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medunlearn.statistics.intervals import Interval, contrast_interval, runs_interval

Floats = NDArray[np.float64]


def slope_interval(
    values: Sequence[Floats], sizes: Sequence[float], *, level: float = 0.95
) -> Interval:
    """Slope where the same patients are measured at every size, as on the test set.

    Each seed and patient has a least-squares slope over log2(size); the mean of these is the slope
    of the means, and its interval is that of any mean over seeds and patients.

    Args:
        values: For each size one array (seeds, patients): seeds and patients in one order.
        sizes: Forget sizes (shares or counts), one for each array.
        level: Of the interval.

    Returns:
        Change per doubling of the forget set.

    Raises:
        ValueError: Fewer than two different sizes, one not positive, or shapes that differ.
    """
    shapes = sorted({each.shape for each in values})
    if len(shapes) != 1:
        raise ValueError(f"sizes have (seeds, patients) of {shapes}; expected the same in each")
    slopes = np.tensordot(_slope_weights(sizes, len(values)), np.stack(values), axes=1)
    return contrast_interval([slopes], level=level)


def runs_slope_interval(
    means: Floats, sizes: Sequence[float], patients: int = 0, *, level: float = 0.95
) -> Interval:
    """Slope where each seed and size has patients of its own, as on the retain and forget sets.

    Args:
        means: (sizes, seeds); the spread of draws, patients and seeds is all in them.
        sizes: Forget sizes (shares or counts), (sizes,).
        patients: Patients of one run, for the record; 0: not recorded.
        level: Of the interval.

    Returns:
        Change per doubling of the forget set, a t interval over seeds.

    Raises:
        ValueError: Fewer than two different sizes, or one not positive.
    """
    return runs_interval(_slope_weights(sizes, len(means)) @ means, patients, level=level)


def _slope_weights(sizes: Sequence[float], count: int) -> Floats:
    """What each size's value is multiplied by in the least-squares slope, (sizes,)."""
    if len(sizes) != count or len(set(sizes)) < 2 or min(sizes) <= 0:
        expected = f"{count} positive sizes, two of them different"
        raise ValueError(f"forget sizes are {list(sizes)}; expected {expected}")
    centred = np.log2(sizes) - np.log2(sizes).mean()
    weights: Floats = centred / (centred @ centred)
    return weights
