"""From a contrast and its standard error to a verdict: different, equivalent, both or neither.

A p-value above 0.05 is no evidence of "no difference". Equivalence has a test of its own, and
where neither test speaks the verdict is *inconclusive*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize.elementwise import find_root
from statsmodels.stats.multitest import multipletests

DIFFERENT = "different"
EQUIVALENT = "equivalent"
NEGLIGIBLE = "different but negligible"
INCONCLUSIVE = "inconclusive"
NOT_ESTIMABLE = "not estimable (ceiling)"
NOT_TESTED = "not tested"

HOLM, BENJAMINI_HOCHBERG = "Holm", "Benjamini-Hochberg"

# standard errors of exact ties come out as rounding error of order 1e-17, not as 0
SMALLEST_ERROR = 1e-10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """What was settled before results were seen.

    Args:
        margins: Half width of the region of equivalence: ``retain``, ``forget``, ``test``,
            ``slope`` (per doubling of the forget size), ``attack`` (area under the ROC curve).
        confirmatory: Methods whose contrasts are confirmatory.
        middle_size: Forget size at which patients are compared.
        sizes: Forget sizes of the design.
        seeds: Paired seeds of the design.
        verdict_seeds: Fewer give no verdict.
        verdict_patients: Fewer in a group give no verdict.
        reliability: Of difficulty on the test set; NaN if it was not measured.
    """

    margins: Mapping[str, float]
    confirmatory: Sequence[str]
    middle_size: float
    sizes: Sequence[float]
    seeds: int
    verdict_seeds: int
    verdict_patients: int
    reliability: float = float("nan")


def refuse(terms: Terms, seeds: int, patients: int) -> str:
    """Why a contrast may not be judged; empty if it may."""
    if terms.seeds < terms.verdict_seeds:
        return f"needs {terms.verdict_seeds} paired seeds, this profile has {terms.seeds}"
    if seeds < terms.seeds:
        return f"unbalanced: {terms.seeds - seeds} of {terms.seeds} paired seeds are missing"
    if patients < terms.verdict_patients:
        return f"needs {terms.verdict_patients} patients in each group, one has {patients}"
    return ""


def p_values(
    estimate: ArrayLike, standard_error: ArrayLike, df: ArrayLike, margin: ArrayLike
) -> tuple[Floats, Floats]:
    """Two p-values of one t statistic: of a difference from 0, and of equivalence to 0.

    The first is two-sided. The second is that of two one-sided tests (Schuirmann 1987, J.
    Pharmacokinet. Biopharm. 15:657): the larger of the p-values against theta <= -margin and
    theta >= margin; it is below alpha if and only if the 1 - 2 alpha interval lies within.

    Args:
        estimate: Contrasts, any shape; the other arguments broadcast against them.
        standard_error: Of the estimates.
        df: Degrees of freedom.
        margin: Half width of the region of equivalence; NaN: no equivalence is asked.

    Returns:
        p of difference and p of equivalence. Both NaN where the standard error is unknown or 0.
    """
    theta, error, free, delta = _broadcast(estimate, standard_error, df, margin)
    error = np.where(error > SMALLEST_ERROR, error, np.nan)
    difference = 2 * stats.t.sf(np.abs(theta) / error, free)
    above = stats.t.sf((theta + delta) / error, free)
    below = stats.t.cdf((theta - delta) / error, free)
    return np.asarray(difference), np.maximum(above, below)


def reachable_margin(
    standard_error: ArrayLike, df: ArrayLike, *, alpha: float = 0.05, power: float = 0.80
) -> Floats:
    """The smallest margin at which equivalence is found with this power if the truth is 0.

    Solves E_s[2 Phi(m - t s) - 1]+ = power for m, with t the 1 - alpha quantile of Student's t
    and s^2 = chi^2_df / df: the exact power of the two one-sided tests at the true standard error
    (Phillips 1990, J. Pharmacokinet. Biopharm. 18:137). The estimated error stands for the true
    one. With Satterthwaite's degrees of freedom the law of s is itself an approximation.

    Args:
        standard_error: Of the estimates, any shape; ``df`` broadcasts against them.
        df: Degrees of freedom.
        alpha: Level of the test.
        power: Wanted.

    Returns:
        Margins in the unit of the estimates, a float for a float; NaN where the standard error is
        unknown or 0.
    """
    error, free = _broadcast(standard_error, df)
    known = (error > SMALLEST_ERROR) & (free > 0)
    margin = np.full(error.shape, np.nan)
    if known.any():
        margin[known] = error[known] * _margin_in_errors(free[known], alpha, power)
    scalar_or_array: Floats = margin[()]
    return scalar_or_array


def judge(contrasts: pd.DataFrame, *, alpha: float = 0.05) -> pd.DataFrame:
    """Verdict of each contrast, after correction for all that were tested in its family.

    Confirmatory contrasts are corrected by Holm within their family, the others by
    Benjamini-Hochberg within theirs; difference and equivalence separately. A contrast that is
    refused or not estimable has no p-value and enters no correction.

    Args:
        contrasts: One row for each, with ``family``, ``confirmatory``, ``estimate``,
            ``standard_error``, ``df``, ``margin`` (NaN: no equivalence is asked) and ``refused``
            (why there may be no verdict, such as too few seeds; empty if it may be judged).
        alpha: Level of both tests.

    Returns:
        The same rows with ``p_difference``, ``p_equivalence``, both ``_adjusted``, ``correction``,
        ``reachable_margin`` (80 % power; also of refused rows) and ``verdict``. A row without an
        estimate is *not tested*; one without a spread *not estimable*, never *equivalent*.

    Raises:
        ValueError: A margin is not positive.
    """
    if (contrasts["margin"] <= 0).any():
        raise ValueError(f"margin is {contrasts['margin'].min()}; expected positive, or NaN")
    numbers = contrasts[["estimate", "standard_error", "df", "margin"]]
    estimate, error, df, margin = numbers.to_numpy(np.float64).T
    allowed = np.isfinite(estimate) & (contrasts["refused"] == "").to_numpy(bool)
    difference, equivalence = p_values(estimate, np.where(allowed, error, np.nan), df, margin)
    confirmatory = contrasts["confirmatory"].to_numpy(bool)
    judged = contrasts.assign(
        p_difference=difference,
        p_equivalence=equivalence,
        p_difference_adjusted=_adjust(difference, contrasts),
        p_equivalence_adjusted=_adjust(equivalence, contrasts),
        correction=np.where(confirmatory, HOLM, BENJAMINI_HOCHBERG),
        reachable_margin=reachable_margin(error, df, alpha=alpha),
    )
    differs = judged["p_difference_adjusted"].to_numpy() < alpha
    equals = judged["p_equivalence_adjusted"].to_numpy() < alpha
    # the first that holds
    verdicts = {
        NOT_TESTED: ~allowed,
        NOT_ESTIMABLE: np.isnan(difference),
        NEGLIGIBLE: differs & equals,
        DIFFERENT: differs,
        EQUIVALENT: equals,
    }
    found = np.select(list(verdicts.values()), list(verdicts), default=INCONCLUSIVE)
    return judged.assign(verdict=found.astype(object))


def none_is_biased(judged: pd.DataFrame, *, alpha: float = 0.05) -> bool:
    """Whether all contrasts *together* are equivalent to 0: "no method is biased".

    The joint claim is an intersection-union test: it holds at level alpha if every single test
    does, without correction (Berger 1982, Technometrics 24:295).

    Args:
        judged: The rows of the claim, from ``judge``. A row without a test, or no row at all,
            leaves the claim unproven.
        alpha: Level.
    """
    proven = judged["p_equivalence"].to_numpy(np.float64) < alpha  # False where NaN
    return bool(len(proven) and proven.all())


def _broadcast(*given: ArrayLike) -> list[Floats]:
    return [np.asarray(each, dtype=np.float64) for each in np.broadcast_arrays(*given)]


def _adjust(raw: Floats, contrasts: pd.DataFrame) -> Floats:
    """Adjusted p-values of those that are there, within family and kind of claim."""
    adjusted, keys = raw.copy(), ["family", "confirmatory"]
    tested = contrasts[keys].astype({"confirmatory": bool}).assign(row=np.arange(len(raw)))
    for (_, confirmatory), rows in tested[~np.isnan(raw)].groupby(keys, dropna=False)["row"]:
        if len(rows) > 1:  # a test alone stays as it is; statsmodels takes 30 ms or more to say so
            method = "holm" if confirmatory else "fdr_bh"
            adjusted[rows] = multipletests(raw[rows], method=method)[1]
    return adjusted


def _margin_in_errors(df: Floats, alpha: float, power: float) -> Floats:
    """The reachable margin in units of the true standard error, (n,)."""
    quantile = stats.t.isf(alpha, df)
    # enough for s <= s* and |z| <= z*, each missed with half of what may be missed
    miss = (1 - power) / 2
    most = quantile * _chi(1 - miss, df) + stats.norm.isf(miss / 2)
    found = find_root(
        lambda margin, free: _power(margin, free, alpha) - power,
        (np.zeros_like(df), most),
        args=(df,),
    )
    return np.asarray(found.x, dtype=np.float64)


def _power(margin: Floats, df: Floats, alpha: float) -> Floats:
    """Power of the two one-sided tests at truth 0 and true standard error 1, by quadrature."""
    quantile = stats.t.isf(alpha, df)
    lowest = _chi(1e-12, df)
    highest = np.clip(margin / quantile, lowest, _chi(1 - 1e-12, df))  # beyond: never rejected
    nodes, weights = np.polynomial.legendre.leggauss(60)
    half = (highest - lowest)[:, None] / 2
    s = lowest[:, None] + half * (1 + nodes)
    inside = 2 * stats.norm.cdf(margin[:, None] - quantile[:, None] * s) - 1
    density = stats.chi.pdf(s, df[:, None], scale=df[:, None] ** -0.5)
    return np.asarray((half * weights * inside * density).sum(axis=1))


def _chi(probability: float, df: Floats) -> Floats:
    """Quantile of s = sqrt(chi^2_df / df)."""
    return np.asarray(stats.chi.ppf(probability, df, scale=df**-0.5))
