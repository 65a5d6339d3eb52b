"""Intervals of means, contrasts, adjusted contrasts and slopes; seeds and patients are random."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Shares = tuple[float, float, float]
Part = tuple[float, float, int]
"""A component over patients: its share of V_p and of V_e, and its degrees of freedom."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its t interval.

    Args:
        estimate: The contrast.
        low: Lower limit; NaN if the variance is 0 (everything at a ceiling) or unknown.
        high: Upper limit.
        standard_error: Square root of its variance; NaN if it cannot be estimated.
        df: Degrees of freedom of the t distribution.
        seeds: Training seeds.
        patients: Patients.
        shares: Of the variance, due to seeds, to patients and to their residual; NaN if unknown.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    df: float
    seeds: int
    patients: int
    shares: Shares = (np.nan, np.nan, np.nan)

    @property
    def columns(self) -> dict[str, float]:
        """As every table of results has it."""
        return {name: value for name, value in vars(self).items() if name != "shares"}

    @property
    def share_columns(self) -> dict[str, float]:
        """``share_seed``, ``share_patient`` and ``share_residual``."""
        names = ("seed", "patient", "residual")
        return {f"share_{name}": x for name, x in zip(names, self.shares, strict=True)}


def no_limits(estimate: float, seeds: int, patients: int) -> Interval:
    """An estimate (or NaN) of unknown spread."""
    return Interval(estimate, np.nan, np.nan, np.nan, np.nan, seeds, patients)


def contrast_interval(
    groups: Sequence[Floats], weights: Sequence[float] | None = None, *, level: float = 0.95
) -> Interval:
    """Interval of a weighted sum of groups' means, for example a difference of two.

    With d_ij of seed i (of I) and patient j, and weights w_g: theta_i = sum_g w_g mean_j d_ij,
    V_s = var_i(theta_i) / I, V_p = sum_g w_g^2 var_j(mean_i d_ij) / n_g, V_e = sum_g w_g^2
    MS_residual / (I n_g), and V = max(V_s + V_p - V_e, V_s, V_p), for the residual is in both V_s
    and V_p. df by Satterthwaite (1946, Biometrics Bulletin 2:110): V^2 over the sum of each
    component's square by its own df, at least the smallest of these. For one and two groups V_p
    and V_e are pooled, with n - 1 and n - 2. With more each group is a component with n_g - 1: a
    standardised mean may rest on one small band (simulated, bands of 2 to 400 patients: 95 %
    intervals with pooled df cover .86, with these .96).

    Args:
        groups: One array (seeds, patients) for each group of patients, the seeds in one order.
            Values are patients' means, or pseudo-values. No patient is in two groups.
        weights: Of each group's mean in the contrast: (1, -1) for a difference, (1, -1, -1, 1) for
            a difference of differences, shares of the population for a standardised mean.
            Default: the first minus the second, or the mean of one.
        level: Of the interval.

    Returns:
        The interval; no limits with fewer than two seeds, or fewer than two patients in any group:
        the spread of a lone patient is unknown, however small the weight. Pool such groups first.

    Raises:
        ValueError: The groups do not have the same number of seeds, or not one weight each.
    """
    weights = (1, -1)[: len(groups)] if weights is None else weights
    if len({len(group) for group in groups}) != 1 or len(weights) != len(groups):
        given = f"groups: {[group.shape for group in groups]}, weights: {weights}"
        raise ValueError(f"{given}; expected the same number of seeds in each, and one weight each")
    count, sizes = len(groups[0]), [group.shape[1] for group in groups]
    patients, alone = sum(sizes), count < 2 or min(sizes) < 2
    theta, parts = np.zeros(count), list[Part]()
    with np.errstate(invalid="ignore"):
        for weight, group, size in zip(weights, groups, sizes, strict=True):
            by_seed = np.add.reduce(group, 1) / size
            theta += weight * by_seed
            if not alone:
                of_patients, of_residual = _mean_squares(group, by_seed)
                share = weight**2 / size
                parts.append((share * of_patients, share * of_residual / count, size - 1))
    if alone:
        return no_limits(float(theta.mean()), count, patients)
    if len(groups) <= 2:
        v_patient, v_residual, free = (sum(part) for part in zip(*parts, strict=True))
        parts = [(v_patient, v_residual, int(free))]
    return _two_way_interval(theta, parts, patients, level)


def regression_interval(
    values: Floats, design: Floats, coefficients: Floats, *, level: float = 0.95
) -> Interval:
    """Interval of a linear combination of regression coefficients: a contrast, adjusted.

    theta_i = c' (X'X)^-1 X' d_i = sum_j a_j d_ij for each seed i. Components as in
    ``contrast_interval``, with the sandwich HC2 (MacKinnon & White 1985, J. Econometrics 29:305,
    eq. 11) in place of variances within groups: V_s = var_i(theta_i) / I, V_p = sum_j a_j^2 r_j^2 /
    (1 - h_j) with residuals r_j of the patients' means over seeds and leverages h_j, V_e = sum_j
    a_j^2 sum_i u_ij^2 / ((I - 1) (1 - h_j)) / I with u_ij the residual of seed i beyond r_j.
    HC2, not HC3, because it is unbiased with equal variances, and because for a design of group
    dummies each component *is* that of ``contrast_interval``, whatever the groups' variances.

    Args:
        values: (seeds, patients).
        design: (patients, columns), with a column of ones if there is to be an intercept.
        coefficients: The combination, (columns,), for example 1 for the column of sex, else 0.
        level: Of the interval.

    Returns:
        The interval, df with n - rank(X). Its estimate is NaN if the design cannot tell the
        combination from others (collinear); collinear columns that do not touch it do no harm. No
        limits with fewer than two seeds, or if a patient in it fits exactly whatever the value
        (h_j = 1): one alone with a trait, or no patient more than coefficients.
    """
    (count, patients), rank = values.shape, int(np.linalg.matrix_rank(design))
    inverse = np.linalg.pinv(design)
    if not np.allclose(coefficients @ inverse @ design, coefficients):
        return no_limits(np.nan, count, patients)
    influence = coefficients @ inverse
    theta = values @ influence
    free = 1 - np.einsum("ij,ji->i", design, inverse)
    alone = free < 1e-9
    if count < 2 or np.abs(influence[alone]).sum() > 1e-9:
        return no_limits(float(theta.mean()), count, patients)
    residual = values - (values @ inverse.T) @ design.T
    common = residual.mean(axis=0)
    scale = np.where(alone, 0, influence**2 / np.where(alone, 1, free))
    v_patient = float(scale @ common**2)
    v_residual = float(scale @ (residual - common).var(axis=0, ddof=1)) / count
    return _two_way_interval(theta, [(v_patient, v_residual, patients - rank)], patients, level)


def runs_interval(values: Floats, patients: int, *, level: float = 0.95) -> Interval:
    """Interval of a mean over runs that each measured their own draw of patients.

    Args:
        values: Of each run; the spread of draws, patients and seeds is all in them.
        patients: Of one run.
        level: Of the interval.
    """
    count, estimate = len(values), float(values.mean())
    if count < 2:
        return no_limits(estimate, count, patients)
    variance, of_seeds_alone = float(values.var(ddof=1) / count), (1.0, 0.0, 0.0)
    return _t_interval(estimate, variance, count - 1, (count, patients), level, of_seeds_alone)


def slope_interval(
    values: Sequence[Floats], sizes: Sequence[float], *, level: float = 0.95
) -> Interval:
    """Interval of the change per doubling of the forget set, on patients measured at every size.

    Each seed and patient has a least-squares slope over log2(size). Seeds are the replicates, which
    is honest only if each seed forgot *patients of its own*. A shared draw would shift all gaps at
    that size alike, in no spread between seeds (simulated: 10 to 27 % false slopes, else 5 %).

    Args:
        values: For each size one array (seeds, patients): seeds and patients in one order.
        sizes: Forget sizes (shares or counts), one for each array; two of them differ.
        level: Of the interval.

    Raises:
        ValueError: Fewer than two different sizes, or one not positive.
    """
    if len(sizes) != len(values) or len(set(sizes)) < 2 or min(sizes) <= 0:
        expected = f"{len(values)} positive sizes, two of them different"
        raise ValueError(f"forget sizes are {list(sizes)}; expected {expected}")
    slopes = np.tensordot(slope_weights(sizes), np.stack(values), axes=1)
    return contrast_interval([slopes], level=level)


def slope_weights(sizes: Sequence[float]) -> Floats:
    """How each forget size weighs in a least-squares slope over log2(size), (sizes,)."""
    centred = np.log2(sizes) - np.log2(sizes).mean()
    return np.asarray(centred / (centred @ centred))


def _mean_squares(values: Floats, by_seed: Floats) -> tuple[float, float]:
    """Variance of the patients' means, and mean square of the seed x patient interaction."""
    runs, patients = values.shape
    by_patient, mean = np.add.reduce(values, 0) / runs, np.add.reduce(by_seed) / runs
    interaction = values - by_patient
    interaction -= (by_seed - mean)[:, None]
    by_patient -= mean
    free = patients - 1
    return (
        float(np.vdot(by_patient, by_patient)) / free,
        float(np.vdot(interaction, interaction)) / ((runs - 1) * free),
    )


def _two_way_interval(
    theta: Floats, parts: Sequence[Part], patients: int, level: float
) -> Interval:
    """The interval from the estimates of single seeds and the components over patients."""
    count = len(theta)
    free_runs, estimate = count - 1, float(np.add.reduce(theta) / count)
    v_seed = float(np.add.reduce((theta - estimate) ** 2)) / free_runs / count
    v_patient, v_residual = sum(part[0] for part in parts), sum(part[1] for part in parts)
    variance = max(v_seed + v_patient - v_residual, v_seed, v_patient)
    spread = v_seed**2 / free_runs
    spread += sum((of_p**2 + of_e**2 / free_runs) / free for of_p, of_e, free in parts)
    least = min(free_runs, *(free for _, _, free in parts))
    df = max(least, variance**2 / spread) if spread > 0 else least
    # the residual is in V_s and in V_p: what is left of each is its own
    own = max(v_seed - v_residual, 0), max(v_patient - v_residual, 0), v_residual
    seed, patient, residual = np.array(own) / (sum(own) or np.nan)
    of = float(seed), float(patient), float(residual)
    return _t_interval(estimate, variance, float(df), (count, patients), level, of)


def _t_interval(
    estimate: float, variance: float, df: float, of: tuple[int, int], level: float, shares: Shares
) -> Interval:
    """Of so many seeds and patients."""
    if not variance > 1e-20:  # exact ties come out as rounding error of order 1e-34, not as 0
        return replace(no_limits(estimate, *of), df=df)
    error = variance**0.5
    half = float(stdtrit(df, 0.5 + level / 2)) * error
    return Interval(estimate, estimate - half, estimate + half, error, df, *of, shares)
