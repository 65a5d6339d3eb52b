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

DIFFERENT = "different"
EQUIVALENT = "equivalent"
NEGLIGIBLE = "different but negligible"
INCONCLUSIVE = "inconclusive"
NOT_ESTIMABLE = "not estimable (ceiling)"
NOT_TESTED = "not tested"

FEW_SEEDS = "paired seeds, this profile has"
"""Part of the reason why a whole study carries no verdict."""

# standard errors of exact ties come out as rounding error of order 1e-17, not as 0
SMALLEST_ERROR = 1e-10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """What was settled before results were seen.

    Args:
        margins: Half width of the region of equivalence: ``retain``, ``forget``, ``test``,
            ``probability`` (of the true class), ``slope`` (per doubling of the forget size),
            ``attack`` (area under the ROC curve). What is absent has no margin.
        confirmatory: Methods whose contrasts are confirmatory.
        middle_size: Forget size at which patients are compared.
        sizes: Forget sizes of the design.
        seeds: Paired seeds of the design.
        floor_seeds: Of oracle set B.
        verdict_seeds: Fewer give no verdict.
        verdict_patients: Fewer in a group give no verdict.
        reliability: Of difficulty on the test set; NaN if it was not measured.
    """

    margins: Mapping[str, float]
    confirmatory: Sequence[str]
    middle_size: float
    sizes: Sequence[float]
    seeds: int
    floor_seeds: int
    verdict_seeds: int
    verdict_patients: int
    reliability: float = float("nan")


def refuse(terms: Terms, seeds: int, patients: int, *, floor: bool = False) -> str:
    """Why a contrast may not be judged; empty if it may.

    Args:
        terms: Of the study.
        seeds: Paired seeds of the contrast.
        patients: In its smallest group.
        floor: Whether it is of oracle set B, which may have fewer seeds.
    """
    wanted = terms.floor_seeds if floor else terms.seeds
    if wanted < terms.verdict_seeds:
        return f"needs {terms.verdict_seeds} {FEW_SEEDS} {wanted}"
    if seeds < wanted:
        return f"unbalanced: {wanted - seeds} of {wanted} paired seeds are missing"
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
    theta, delta, error = np.asarray(estimate), np.asarray(margin), _known(standard_error)
    difference = 2 * stats.t.sf(np.abs(theta) / error, df)
    above = stats.t.sf((theta + delta) / error, df)
    below = stats.t.cdf((theta - delta) / error, df)
    return np.asarray(difference), np.maximum(above, below)


def reachable_margin(
    standard_error: ArrayLike, df: ArrayLike, *, alpha: ArrayLike = 0.05, power: float = 0.80
) -> Floats:
    """The smallest margin at which equivalence is found with this power if the truth is 0.

    (t_{1 - alpha} + t_{(1 + power) / 2}) standard errors: both one-sided tests must speak. The
    exact power (Phillips 1990, J. Pharmacokinet. Biopharm. 18:137) differs by less than 2 % from
    7 degrees of freedom on. The estimated error stands for the true one.

    Args:
        standard_error: Of the estimates, any shape; ``df`` broadcasts against them.
        df: Degrees of freedom.
        alpha: Level of the test.
        power: Wanted.

    Returns:
        Margins in the unit of the estimates, a float for a float; NaN where the standard error is
        unknown or 0.
    """
    quantiles = stats.t.isf(alpha, df) + stats.t.isf((1 - power) / 2, df)
    margin: Floats = _known(standard_error) * quantiles
    return margin[()]


def judge(contrasts: pd.DataFrame, *, alpha: float = 0.05) -> pd.DataFrame:
    """Verdict of each contrast, and the interval that belongs to it.

    Confirmatory contrasts are corrected by Holm within their family, the others by
    Benjamini-Hochberg within theirs; difference and equivalence separately. A contrast that is
    refused or not estimable has no p-value and enters no correction.

    Holm steps down: of m contrasts the k-th smallest p-value is held to alpha / (m - k + 1), until
    one fails; it and all after it are held to the level at which it failed. ``level_difference`` is
    that level a of each row, and ``low`` to ``high`` its 1 - a interval: it excludes 0 if and only
    if the contrast is called different. For the contrasts that failed these are the simultaneous
    intervals that belong to Holm (Guilbaud 2008, Biom. J. 50:678); those that passed have a
    familywise *decision*, but an interval of their own step only. ``equivalence_low`` to
    ``equivalence_high`` is likewise the 1 - 2a interval of the step of equivalence, inside the
    margin if and only if the contrast is called equivalent. Exploratory contrasts show intervals
    at the unadjusted level alpha: these may exclude 0 where the corrected verdict is inconclusive.

    Args:
        contrasts: One row for each, with ``family``, ``confirmatory``, ``estimate``,
            ``standard_error``, ``df``, ``margin`` (NaN: no equivalence is asked) and ``refused``
            (why there may be no verdict, such as too few seeds; empty if it may be judged).
        alpha: Level of both tests.

    Returns:
        The same rows with ``p_difference``, ``p_equivalence``, both ``_adjusted``, ``correction``,
        the intervals above, ``unadjusted_low`` and ``unadjusted_high``, ``reachable_margin`` (80 %
        power, at the level that equivalence is held to; also of refused rows) and ``verdict``. A
        row without an estimate is *not tested*; one without a spread *not estimable*, never
        *equivalent*.

    Raises:
        ValueError: A margin is not positive.
    """
    if (contrasts["margin"] <= 0).any():
        raise ValueError(f"margin is {contrasts['margin'].min()}; expected positive, or NaN")
    numbers = contrasts[["estimate", "standard_error", "df", "margin"]]
    estimate, error, df, margin = numbers.to_numpy(np.float64).T
    error = _known(error)
    allowed = np.isfinite(estimate) & (contrasts["refused"] == "").to_numpy(bool)
    difference, equivalence = p_values(estimate, np.where(allowed, error, np.nan), df, margin)
    confirmatory = contrasts["confirmatory"].to_numpy(bool)
    difference_adjusted, of_difference = _correct(difference, contrasts, alpha)
    equivalence_adjusted, of_equivalence = _correct(equivalence, contrasts, alpha)
    levels = {"": of_difference / 2, "unadjusted_": alpha / 2, "equivalence_": of_equivalence}
    limits = {
        f"{name}{side}": estimate + sign * (stats.t.isf(level, df) * error)
        for name, level in levels.items()
        for side, sign in (("low", -1), ("high", 1))
    }
    judged = contrasts.assign(
        **limits,
        level_difference=of_difference,
        level_equivalence=of_equivalence,
        p_difference=difference,
        p_equivalence=equivalence,
        p_difference_adjusted=difference_adjusted,
        p_equivalence_adjusted=equivalence_adjusted,
        correction=np.where(confirmatory, "Holm", "Benjamini-Hochberg"),
        reachable_margin=reachable_margin(error, df, alpha=of_equivalence),
    )
    differs, equals = difference_adjusted < alpha, equivalence_adjusted < alpha
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


def _known(standard_error: ArrayLike) -> Floats:
    """NaN in place of 0."""
    error = np.asarray(standard_error, np.float64)
    return np.where(error > SMALLEST_ERROR, error, np.nan)


def _correct(raw: Floats, contrasts: pd.DataFrame, alpha: float) -> tuple[Floats, Floats]:
    """Adjusted p-values and the level each is held to, within family and kind of claim."""
    adjusted, levels, keys = raw.copy(), np.full(len(raw), alpha), ["family", "confirmatory"]
    tested = contrasts[keys].astype({"confirmatory": bool}).assign(row=np.arange(len(raw)))
    for (_, confirmatory), rows in tested[~np.isnan(raw)].groupby(keys, dropna=False)["row"]:
        p = raw[rows]
        if confirmatory:
            order = np.argsort(p, kind="stable")
            stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
            adjusted[rows.to_numpy()[order]] = np.minimum(stepped, 1)
            levels[rows] = holm_levels(p, alpha)
        else:
            adjusted[rows] = stats.false_discovery_control(p)
    return adjusted, levels


def holm_levels(p: Floats, alpha: float) -> Floats:
    """The level that Holm's procedure holds each p-value to, (tests,).

    Args:
        p: Of one family.
        alpha: Of the family.
    """
    order, steps = np.argsort(p, kind="stable"), np.arange(len(p))
    rejected = int(np.logical_and.accumulate(p[order] < alpha / (len(p) - steps)).sum())
    levels = np.empty(len(p))
    # all that fail share the level at which the first of them failed
    levels[order] = alpha / (len(p) - np.minimum(steps, rejected))
    return levels
