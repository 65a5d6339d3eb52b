import numpy as np
import pytest
from scipy.stats import norm

from medunlearn.evaluation.audits.forgetting_quality import leave_pair_out, told_apart
from medunlearn.evaluation.audits.seed_pairs import PairMean, excess_interval


def gaussians(values):
    return values.mean(axis=0), values.std(axis=0, ddof=1)


def ranked(first, second, *fits):
    """Chance that the first looks more unlearned than the second, models in the last two axes."""
    (mean_u, sd_u), (mean_r, sd_r) = fits
    ours, theirs = (
        norm.logpdf(x, mean_u, sd_u) - norm.logpdf(x, mean_r, sd_r) for x in (first, second)
    )
    return (ours > theirs).mean()


def leave_one_out(ours, theirs):
    """Each model scored by a fit without it, and ranked against scores of other fits."""
    scores = []
    for k in range(len(ours)):
        for kind, values in enumerate((ours, theirs)):
            kept = [np.delete(x, k, 0) if i == kind else x for i, x in enumerate((ours, theirs))]
            (mean_u, sd_u), (mean_r, sd_r) = map(gaussians, kept)
            x = values[k]
            scores.append((kind, norm.logpdf(x, mean_u, sd_u) - norm.logpdf(x, mean_r, sd_r)))
    first, second = (np.array([s for kind, s in scores if kind == k]) for k in (0, 1))
    return (first[:, None] > second[None]).mean()


def test_where_there_is_nothing_to_tell_it_is_one_half_and_leaving_out_less_is_not():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(size=(2, 8, 4000))
    assert leave_pair_out(ours, theirs, same_seeds=False).mean() == pytest.approx(0.5, abs=0.01)
    fresh = np.nanmean(leave_pair_out(ours, theirs, same_seeds=True))
    assert fresh == pytest.approx(0.5, abs=0.01)
    assert leave_one_out(ours, theirs) == pytest.approx(0.40, abs=0.01)
    fits = gaussians(ours), gaussians(theirs)
    resubstituted = ranked(ours[:, None], theirs[None], *fits)
    assert resubstituted == pytest.approx(0.66, abs=0.01)


def test_models_of_one_seed_resemble_each_other_and_both_seeds_must_be_left_out():
    random = np.random.default_rng(1)
    start = random.normal(size=(8, 4000))
    ours, theirs = 0.5**0.5 * (start + random.normal(size=(2, 8, 4000)))
    found = np.nanmean(leave_pair_out(ours, theirs, same_seeds=True))
    assert found == pytest.approx(0.5, abs=0.01)
    assert leave_pair_out(ours, theirs, same_seeds=False).mean() < 0.45


@pytest.mark.parametrize("same_seeds", [False, True])
def test_folds_are_what_they_say(same_seeds):
    random = np.random.default_rng(2)
    ours, theirs = random.normal(0, 1, (6, 40)), random.normal(1, 2, (6, 40))
    found = leave_pair_out(ours, theirs, same_seeds=same_seeds)
    for i, j in ((0, 3), (4, 1), (5, 5)):
        if same_seeds and i == j:
            assert np.isnan(found[i, j]).all()
            continue
        out = ([i, j], [i, j]) if same_seeds else ([i], [j])
        fits = [gaussians(np.delete(x, o, 0)) for x, o in zip((ours, theirs), out, strict=True)]
        (mean_u, sd_u), (mean_r, sd_r) = fits
        first, second = (
            norm.logpdf(x, mean_u, sd_u) - norm.logpdf(x, mean_r, sd_r)
            for x in (ours[i], theirs[j])
        )
        assert list(found[i, j]) == list((first > second).astype(float))


@pytest.mark.parametrize("shift", [1.0, -2.0])
def test_separated_normal_distributions_are_told_apart_as_their_overlap_says(shift):
    random = np.random.default_rng(3)
    ours, theirs = random.normal(shift, 1, (50, 300)), random.normal(0, 1, (50, 300))
    expected = norm.cdf(abs(shift) / 2**0.5)
    for same in (True, False):
        found = np.nanmean(leave_pair_out(ours, theirs, same_seeds=same))
        assert found == pytest.approx(expected, abs=0.015)


def test_a_difference_in_spread_alone_is_seen():
    random = np.random.default_rng(4)
    ours, theirs = random.normal(0, 4, (30, 200)), random.normal(0, 0.5, (30, 200))
    assert np.nanmean(leave_pair_out(ours, theirs, same_seeds=True)) > 0.85


def test_identical_models_tie():
    values = np.random.default_rng(5).normal(size=(6, 20))
    assert np.nanmean(leave_pair_out(values, values, same_seeds=True)) == 0.5
    same = np.ones((6, 20))
    assert (leave_pair_out(same, same, same_seeds=False) == 0.5).all()


def test_too_few_models_or_one_that_blew_up_tell_nothing():
    values = np.random.default_rng(6).normal(size=(2, 3, 5))
    assert np.isnan(leave_pair_out(*values, same_seeds=True)).all()
    assert np.isfinite(leave_pair_out(*values, same_seeds=False)).all()
    ours, theirs = np.random.default_rng(6).normal(size=(2, 6, 5))
    ours[2, 0] = np.nan
    found = told_apart(ours, theirs)
    assert np.isnan(found.mean[0])
    assert np.isfinite(found.mean[1:]).all()


def test_in_a_study_both_seeds_of_a_pair_are_left_out():
    ours, theirs = np.random.default_rng(9).normal(size=(2, 6, 30))
    pairs = leave_pair_out(ours, theirs, same_seeds=True)
    assert told_apart(ours, theirs).mean == pytest.approx(
        pairs[~np.eye(6, dtype=bool)].mean(axis=0)
    )


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
        found = told_apart(*study(random, shift))
        half = PairMean(np.full(40, 0.5), np.full((8, 40), 0.5))
        interval = excess_interval(found, half)
        covered += interval.low <= truth - 0.5 <= interval.high
    return covered / runs


def test_intervals_cover_one_half_where_there_is_nothing_to_tell():
    assert covering(0, 0.5) >= 0.92


def test_intervals_cover_what_there_is_to_tell():
    random = np.random.default_rng(8)
    truth = np.mean([told_apart(*study(random, 1)).mean.mean() for _ in range(100)])
    assert truth > 0.6
    assert covering(1, truth) >= 0.86
