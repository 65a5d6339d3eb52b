"""The same contrast by other estimators: a check of the point estimate, and of nothing else.

Neither model has standard errors that serve here: generalised estimating equations by patient take
the seeds for given, and ``mixedlm`` uses normal quantiles with as few as four seeds. So by intent
no standard error and no p-value leaves this module.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

CROSSED_ROWS = 800
"""More rows than these take ``mixedlm`` minutes with crossed components: 8 seeds x 150 patients
fit in 3 s, x 400 in 37 s."""


def check_point_estimates(
    frame: pd.DataFrame, contrast: tuple[str, str] = ("F", "M")
) -> pd.DataFrame:
    """One contrast estimated by means, by GEE and by a mixed model.

    If every seed has every patient all three are the same number, up to the optimiser: then a
    difference tells of rows that were lost or merged wrongly. Where seeds have patients of their
    own the models weigh seeds and patients otherwise, and small differences are in order.

    Args:
        frame: One row for each seed and patient: ``value`` (the patient's mean or pseudo-value),
            ``group``, ``seed`` and ``patient``.
        contrast: Two groups; the first minus the second. Rows of others are left out.

    Returns:
        One row for each estimator: ``estimator``, ``estimate``, ``difference`` from the mean and
        ``note``, which says what was fitted, or why there is no estimate (NaN).

    Raises:
        ValueError: A group is absent, or a seed has a patient twice.
    """
    rows = frame[frame["group"].isin(contrast)]
    absent = [name for name in contrast if name not in set(rows["group"])]
    if absent:
        known = ", ".join(map(str, frame["group"].unique()))
        raise ValueError(f"no rows of group {', '.join(absent)}; there are {known}")
    twice = rows[rows.duplicated(["seed", "patient"])]
    if len(twice):
        seed, patient = twice.iloc[0][["seed", "patient"]]
        raise ValueError(f"seed {seed} has patient {patient} twice; expected one row for each")
    rows = rows.assign(first=(rows["group"] == contrast[0]).astype(float))
    means = rows.groupby(["first", "seed"])["value"].mean(skipna=False)
    contrasts = means[1.0] - means[0.0]  # NaN for a seed without one of the groups
    crossed = len(rows) <= CROSSED_ROWS
    found = {
        "mean": (float(contrasts.mean(skipna=False)), "mean of the seeds' contrasts"),
        "GEE": _fit(_gee, rows, "exchangeable within patients"),
        "mixed model": _fit(_mixed_crossed, rows, "patient and seed as variance components")
        if crossed
        else _fit(_mixed, rows, "patient as random intercept, seeds as fixed effects"),
    }
    table = pd.DataFrame(
        [(name, estimate, note) for name, (estimate, note) in found.items()],
        columns=["estimator", "estimate", "note"],
    )
    table.insert(2, "difference", table["estimate"] - table["estimate"].iloc[0])
    return table


def _fit(model: Callable[[pd.DataFrame], Any], rows: pd.DataFrame, note: str) -> tuple[float, str]:
    """The contrast's coefficient, or NaN and the reason."""
    if not np.isfinite(rows["value"]).all():  # the formulas would drop them without a word
        return np.nan, "not fitted: some values are missing or infinite"
    if np.ptp(rows["value"]) == 0:
        return np.nan, "not fitted: all values are equal"
    try:
        # a variance component of 0 (a boundary) is no fault of a point estimate
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = model(rows).fit()
    except np.linalg.LinAlgError as error:
        return np.nan, f"not fitted: {error}"
    if not fitted.converged:
        return np.nan, "did not converge"
    return float(fitted.params["first"]), note


def _gee(rows: pd.DataFrame) -> Any:
    return smf.gee("value ~ first", "patient", rows, cov_struct=sm.cov_struct.Exchangeable())


def _mixed(rows: pd.DataFrame) -> Any:
    return smf.mixedlm("value ~ first + C(seed)", rows, groups="patient")


def _mixed_crossed(rows: pd.DataFrame) -> Any:
    # crossed components: all rows are one group
    return smf.mixedlm(
        "value ~ first",
        rows,
        groups=np.ones(len(rows)),
        re_formula="0",
        vc_formula={"patient": "0 + C(patient)", "seed": "0 + C(seed)"},
    )
