"""How often the verdicts of simulated studies are wrong, and how often they are silent.

The intervals and p-values are those of the study itself; beside them the same tests as they come
out where images, seeds alone or patients alone are taken for the units.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans

from medunlearn.statistics import verdicts
from medunlearn.statistics.intervals import contrast_interval, runs_interval
from medunlearn.statistics.simulation import Gaps, Scenario, draw_contrasts, simulate_gaps
from medunlearn.statistics.verdicts import DIFFERENT, EQUIVALENT, INCONCLUSIVE, NEGLIGIBLE

Floats = NDArray[np.float64]

ALPHA = 0.05

OURS = "patients and seeds"
ANALYSES = (OURS, "images", "seeds", "patients")
"""The unit each takes to be independent; all but the first are shown to fail."""


def analyse(gaps: Gaps) -> Floats:
    """Estimate, standard error and degrees of freedom, (3,), by each of ``ANALYSES``, (4, 3)."""
    women, men = gaps.by_patient
    ours = contrast_interval((women, men))
    seeds = runs_interval(women.mean(axis=1) - men.mean(axis=1), ours.patients)
    return np.array(
        [
            (ours.estimate, ours.standard_error, ours.df),
            _compare_means(*gaps.by_image),
            (seeds.estimate, seeds.standard_error, seeds.df),
            _compare_means(women.mean(axis=0), men.mean(axis=0)),
        ]
    )


def analyse_draws(gaps: Gaps, share: float, random: np.random.Generator) -> Floats:
    """The same where each seed has a draw of its own, by the study's own analysis alone, (1, 3)."""
    contrasts = draw_contrasts(gaps, share, random)
    found = runs_interval(contrasts, round(share * len(gaps.images)))
    return np.array([(found.estimate, found.standard_error, found.df)])


def error_rates(
    scenarios: Sequence[Scenario], margin: float, replicates: int, random: np.random.Generator
) -> pd.DataFrame:
    """How often each analysis comes to each verdict, and how often its interval holds the truth.

    Args:
        scenarios: The cells of a grid.
        margin: Of equivalence.
        replicates: Simulated studies for each cell.
        random: Each cell takes a generator of its own from it.

    Returns:
        One row for each scenario and analysis (with draws of each seed's own the study's alone):
        the scenario's fields, ``analysis``, ``margin``, ``replicates``, and what ``summarise``
        tells.
    """
    rows = []
    for scenario, own in zip(scenarios, random.spawn(len(scenarios)), strict=True):
        found = np.array([_analyse(scenario, own) for _ in range(replicates)])
        for analysis, of in zip(ANALYSES, found.transpose(1, 2, 0), strict=False):
            names = {"analysis": analysis, "margin": margin, "replicates": replicates}
            rates = summarise(of[0], of[1], of[2], scenario.contrast, margin)
            rows.append({**asdict(scenario), **names, **rates})
    return pd.DataFrame(rows)


def family_errors(
    scenarios: Sequence[Scenario], margin: float, replicates: int, random: np.random.Generator
) -> dict[str, float]:
    """How often a family of contrasts, corrected by Holm, holds at least one wrong verdict.

    Args:
        scenarios: One for each method of the family.
        margin: Of equivalence.
        replicates: Simulated families.
        random: Draws them.

    Returns:
        Share of families with a false *different* (or *negligible*) among contrasts of 0, with a
        false *equivalent* (or *negligible*) among those of the margin or more, and the share of
        all contrasts that are decided, that is anything but *inconclusive*.
    """
    rows = [
        (number, scenario.contrast, *_analyse(scenario, random)[0])
        for number in range(replicates)
        for scenario in scenarios
    ]
    names = ["family", "contrast", "estimate", "standard_error", "df"]
    table = pd.DataFrame(rows, columns=names).assign(margin=margin, refused="", confirmatory=True)
    judged = verdicts.judge(table)
    size, verdict = judged["contrast"].abs(), judged["verdict"]
    wrong = {
        DIFFERENT: (size == 0) & verdict.isin([DIFFERENT, NEGLIGIBLE]),
        EQUIVALENT: (size >= margin * (1 - 1e-9)) & verdict.isin([EQUIVALENT, NEGLIGIBLE]),
    }
    found = {f"false {name}": is_wrong.groupby(judged["family"]).any().mean()
             for name, is_wrong in wrong.items()}  # fmt: skip
    return {**found, "decided": (verdict != INCONCLUSIVE).mean()}


def false_verdicts(rates: pd.DataFrame) -> pd.DataFrame:
    """The errors that are to stay below 5 %, up to two Monte Carlo standard errors.

    Args:
        rates: As from ``error_rates``.

    Returns:
        Its rows without a contrast (false: *different*, *negligible*) and with one of the margin
        (false: *equivalent*, *negligible*), with the columns ``false`` (which verdict), ``rate``,
        ``limit``, ``kept``, and ``chance``: the probability that a test that errs in exactly 5 %
        shows a rate above the limit.
    """
    size = rates["contrast"].abs()
    parts = []
    for verdict, at in ((DIFFERENT, size == 0), (EQUIVALENT, np.isclose(size, rates["margin"]))):
        chosen = rates[at]
        rate = chosen[verdict] + chosen[NEGLIGIBLE]
        parts.append(chosen.assign(false=verdict, rate=rate))
    found = pd.concat(parts)
    limit = ALPHA + 2 * (ALPHA * (1 - ALPHA) / found["replicates"]) ** 0.5
    chance = stats.binom.sf(np.floor(limit * found["replicates"]), found["replicates"], ALPHA)
    kept = found["rate"] <= limit
    return found.assign(limit=limit, kept=kept, chance=chance).sort_index()


def power_curve(
    scenarios: Sequence[Scenario], replicates: int, random: np.random.Generator, power: float = 0.80
) -> pd.DataFrame:
    """The smallest margin within which studies of this design are called equivalent.

    Args:
        scenarios: Designs; their contrast is taken to be 0.
        replicates: Simulated studies for each.
        random: Each takes a generator of its own from it.
        power: Share of studies that are to be called equivalent.

    Returns:
        The scenarios' fields, ``margin``, and ``formula``: the median of what ``reachable_margin``
        tells a study from its own standard error.
    """
    rows = []
    for scenario, own in zip(scenarios, random.spawn(len(scenarios)), strict=True):
        truth = replace(scenario, contrast=0.0)
        found = [analyse(simulate_gaps(truth, own))[0] for _ in range(replicates)]
        estimate, spread, df = np.array(found).T
        # two one-sided tests: the 90 % interval lies within the margin; never without a spread
        needed = np.abs(estimate) + stats.t.isf(ALPHA, df) * spread
        needed = np.where(np.isnan(needed), np.inf, needed)
        margin = np.quantile(needed, power, method="higher")
        formula = np.nanmedian(verdicts.reachable_margin(spread, df, power=power))
        rows.append({**asdict(truth), "margin": margin, "formula": formula})
    return pd.DataFrame(rows)


def summarise(
    estimate: Floats, error: Floats, df: Floats, truth: float, margin: float
) -> dict[str, float]:
    """Rates over replicates: of one contrast each, without correction for others.

    A study whose contrast cannot be estimated is in none of the shares of verdicts, and its
    interval does not hold the truth.

    Args:
        estimate: (replicates,).
        error: Standard errors, NaN or 0 where not estimable, (replicates,).
        df: Degrees of freedom, (replicates,).
        truth: The true contrast.
        margin: Of equivalence.

    Returns:
        The share of each verdict by its name, ``coverage`` of the 95 % interval with its Monte
        Carlo standard error ``coverage_mcse``, ``half_width`` (mean), ``spread`` (standard
        deviation of the estimates) and ``standard_error`` (what it was taken for).
    """
    difference, equivalence = verdicts.p_values(estimate, error, df, margin)
    differs, equals = difference < ALPHA, equivalence < ALPHA  # False where NaN
    half = stats.t.isf(ALPHA / 2, df) * np.where(np.isnan(difference), np.nan, error)
    coverage = float((np.abs(estimate - truth) <= half).mean())
    return {
        DIFFERENT: float((differs & ~equals).mean()),
        EQUIVALENT: float((equals & ~differs).mean()),
        NEGLIGIBLE: float((differs & equals).mean()),
        INCONCLUSIVE: float((~differs & ~equals & ~np.isnan(difference)).mean()),
        "coverage": coverage,
        "coverage_mcse": float((coverage * (1 - coverage) / len(estimate)) ** 0.5),
        "half_width": float(np.nanmean(half)),
        "spread": float(estimate.std(ddof=1)),
        "standard_error": float(np.nanmean(error**2) ** 0.5),
    }


def _analyse(scenario: Scenario, random: np.random.Generator) -> Floats:
    gaps = simulate_gaps(scenario, random)
    return analyse_draws(gaps, scenario.own_draw, random) if scenario.own_draw else analyse(gaps)


def _compare_means(women: Floats, men: Floats) -> tuple[float, float, float]:
    """Difference of two means with Welch's standard error and degrees of freedom."""
    both = CompareMeans.from_data(women, men)
    return women.mean() - men.mean(), both.std_meandiff_separatevar, both.dof_satt()
