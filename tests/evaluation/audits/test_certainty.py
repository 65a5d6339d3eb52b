import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.audits.certainty import (
    distinguish_models,
    epsilon_bound,
    true_positive_rate_at,
)
from medunlearn.evaluation.audits.matching import match


def alike(members, others):
    tables = [
        pd.DataFrame({"sex": "F", "label": 0, "difficulty": "easy"}, index=range(a, a + n))
        for a, n in ((0, members), (members, others))
    ]
    return match(*tables)


@pytest.mark.parametrize(("models", "cap"), [(8, 0.53), (64, 2.8), (512, 4.9)])
def test_a_faultless_attack_certifies_no_more_than_the_cap(models, cap):
    found = epsilon_bound(models, 0, models)
    assert found.cap == pytest.approx(cap, abs=0.05 if models > 8 else 0.005)
    if models >= 64:
        assert found.value == pytest.approx(found.cap)


def test_few_models_certify_nothing_and_say_so():
    found = epsilon_bound(63, 0, 63)
    assert np.isnan(found.value)
    assert "63 models a side to count, at least 64 needed" in found.note
    assert np.isfinite(epsilon_bound(64, 0, 64).value)


def test_the_bound_is_below_the_truth_in_most_studies():
    """Randomised response with epsilon 1: TPR e/(1+e), FPR 1/(1+e)."""
    random, rate = np.random.default_rng(0), np.e / (1 + np.e)
    bounds = [
        epsilon_bound(random.binomial(200, rate), random.binomial(200, 1 - rate), 200).value
        for _ in range(60)
    ]
    assert np.mean(np.array(bounds) > 1) <= 0.05
    assert np.mean(bounds) > 0.4


def test_rare_but_sure_alarms_count_in_either_direction():
    # 40 of 100 unlearned models are missed, no retrained one is called unlearned; and mirrored
    assert epsilon_bound(60, 0, 100).value == pytest.approx(epsilon_bound(100, 40, 100).value)
    assert epsilon_bound(10, 60, 100).value == 0


def test_models_are_told_apart_by_a_threshold_that_other_models_set():
    random = np.random.default_rng(1)
    far = distinguish_models(random.normal(-8, 1, 128), random.normal(size=128))
    assert far.value == pytest.approx(far.cap)
    assert far.cap == pytest.approx(2.8, abs=0.05)
    # whatever the first half looks like, only the second is counted
    fading = np.concatenate([random.normal(-8, 1, 64), random.normal(size=64)])
    assert distinguish_models(fading, random.normal(size=128)).value < 0.2
    same = distinguish_models(random.normal(size=128), random.normal(size=128))
    assert same.value < 0.2
    assert np.isnan(distinguish_models(np.zeros(127), np.ones(127)).value)
    assert "blown up" in distinguish_models(np.full(128, np.nan), np.zeros(128)).note


def test_a_true_positive_rate_is_at_the_threshold_of_the_false_positive_rate():
    others = np.arange(1000.0)
    members = np.array([989.0, 989.5, 990.0, 2000.0])
    found = true_positive_rate_at(alike(4, 1000), members, others, rate=0.01, models=64)
    # 990 ... 999 are the ten that may exceed 989
    assert found.value == 0.75


@pytest.mark.parametrize(
    ("others", "models", "reason"),
    [(999, 64, "10.0 false positives"), (1000, 63, "63 models a side"), (500, 8, "; 8 models")],
)
def test_it_is_not_estimable_with_few_non_members_or_models(others, models, reason):
    found = true_positive_rate_at(
        alike(4, others), np.zeros(4), np.arange(float(others)), rate=0.01, models=models
    )
    assert np.isnan(found.value)
    assert reason in found.note
