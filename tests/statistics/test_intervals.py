import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from medunlearn.statistics.intervals import (
    contrast_interval,
    regression_interval,
    runs_interval,
    slope_interval,
)


def components(groups, weights):
    """V_s, V_p and V_e as the protocol has them, written out."""
    seeds = len(groups[0])
    theta = sum(w * g.mean(1) for w, g in zip(weights, groups, strict=True))
    v_p = v_e = 0
    for w, g in zip(weights, groups, strict=True):
        n = g.shape[1]
        residual = g - g.mean(0) - g.mean(1, keepdims=True) + g.mean()
        v_p += w**2 * g.mean(0).var(ddof=1) / n
        v_e += w**2 * (residual**2).sum() / ((seeds - 1) * (n - 1)) / (seeds * n)
    return theta.var(ddof=1) / seeds, v_p, v_e


def test_without_patient_spread_it_is_the_t_interval_over_seeds():
    """Every patient alike: only seeds vary, and the interval is that of their means."""
    means = np.array([0.1, 0.2, 0.4, 0.3])
    found = contrast_interval([np.repeat(means[:, None], 50, axis=1)])
    low, high = stats.t.interval(0.95, 3, means.mean(), stats.sem(means))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("values", [np.zeros((4, 9)), np.full((4, 9), 0.3)])
def test_no_spread_at_all_gives_no_limits(values):
    found = contrast_interval([values, values])
    assert found.estimate == 0
    assert np.isnan([found.low, found.high]).all()


def test_runs_with_draws_of_their_own_vary_by_runs_alone():
    values = np.array([0.1, 0.3, 0.2])
    found = runs_interval(values, 50)
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert np.isnan(runs_interval(values[:1], 50).low)


def test_one_seed_or_one_patient_gives_no_limits():
    assert np.isnan(contrast_interval([np.ones((1, 9))]).low)
    found = contrast_interval([np.eye(3), np.ones((3, 1))], (0.999, 0.001))
    assert found.estimate == pytest.approx(0.333 + 0.001)
    assert np.isnan([found.low, found.standard_error]).all()
    one = regression_interval(np.ones((1, 9)), np.ones((9, 1)), np.ones(1))
    assert one.estimate == pytest.approx(1)
    assert np.isnan(one.low)
    none_to_spare = regression_interval(np.eye(4)[:, :2], np.eye(2), np.array([1.0, -1.0]))
    assert np.isnan(none_to_spare.low)


@pytest.mark.parametrize(
    "weights", [(1,), (1, -1), (1, -1, -1, 1), (0.1, 0.2, 0.3, 0.4), (0.7, 0.3, -0.6, -0.4)]
)
def test_estimate_error_and_df_are_those_of_the_formula(weights):
    """One and two groups pool their degrees of freedom, more have components of their own."""
    random = np.random.default_rng(2)
    groups = [random.normal(i, 1 + i, (6, 10 + 7 * i)) for i in range(len(weights))]
    v_s, v_p, v_e = components(groups, weights)
    v, sizes = max(v_s + v_p - v_e, v_s, v_p), np.array([g.shape[1] for g in groups])
    parts = [components([g], [w])[1:] for w, g in zip(weights, groups, strict=True)]
    pooled = [(v_p, v_e, (sizes - 1).sum())]
    each = [(p, e, n - 1) for (p, e), n in zip(parts, sizes, strict=True)]
    spread = v_s**2 / 5 + sum(
        (p**2 + e**2 / 5) / free for p, e, free in (pooled if len(groups) < 3 else each)
    )
    df = max(5, v**2 / spread)
    found = contrast_interval(groups, weights)
    assert found.estimate == pytest.approx(np.dot(weights, [g.mean() for g in groups]))
    assert (found.seeds, found.patients) == (6, sizes.sum())
    assert (found.standard_error, found.df) == (pytest.approx(v**0.5), pytest.approx(df))
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, df) * v**0.5)
    if len(weights) == 2:
        assert contrast_interval(groups) == found, "the first minus the second"


def dummies(sizes):
    """Intercept and one dummy: the first group against the second."""
    return np.column_stack([np.ones(sum(sizes)), np.repeat([1.0, 0.0], sizes)])


@pytest.mark.parametrize("seed_sd", [0.0, 0.3])
def test_a_regression_on_one_dummy_is_the_contrast_of_two_groups(seed_sd):
    """Exactly, also with unequal sizes and variances: that is why it is HC2."""
    random = np.random.default_rng(4)
    groups = [random.normal(0, seed_sd, (6, 1)) + random.normal(0.1, sd, (6, n))
              for sd, n in ((1, 9), (3, 25))]  # fmt: skip
    found = regression_interval(np.hstack(groups), dummies((9, 25)), np.array([0.0, 1.0]))
    expected = contrast_interval(groups)
    for field in ("estimate", "standard_error", "df", "low", "high", "seeds", "patients"):
        assert getattr(found, field) == pytest.approx(getattr(expected, field)), field


def test_with_seeds_alike_it_is_hc2_of_statsmodels():
    random = np.random.default_rng(6)
    design = sm.add_constant(random.normal(size=(40, 3)))
    values = design[:, 1] + random.normal(0, 1 + design[:, 2] ** 2)
    fit = sm.OLS(values, design).fit(cov_type="HC2")
    for column, coefficients in enumerate(np.eye(4)):
        found = regression_interval(np.tile(values, (3, 1)), design, coefficients)
        assert found.estimate == pytest.approx(fit.params[column])
        assert found.standard_error == pytest.approx(fit.bse[column])
        assert found.df == pytest.approx(36)


def test_what_a_collinear_design_cannot_tell_has_no_interval():
    values = np.random.default_rng(8).normal(size=(4, 20))
    woman = np.repeat([1.0, 0.0], 10)
    same = np.column_stack([np.ones(20), woman, 1 - woman, np.zeros(20)])
    for column in (0, 1, 2, 3):
        found = regression_interval(values, same, np.eye(4)[column])
        assert np.isnan([found.estimate, found.low, found.high, found.standard_error]).all()
    # but the difference of the two columns is known
    found = regression_interval(values, same, np.array([0.0, 1.0, -1.0, 0.0]))
    expected = contrast_interval([values[:, :10], values[:, 10:]])
    assert (found.low, found.df) == (pytest.approx(expected.low), pytest.approx(expected.df))


def test_a_patient_alone_in_a_group_gives_no_limits_unless_beside_the_point():
    values = np.random.default_rng(9).normal(size=(4, 20))
    design = np.column_stack([dummies((10, 10)), np.eye(20)[0]])
    alone = regression_interval(values, design, np.array([0.0, 0.0, 1.0]))
    assert np.isfinite(alone.estimate)
    assert np.isnan([alone.low, alone.high]).all()
    others = regression_interval(values, design, np.array([0.0, 1.0, 0.0]))
    expected = contrast_interval([values[:, 1:10], values[:, 10:]])
    assert (others.low, others.df) == (pytest.approx(expected.low), pytest.approx(expected.df))


def share_covered(kind, *, seeds, patients, seed_sd, runs, random):
    """Replicates whose 95 % interval holds the truth, 0: four groups weighted, or adjusted."""
    sizes = np.array([0.4, 0.3, 0.2, 0.1]) * patients
    covered = 0
    for _ in range(runs):
        groups = [
            random.normal(0, 0.3, n)
            + random.normal(0, seed_sd, (seeds, 1))
            + random.normal(0, 0.3, (seeds, n))
            for n in sizes.astype(int)
        ]
        if kind == "weights":
            found = contrast_interval(groups, (0.6, -0.6, 0.4, -0.4))
        else:
            woman, hard = np.array([1, 0, 1, 0.0]), np.array([0, 0, 1, 1.0])
            cells = np.repeat(np.column_stack([np.ones(4), woman, hard]), sizes.astype(int), axis=0)
            found = regression_interval(np.hstack(groups), cells, np.array([0, 1.0, 0]))
        covered += found.low <= 0 <= found.high
    return covered / runs


@pytest.mark.parametrize("kind", ["weights", "regression"])
@pytest.mark.parametrize("seed_sd", [0.0, 0.1])
def test_weighted_and_adjusted_intervals_cover_the_truth(kind, seed_sd):
    """600 replicates, Monte Carlo standard error .009."""
    share = share_covered(kind, seeds=4, patients=100, seed_sd=seed_sd, runs=600,
                          random=np.random.default_rng(11))  # fmt: skip
    assert 0.95 - 0.018 <= share <= 0.985


SIZES = (0.05, 0.1, 0.2, 0.3)


def test_a_slope_is_the_change_per_doubling_by_the_least_squares_line_through_the_means():
    level = np.arange(12.0).reshape(3, 4)
    values = [level - 0.02 * doublings + 0.5 for doublings in (0, 1, 2)]
    found = slope_interval(values, (0.05, 0.1, 0.2))
    assert found.estimate == pytest.approx(-0.02)
    assert (found.seeds, found.patients) == (3, 4)
    values = list(np.random.default_rng(0).normal(size=(4, 5, 30)))
    line = stats.linregress(np.log2(SIZES), [each.mean() for each in values])
    found, wider = slope_interval(values, SIZES), slope_interval(values, SIZES, level=0.99)
    assert found.estimate == pytest.approx(line.slope)
    assert wider.low < found.low


def test_the_spread_of_a_slope_is_that_of_the_slopes_of_seeds_and_patients():
    """A patient who is hard at every size, and a seed that is good at every size, cost nothing."""
    random = np.random.default_rng(1)
    values = list(random.normal(size=(4, 5, 30)))
    shifted = [each + np.arange(30) + 7 * np.arange(5)[:, None] for each in values]
    one, other = slope_interval(values, SIZES), slope_interval(shifted, SIZES)
    assert (one.low, one.df) == (pytest.approx(other.low), pytest.approx(other.df))


def false_slopes(shared, runs=1000):
    """Share of flat gaps called sloped: sizes x seeds, each draw shifts the gap by its own SD."""
    random = np.random.default_rng(3)
    found = 0
    for _ in range(runs):
        draws = random.normal(0, 0.01, (3, 1 if shared else 8, 1))
        values = draws + random.normal(0, 0.01, (3, 8, 1)) + random.normal(0, 0.3, (3, 8, 300))
        interval = slope_interval(list(values), (0.05, 0.1, 0.2))
        found += not interval.low <= 0 <= interval.high
    return found / runs


def test_a_draw_for_each_seed_gives_no_false_slopes_and_one_for_all_does():
    """1,000 replicates: Monte Carlo standard error .007 at .05."""
    assert false_slopes(shared=False) <= 0.05 + 0.014
    assert false_slopes(shared=True) > 0.10


def test_means_gee_and_a_mixed_model_estimate_the_same_contrast_of_balanced_data():
    """The study needs no model for the estimate; neither has standard errors that serve here."""
    random = np.random.default_rng(12)
    women = np.arange(40) < 15
    values = random.normal(size=(5, 40)) + 0.5 * women + random.normal(size=40)
    rows = pd.DataFrame(
        {"value": values.ravel(), "woman": np.tile(women, 5).astype(float),
         "patient": np.tile(np.arange(40), 5), "seed": np.repeat(np.arange(5), 40)}
    )  # fmt: skip
    gee = smf.gee("value ~ woman", "patient", rows, cov_struct=sm.cov_struct.Exchangeable())
    mixed = smf.mixedlm("value ~ woman + C(seed)", rows, groups="patient")
    ours = contrast_interval([values[:, women], values[:, ~women]]).estimate
    for model in (gee, mixed):
        assert model.fit().params["woman"] == pytest.approx(ours, abs=1e-6)


@pytest.mark.parametrize(("seeds", "seed_sd"), [(4, 0.0), (4, 0.08), (8, 0.08)])
def test_it_covers_the_truth_where_seeds_or_patients_alone_do_not(seeds, seed_sd):
    random, runs = np.random.default_rng(9000), 400
    covered = {"both": 0, "seeds": 0, "patients": 0}
    for _ in range(runs):
        groups = random.normal(0, 0.3, (2, seeds, 100)) + random.normal(0, seed_sd, (2, seeds, 1))
        groups += random.normal(0, 0.3, (2, 1, 100))  # of each patient, in every seed
        found = contrast_interval(groups)
        covered["both"] += found.low <= 0 <= found.high
        alone = runs_interval(groups[0].mean(1) - groups[1].mean(1), 200)
        covered["seeds"] += alone.low <= 0 <= alone.high
        covered["patients"] += stats.ttest_ind(*groups.mean(1)).pvalue > 0.05
    error = 2 * (0.95 * 0.05 / runs) ** 0.5
    assert covered["both"] / runs >= 0.95 - error
    worst = "patients" if seed_sd else "seeds"
    assert covered[worst] / runs < 0.95 - error
