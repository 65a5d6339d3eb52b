import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm

from medunlearn.evaluation.audits.pairs import (
    PairMean,
    average_pairs,
    distinguish_seeds,
    excess_interval,
    jensen_shannon,
    leave_pair_out,
    pair_decisions,
    pair_divergence,
    pair_mean,
)


def some(random, *shape):
    return random.dirichlet(np.ones(4), shape)


def test_divergence_is_that_of_the_library_in_nats():
    random = np.random.default_rng(0)
    p, q = some(random, 30), some(random, 30)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, axis=1) ** 2)


def test_pairs_are_ours_by_theirs():
    random = np.random.default_rng(1)
    ours, theirs = some(random, 3, 5), some(random, 3, 5)
    found = pair_divergence(ours, theirs)
    assert found[0, 2] == pytest.approx(jensen_shannon(ours[0], theirs[2]))
    equal = pair_decisions(ours, theirs)
    assert list(equal[2, 1]) == list(ours[2].argmax(axis=1) == theirs[1].argmax(axis=1))


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
    pairs[np.arange(5), np.arange(5)] = np.nan  # pairs of one seed are never read
    found = average_pairs(pairs)
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
    assert (found.seeds, found.patients) == (2, 3)
    assert np.isnan(excess_interval(average_pairs(pairs[:1, :1]), nothing(pairs[:1, :1])).estimate)


def gaussians(values):
    return values.mean(axis=0), values.std(axis=0, ddof=1)


def ratio(x, unlearned, retrained):
    """How much more likely x is under a Gaussian of unlearned models than of retrained ones."""
    return norm.logpdf(x, *gaussians(unlearned)) - norm.logpdf(x, *gaussians(retrained))


def test_where_there_is_nothing_to_tell_it_is_one_half_also_if_models_of_one_seed_are_alike():
    random = np.random.default_rng(1)
    for shared in (0, 1):
        start = shared * random.normal(size=(8, 4000))
        ours, theirs = start + random.normal(size=(2, 8, 4000))
        assert pair_mean(leave_pair_out(ours, theirs)).mean() == pytest.approx(0.5, abs=0.01)


def test_folds_are_without_both_seeds_of_a_pair():
    random = np.random.default_rng(2)
    ours, theirs = random.normal(0, 1, (6, 40)), random.normal(1, 2, (6, 40))
    found = leave_pair_out(ours, theirs)
    for i, j in ((0, 3), (4, 1)):
        kept = [np.delete(x, [i, j], 0) for x in (ours, theirs)]
        assert list(found[i, j]) == list(ratio(ours[i], *kept) > ratio(theirs[j], *kept))


@pytest.mark.parametrize("shift", [1.0, -2.0])
def test_separated_normal_distributions_are_distinguished_as_their_overlap_says(shift):
    random = np.random.default_rng(3)
    ours, theirs = random.normal(shift, 1, (50, 300)), random.normal(0, 1, (50, 300))
    expected = norm.cdf(abs(shift) / 2**0.5)
    assert np.nanmean(leave_pair_out(ours, theirs)) == pytest.approx(expected, abs=0.015)


def test_too_few_models_or_a_diverged_one_tell_nothing():
    ours, theirs = np.random.default_rng(6).normal(size=(2, 6, 5))
    assert np.isnan(leave_pair_out(ours[:3], theirs[:3])).all()
    ours[2, 0] = np.nan
    found = distinguish_seeds(ours, theirs)
    assert np.isnan(found.mean[0])
    assert np.isfinite(found.mean[1:]).all()


def study(random, shift, *, seeds=8, patients=40):
    """Seeds of which both kinds share their start; every model is a little surer, or less."""
    start = random.normal(size=(seeds, patients))
    kinds = [
        0.5 * start + random.normal(size=(seeds, patients)) + random.normal(0, 0.5, (seeds, 1))
        for _ in range(2)
    ]
    return kinds[0] + shift, kinds[1]


def covering(shift, truth, runs=100):
    random, covered = np.random.default_rng(7), 0
    for _ in range(runs):
        found = distinguish_seeds(*study(random, shift))
        half = PairMean(np.full(40, 0.5), np.full((8, 40), 0.5))
        interval = excess_interval(found, half)
        covered += interval.low <= truth - 0.5 <= interval.high
    return covered / runs


def test_intervals_cover_one_half_where_there_is_nothing_to_tell():
    assert covering(0, 0.5) >= 0.92


def test_intervals_cover_what_there_is_to_tell():
    random = np.random.default_rng(8)
    truth = np.mean([distinguish_seeds(*study(random, 1)).mean.mean() for _ in range(100)])
    assert truth > 0.6
    assert covering(1, truth) >= 0.86


def test_identical_models_tie():
    values = np.random.default_rng(5).normal(size=(6, 20))
    for same in (values, np.ones((6, 20))):
        assert np.nanmean(leave_pair_out(same, same)) == 0.5


def test_a_difference_in_spread_alone_is_seen():
    random = np.random.default_rng(4)
    ours, theirs = random.normal(0, 4, (30, 200)), random.normal(0, 0.5, (30, 200))
    assert pair_mean(leave_pair_out(ours, theirs)).mean() > 0.85


def test_a_study_takes_the_mean_over_pairs_of_different_seeds():
    ours, theirs = np.random.default_rng(9).normal(size=(2, 6, 30))
    pairs = leave_pair_out(ours, theirs)[~np.eye(6, dtype=bool)]
    assert distinguish_seeds(ours, theirs).mean == pytest.approx(pairs.mean(axis=0))
