import numpy as np
import pytest
from scipy import stats

from medunlearn.statistics.slopes import runs_slope_interval, slope_interval

SIZES = (0.05, 0.1, 0.2, 0.3)


def test_a_slope_is_the_change_per_doubling():
    level = np.arange(12.0).reshape(3, 4)
    values = [level - 0.02 * doublings + 0.5 for doublings in (0, 1, 2)]
    found = slope_interval(values, (0.05, 0.1, 0.2))
    assert found.estimate == pytest.approx(-0.02)
    assert (found.runs, found.patients) == (3, 4)


def test_it_is_the_least_squares_line_through_the_means():
    values = list(np.random.default_rng(0).normal(size=(4, 5, 30)))
    line = stats.linregress(np.log2(SIZES), [each.mean() for each in values])
    found, wider = slope_interval(values, SIZES), slope_interval(values, SIZES, level=0.99)
    assert found.estimate == pytest.approx(line.slope)
    assert wider.low < found.low
    means = np.array([each.mean(axis=1) for each in values])
    assert runs_slope_interval(means, SIZES, 30).estimate == pytest.approx(line.slope)


def test_its_spread_is_that_of_the_slopes_of_seeds_and_patients():
    """A patient who is hard at every size, and a seed that is good at every size, cost nothing."""
    random = np.random.default_rng(1)
    values = list(random.normal(size=(4, 5, 30)))
    shifted = [each + np.arange(30) + 7 * np.arange(5)[:, None] for each in values]
    one, other = slope_interval(values, SIZES), slope_interval(shifted, SIZES)
    assert (one.low, one.df) == (pytest.approx(other.low), pytest.approx(other.df))


def test_runs_with_draws_of_their_own_vary_by_their_slopes():
    means = np.random.default_rng(2).normal(size=(4, 6))
    slopes = [stats.linregress(np.log2(SIZES), seed).slope for seed in means.T]
    low, high = stats.t.interval(0.9, 5, np.mean(slopes), stats.sem(slopes))
    found = runs_slope_interval(means, SIZES, 50, level=0.9)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.df, found.patients) == (5, 50)
    assert runs_slope_interval(means, SIZES).patients == 0


def test_one_seed_has_no_limits():
    assert np.isnan(slope_interval([np.ones((1, 5)), np.eye(5)[:1]], (0.1, 0.2)).low)
    assert np.isnan(runs_slope_interval(np.ones((2, 1)), (0.1, 0.2), 9).low)


@pytest.mark.parametrize("sizes", [(0.1, 0.1), (0.0, 0.1), (0.1,), (0.1, 0.2, 0.3)])
def test_sizes_that_make_no_line_are_refused(sizes):
    with pytest.raises(ValueError, match=r"forget sizes are \[0.*2 positive sizes"):
        slope_interval([np.zeros((3, 4))] * 2, sizes)
    with pytest.raises(ValueError, match="two of them different"):
        runs_slope_interval(np.zeros((2, 3)), sizes, 4)


def test_other_patients_at_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\[\(3, 4\), \(3, 5\)\]"):
        slope_interval([np.zeros((3, 4)), np.zeros((3, 5))], (0.1, 0.2))


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
