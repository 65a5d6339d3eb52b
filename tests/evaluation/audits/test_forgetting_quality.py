import numpy as np
import pytest
from scipy.stats import norm

from medunlearn.evaluation.audits.agreement import PairMean, excess_interval
from medunlearn.evaluation.audits.forgetting_quality import distinguish_seeds, leave_pair_out


def gaussians(values):
    return values.mean(axis=0), values.std(axis=0, ddof=1)


def ratio(x, unlearned, retrained):
    """How much more likely x is under a Gaussian of unlearned models than of retrained ones."""
    return norm.logpdf(x, *gaussians(unlearned)) - norm.logpdf(x, *gaussians(retrained))


def leave_one_out(ours, theirs):
    """Each model scored by a fit without it, and ranked against scores of other fits."""
    first = [ratio(x, np.delete(ours, k, 0), theirs) for k, x in enumerate(ours)]
    second = [ratio(x, ours, np.delete(theirs, k, 0)) for k, x in enumerate(theirs)]
    return (np.array(first)[:, None] > np.array(second)[None]).mean()


def leave_models_out(ours, theirs):
    """Only the two models of a pair left out, not what else has their seeds."""
    wins = [
        ratio(ours[i], np.delete(ours, i, 0), np.delete(theirs, j, 0))
        > ratio(theirs[j], np.delete(ours, i, 0), np.delete(theirs, j, 0))
        for i in range(len(ours))
        for j in range(len(theirs))
    ]
    return np.mean(wins)


def test_where_there_is_nothing_to_tell_it_is_one_half_and_leaving_out_less_is_not():
    ours, theirs = np.random.default_rng(0).normal(size=(2, 8, 4000))
    assert np.nanmean(leave_pair_out(ours, theirs)) == pytest.approx(0.5, abs=0.01)
    assert leave_one_out(ours, theirs) == pytest.approx(0.40, abs=0.01)
    first, second = ratio(ours, ours, theirs), ratio(theirs, ours, theirs)
    resubstituted = (first[:, None] > second[None]).mean()
    assert resubstituted == pytest.approx(0.66, abs=0.01)


def test_models_of_one_seed_resemble_each_other_and_both_seeds_must_be_left_out():
    random = np.random.default_rng(1)
    start = random.normal(size=(8, 4000))
    ours, theirs = 0.5**0.5 * (start + random.normal(size=(2, 8, 4000)))
    assert np.nanmean(leave_pair_out(ours, theirs)) == pytest.approx(0.5, abs=0.01)
    assert leave_models_out(ours, theirs) < 0.45


def test_folds_are_without_both_seeds_of_a_pair():
    random = np.random.default_rng(2)
    ours, theirs = random.normal(0, 1, (6, 40)), random.normal(1, 2, (6, 40))
    found = leave_pair_out(ours, theirs)
    assert np.isnan(found[np.arange(6), np.arange(6)]).all()
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


def test_a_study_takes_the_mean_over_pairs_of_different_seeds():
    ours, theirs = np.random.default_rng(9).normal(size=(2, 6, 30))
    pairs = leave_pair_out(ours, theirs)[~np.eye(6, dtype=bool)]
    assert distinguish_seeds(ours, theirs).mean == pytest.approx(pairs.mean(axis=0))


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
