"""Intervals of means and differences over patients and runs, both drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """An estimate with its t interval.

    Args:
        estimate: The contrast.
        standard_error: Square root of its variance; NaN if it cannot be estimated.
        df: Degrees of freedom of the t distribution.
        low: Lower limit; NaN if the variance is 0 (everything at a ceiling) or unknown.
        high: Upper limit.
        runs: Training seeds.
        patients: Patients.
    """

    estimate: float
    standard_error: float
    df: float
    low: float
    high: float
    runs: int
    patients: int


def contrast_interval(
    groups: Sequence[NDArray[np.float64]], signs: Sequence[int] = (1, -1), *, level: float = 0.95
) -> Interval:
    """Interval of a mean over patients (one group) or of a difference of means (two groups).

    With d_ij of seed i (of I) and patient j: V_s = var_i(theta_i) / I, V_p = sum_g
    var_j(mean_i d_ij) / n_g, V_e = sum_g MS_residual / (I n_g), and V = max(V_s + V_p - V_e,
    V_s, V_p), for the residual is in both V_s and V_p. df by Satterthwaite, at least I - 1.

    Args:
        groups: One array (seeds, patients) for each group of patients, the seeds in one order.
            Values are patients' means, or pseudo-values.
        signs: The sign of each group's mean in the contrast.
        level: Of the interval.

    Returns:
        The interval; no limits with fewer than two seeds, or fewer than two patients in a group.

    Raises:
        ValueError: The groups do not have the same number of seeds.
    """
    runs = {len(group) for group in groups}
    if len(runs) != 1:
        raise ValueError(f"groups have {sorted(runs)} seeds; expected the same number in each")
    count, sizes = runs.pop(), [group.shape[1] for group in groups]
    signed = list(zip(signs, groups, strict=False))
    with np.errstate(invalid="ignore"):
        theta = np.sum([s * g.mean(axis=1) for s, g in signed], axis=0)
    estimate = float(theta.mean())
    if count < 2 or min(sizes) < 2:
        return Interval(estimate, np.nan, np.nan, np.nan, np.nan, count, sum(sizes))
    v_seed = float(theta.var(ddof=1) / count)
    v_patient = sum(g.mean(axis=0).var(ddof=1) / n for g, n in zip(groups, sizes, strict=True))
    v_residual = sum(
        _residual_mean_square(g) / (count * n) for g, n in zip(groups, sizes, strict=True)
    )
    variance = max(v_seed + v_patient - v_residual, v_seed, v_patient)
    free_runs, free_patients = count - 1, sum(sizes) - len(groups)
    spread = (
        v_seed**2 / free_runs
        + v_patient**2 / free_patients
        + v_residual**2 / (free_runs * free_patients)
    )
    df = max(free_runs, variance**2 / spread) if spread > 0 else float(free_runs)
    return _t_interval(estimate, variance, df, count, sum(sizes), level)


def runs_interval(values: NDArray[np.float64], patients: int, *, level: float = 0.95) -> Interval:
    """Interval of a mean over runs that each measured their own draw of patients.

    Args:
        values: One value for each run; the spread of draws, patients and seeds is all in them.
        patients: Patients of one run, for the record.
        level: Of the interval.
    """
    count, estimate = len(values), float(values.mean())
    if count < 2:
        return Interval(estimate, np.nan, np.nan, np.nan, np.nan, count, patients)
    return _t_interval(
        estimate, float(values.var(ddof=1) / count), count - 1, count, patients, level
    )


def _residual_mean_square(values: NDArray[np.float64]) -> float:
    """Mean square of the seed x patient interaction of a complete two-way layout."""
    centred = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    runs, patients = values.shape
    return float((centred**2).sum() / ((runs - 1) * (patients - 1)))


def _t_interval(
    estimate: float, variance: float, df: float, runs: int, patients: int, level: float
) -> Interval:
    # variances of exact ties come out as rounding error of order 1e-34, not as 0
    if not variance > 1e-20:
        return Interval(estimate, np.nan, df, np.nan, np.nan, runs, patients)
    error = variance**0.5
    half = float(stats.t.ppf(0.5 + level / 2, df)) * error
    return Interval(estimate, error, df, estimate - half, estimate + half, runs, patients)
