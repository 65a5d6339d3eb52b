import time

import numpy as np
import pytest

from medunlearn.evaluation.performance import Predicted, Subset, calibration_error
from medunlearn.randomness import stream
from medunlearn.statistics import bootstrap
from medunlearn.statistics.bootstrap import crossed_bootstrap


def mean_of(values):
    """The mean over seeds and patients of (seeds, patients)."""

    def statistic(seeds, multiplicities):
        means = multiplicities @ values.T / values.shape[1]
        return np.take_along_axis(means, seeds, axis=1).mean(axis=1)

    return statistic


def interval(values, **settings):
    settings = {"resamples": 4000, "generator": stream("test")} | settings
    return crossed_bootstrap(mean_of(values), *values.shape, **settings)


def test_seeds_and_patients_are_both_resampled():
    """Normal theory: half width 1.96 sd / sqrt(n), with the plug-in variance."""
    random = np.random.default_rng(0)
    seed, patient = random.normal(0, 1, (12, 1)), random.normal(0, 2, 40)
    for values, variance in (
        (seed + np.zeros(40), seed.var() / 12),
        (patient + np.zeros((12, 1)), patient.var() / 40),
        (seed + patient, seed.var() / 12 + patient.var() / 40),
    ):
        low, high = interval(values)
        assert (high - low) / 2 == pytest.approx(1.96 * variance**0.5, rel=0.06)
        assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.1)


def test_a_statistic_gets_seeds_by_number_and_how_often_each_patient_is_drawn():
    def statistic(seeds, multiplicities):
        assert (seeds.shape, multiplicities.shape) == ((50, 3), (50, 40))
        assert set(np.unique(seeds)) == {0, 1, 2}
        assert (multiplicities.sum(axis=1) == 40).all()
        # 1/e are left out, and nobody more often than others
        assert (multiplicities == 0).mean() == pytest.approx(0.37, abs=0.03)
        assert multiplicities.mean(axis=0).max() < 1.6
        return np.arange(50.0)

    crossed_bootstrap(statistic, 3, 40, resamples=50, generator=stream("test"))


def test_the_level_is_the_share_of_resamples_within():
    values = np.random.default_rng(2).normal(size=(8, 60))
    drawn = []

    def kept(seeds, multiplicities):
        drawn.append(mean_of(values)(seeds, multiplicities))
        return drawn[-1]

    settings = {"resamples": 1000, "level": 0.8, "generator": stream("x")}
    low, high = crossed_bootstrap(kept, 8, 60, **settings)
    every = np.concatenate(drawn)
    assert len(every) == 1000
    assert [(every < low).mean(), (every > high).mean()] == pytest.approx([0.1, 0.1], abs=0.002)


@pytest.mark.parametrize("shape", [(20, 1), (1, 30)])
def test_the_same_stream_gives_the_same_limits_and_another_others(shape):
    """Seeds as well as patients are drawn from it."""
    values = np.random.default_rng(3).normal(size=shape) + np.zeros((20, 30))
    one, same = (interval(values, generator=stream("bootstrap", 1)) for _ in range(2))
    assert one == same
    other = interval(values, generator=stream("bootstrap", 2))
    assert max(np.abs(np.subtract(one, other))) > 1e-3  # more than rounding


def test_resamples_come_in_blocks(monkeypatch):
    monkeypatch.setattr(bootstrap, "BLOCK", 100)
    values, counts = np.random.default_rng(4).normal(size=(4, 30)), []

    def statistic(seeds, multiplicities):
        counts.append(len(multiplicities))
        return mean_of(values)(seeds, multiplicities)

    low, high = crossed_bootstrap(statistic, 4, 30, resamples=10, generator=stream("x"))
    assert counts == [3, 3, 3, 1]
    assert low < high


def test_one_seed_or_a_resample_without_a_value_gives_no_limits():
    assert np.isnan(interval(np.ones((1, 20)))).all()
    assert np.isnan(interval(np.ones((5, 1)))).all()

    def statistic(seeds, multiplicities):
        return np.where(multiplicities[:, 0] == 0, np.nan, seeds[:, 0])

    assert np.isnan(crossed_bootstrap(statistic, 4, 9, resamples=99, generator=stream("x"))).all()


@pytest.fixture(scope="module")
def calibrated():
    """8 seeds x 1,500 patients of two images: what each adds to each bin, (patients, bins)."""
    random = np.random.default_rng(5)
    patients = np.repeat(np.arange(1500), 2)
    labels = random.integers(0, 2, 3000)
    subset = Subset(np.arange(3000), patients, labels, labels, 0)
    scores = random.beta(2, 2, (8, 3000))
    predicted = [Predicted(np.column_stack([1 - p, p]), 0.5) for p in scores]
    contributions = []
    for each in predicted:
        top = each.probabilities.max(axis=1)
        bins = np.minimum((top * 10).astype(int), 9)
        excess = (each.decisions == labels) - top
        contributions.append(np.column_stack([subset.total(excess * (bins == b))
                                              for b in range(10)]))  # fmt: skip
    return subset, predicted, contributions


def calibration(contributions):
    def statistic(seeds, multiplicities):
        sums = np.stack([multiplicities @ each for each in contributions], axis=1)
        measures = np.abs(sums).sum(axis=2) / multiplicities.shape[1]
        return np.take_along_axis(measures, seeds, axis=1).mean(axis=1)

    return statistic


def test_multiplicities_give_the_calibration_error_of_patients_drawn_twice(calibrated):
    subset, predicted, contributions = calibrated
    drawn = np.random.default_rng(6).integers(1500, size=1500)
    times = np.bincount(drawn, minlength=1500).astype(float)
    rows = np.concatenate([2 * drawn, 2 * drawn + 1])
    again = Subset(rows, np.tile(np.arange(1500), 2), *[subset.labels[rows]] * 2, 0)
    chosen = [3, 3, 5, 0, 1, 2, 7, 7]
    expected = [calibration_error(again, Predicted(predicted[i].probabilities[rows], 0.5))
                for i in chosen]  # fmt: skip
    found = calibration(contributions)(np.array([chosen]), times[None])
    assert found == pytest.approx(np.mean(expected))


def test_five_hundred_resamples_of_a_calibration_error_take_seconds_at_most(calibrated):
    start = time.process_time()
    low, high = crossed_bootstrap(
        calibration(calibrated[2]), 8, 1500, resamples=500, generator=stream("bootstrap")
    )
    assert time.process_time() - start < 3
    assert 0 < low < high < 1
