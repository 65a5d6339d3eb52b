import numpy as np
import pytest

from medunlearn.evaluation.audits.epsilon import (
    distinguish_models,
    epsilon_bound,
    too_few,
    true_positive_rate_at,
)


@pytest.mark.parametrize(
    ("models", "cap", "digits"), [(8, 0.53, 0.005), (64, 2.8, 0.05), (512, 4.9, 0.05)]
)
def test_a_faultless_attack_certifies_no_more_than_the_cap(models, cap, digits):
    assert epsilon_bound(models, 0, models) == pytest.approx(cap, abs=digits)


def test_the_bound_is_below_the_truth_in_most_studies():
    """Randomised response with epsilon 1: TPR e/(1+e), FPR 1/(1+e)."""
    random, rate = np.random.default_rng(0), np.e / (1 + np.e)
    bounds = [
        epsilon_bound(random.binomial(200, rate), random.binomial(200, 1 - rate), 200)
        for _ in range(60)
    ]
    assert np.mean(np.array(bounds) > 1) <= 0.05
    assert np.mean(bounds) > 0.4


def test_rare_but_sure_alarms_count_in_either_direction():
    # 40 of 100 unlearned models are missed, no retrained one is called unlearned; and mirrored
    assert epsilon_bound(60, 0, 100) == pytest.approx(epsilon_bound(100, 40, 100))
    assert epsilon_bound(10, 60, 100) == 0


def test_models_are_distinguished_by_a_threshold_that_other_models_set():
    random = np.random.default_rng(1)
    far, note = distinguish_models(random.normal(-8, 1, 128), random.normal(size=128))
    assert far == pytest.approx(epsilon_bound(64, 0, 64))
    assert note == "at most 2.82 can be certified"
    # whatever the first half looks like, only the second is counted
    fading = np.concatenate([random.normal(-8, 1, 64), random.normal(size=64)])
    for ours in (fading, random.normal(size=128)):
        assert distinguish_models(ours, random.normal(size=128))[0] < 0.2


def test_few_models_or_a_diverged_one_certify_nothing_and_say_so():
    few, note = distinguish_models(np.zeros(127), np.ones(127))
    assert np.isnan(few)
    assert "63 models a side to count, at least 64 needed; cap 2.8" in note
    lost, note = distinguish_models(np.full(128, np.nan), np.zeros(128))
    assert np.isnan(lost)
    assert "blown up" in note


def test_a_true_positive_rate_is_at_the_threshold_of_the_false_positive_rate():
    others, weights = np.arange(1000.0), np.full(1000, 1 / 1000)
    members = np.array([989.0, 989.5, 990.0, 2000.0])
    # 990 ... 999 are the ten that may exceed 989
    assert true_positive_rate_at(0.01, members, others, weights) == 0.75


@pytest.mark.parametrize(
    ("others", "models", "reason"),
    [(999, 64, "10.0 false positives"), (1000, 63, "63 models a side"), (500, 8, "; 8 models"),
     (1000, 64, "")],
)  # fmt: skip
def test_it_is_not_estimable_with_few_non_members_or_models(others, models, reason):
    found = too_few(np.full(others, 1 / others), 0.01, models)
    assert reason in found
    assert bool(found) == bool(reason)
