import numpy as np
import pytest
from scipy import stats

from medunlearn.statistics.intervals import contrast_interval, runs_interval


def simulate(random, *, seeds, patients, seed_sd=0.02, patient_sd=0.1, noise=0.3):
    """Gaps of two groups with no true difference: patient, seed x group and residual spread."""
    return [
        random.normal(0, patient_sd, patients)
        + random.normal(0, seed_sd, (seeds, 1))
        + random.normal(0, noise, (seeds, patients))
        for _ in range(2)
    ]


def test_the_estimate_is_the_difference_of_means():
    groups = [np.array([[1.0, 2, 3], [2, 3, 4]]), np.array([[0.0, 1], [1, 1]])]
    found = contrast_interval(groups)
    assert found.estimate == pytest.approx(2.5 - 0.75)
    assert (found.runs, found.patients) == (2, 5)
    assert found.low < found.estimate < found.high


def test_components_and_degrees_of_freedom_are_those_of_the_formula():
    """Worked out for 2 seeds x 3 patients, one group."""
    values = np.array([[1.0, 2.0, 6.0], [2.0, 5.0, 5.0]])
    v_s = np.var([3, 4], ddof=1) / 2
    v_p = np.var([1.5, 3.5, 5.5], ddof=1) / 3
    residual = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    v_e = (residual**2).sum() / (1 * 2) / (2 * 3)
    v = max(v_s + v_p - v_e, v_s, v_p)
    df = max(1, v**2 / (v_s**2 / 1 + v_p**2 / 2 + v_e**2 / (1 * 2)))
    found = contrast_interval([values])
    assert found.standard_error == pytest.approx(v**0.5)
    assert found.df == pytest.approx(df)
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, df) * v**0.5)


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


def test_one_seed_or_one_patient_gives_no_limits():
    assert np.isnan(contrast_interval([np.ones((1, 9))]).low)
    assert np.isnan(contrast_interval([np.eye(3), np.ones((3, 1))]).low)


def test_groups_of_different_seeds_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 3\] seeds"):
        contrast_interval([np.zeros((2, 5)), np.zeros((3, 5))])


@pytest.mark.parametrize(("seeds", "seed_sd"), [(4, 0.0), (4, 0.08), (8, 0.08)])
def test_it_covers_the_truth_where_seeds_or_patients_alone_do_not(seeds, seed_sd):
    random = np.random.default_rng(9000)
    covered = {"both": 0, "seeds": 0, "patients": 0}
    runs = 400
    for _ in range(runs):
        groups = simulate(random, seeds=seeds, patients=100, seed_sd=seed_sd, patient_sd=0.3)
        found = contrast_interval(groups)
        covered["both"] += found.low <= 0 <= found.high
        theta = groups[0].mean(1) - groups[1].mean(1)
        alone = runs_interval(theta, 200)
        covered["seeds"] += alone.low <= 0 <= alone.high
        test = stats.ttest_ind(groups[0].mean(0), groups[1].mean(0))
        covered["patients"] += test.pvalue > 0.05
    error = 2 * (0.95 * 0.05 / runs) ** 0.5
    assert covered["both"] / runs >= 0.95 - error
    worst = "patients" if seed_sd else "seeds"
    assert covered[worst] / runs < 0.95 - error


def test_runs_with_draws_of_their_own_vary_by_runs_alone():
    values = np.array([0.1, 0.3, 0.2])
    found = runs_interval(values, 50)
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert np.isnan(runs_interval(values[:1], 50).low)
