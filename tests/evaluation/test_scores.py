import numpy as np
import pytest

from medunlearn.evaluation.scores import label_confidence


def test_confidence_is_the_log_odds_of_the_label():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(50, 4)), random.integers(0, 4, 50)
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p = odds[np.arange(50), labels]
    assert label_confidence(logits, labels) == pytest.approx(np.log(p / (1 - p)))


def test_it_stays_exact_where_the_softmax_saturates():
    logits = np.array([[60.0, -60.0, -60.0], [-60.0, 60.0, 60.0]], dtype=np.float32)
    labels = np.array([0, 0])
    assert label_confidence(logits, labels) == pytest.approx(
        [120 - np.log(2), -120 - np.log(2)], abs=1e-12
    )


def test_models_may_be_stacked():
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(3, 20, 5)), random.integers(0, 5, 20)
    each = np.stack([label_confidence(one, labels) for one in logits])
    assert label_confidence(logits, labels) == pytest.approx(each)
