import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from medunlearn.evaluation.audits.agreement import (
    PairMean,
    average_pairs,
    excess_interval,
    jensen_shannon,
    pair_decisions,
    pair_divergence,
    pair_mean,
    without_same_seed,
)


def some(random, *shape):
    return random.dirichlet(np.ones(4), shape)


def test_divergence_is_that_of_the_library_in_nats():
    random = np.random.default_rng(0)
    p, q = some(random, 30), some(random, 30)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, axis=1) ** 2)


def test_pairs_are_ours_by_theirs_and_never_of_one_seed():
    random = np.random.default_rng(1)
    ours, theirs = some(random, 3, 5), some(random, 3, 5)
    found = pair_divergence(ours, theirs)
    assert found[0, 2] == pytest.approx(jensen_shannon(ours[0], theirs[2]))
    equal = pair_decisions(ours, theirs)
    assert list(equal[2, 1]) == list(ours[2].argmax(axis=1) == theirs[1].argmax(axis=1))
    for pairs in (found, equal):
        assert np.isnan(pairs[np.arange(3), np.arange(3)]).all()
        assert np.isfinite(pairs[~np.eye(3, dtype=bool)]).all()


def test_a_diverged_model_agrees_with_nobody():
    random = np.random.default_rng(2)
    ours, theirs = some(random, 2, 5), some(random, 2, 5)
    ours[0] = np.nan
    for pairs in (pair_decisions(ours, theirs), pair_divergence(ours, theirs)):
        assert np.isnan(pairs[0, 1]).all()
        assert np.isfinite(pairs[1, 0]).all()


def nothing(pairs):
    """A mean over pairs that is 0 whatever happens."""
    return PairMean(np.zeros(pairs.shape[2]), np.zeros((len(pairs), pairs.shape[2])))


def test_seeds_are_left_out_in_both_roles():
    pairs = np.random.default_rng(0).normal(size=(5, 5, 3))
    found = average_pairs(without_same_seed(pairs))
    different = [pairs[i, j] for i in range(5) for j in range(5) if i != j]
    assert pair_mean(pairs) == pytest.approx(np.mean(different, axis=0))
    for seed in range(5):
        kept = np.delete(np.delete(pairs, seed, axis=0), seed, axis=1)
        expected = 5 * pair_mean(pairs) - 4 * pair_mean(kept)
        assert found.by_seed[seed] == pytest.approx(expected)
    assert found.by_seed.mean(axis=0) == pytest.approx(found.mean)


def simulate(random, *, seeds, left, right, patients=50):
    """Pairs whose models differ by seed on either side, without any effect."""
    shape = (seeds, seeds, patients)
    sides = random.normal(0, left, (seeds, 1, 1)) + random.normal(0, right, (1, seeds, 1))
    own = random.normal(0, 0.5, (1, 1, patients)) + random.normal(0, 0.5, (1, seeds, patients))
    return sides + own + random.normal(0, 0.5, shape)


@pytest.mark.parametrize(("seeds", "left", "right"), [(4, 0.3, 0.3), (8, 0.0, 0.5), (8, 0, 0)])
def test_intervals_cover_the_truth_though_all_pairs_share_models(seeds, left, right):
    random, covered, runs = np.random.default_rng(1), 0, 300
    for _ in range(runs):
        pairs = simulate(random, seeds=seeds, left=left, right=right)
        found = excess_interval(average_pairs(pairs), nothing(pairs))
        covered += found.low <= 0 <= found.high
    assert covered / runs >= 0.95 - 2 * (0.95 * 0.05 / runs) ** 0.5


def test_two_seeds_give_an_estimate_and_no_limits_and_one_gives_nothing():
    pairs = np.arange(12.0).reshape(2, 2, 3)
    found = excess_interval(average_pairs(pairs), nothing(pairs))
    assert found.estimate == pytest.approx((pairs[0, 1] + pairs[1, 0]).mean() / 2)
    assert np.isnan([found.low, found.standard_error]).all()
    assert (found.runs, found.patients) == (2, 3)
    assert np.isnan(excess_interval(average_pairs(pairs[:1, :1]), nothing(pairs[:1, :1])).estimate)
