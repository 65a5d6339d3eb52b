import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.scores import label_confidence, levels_by_partition


def test_confidence_is_the_log_odds_of_the_label():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(50, 4)), random.integers(0, 4, 50)
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p = odds[np.arange(50), labels]
    assert label_confidence(logits, labels) == pytest.approx(np.log(p / (1 - p)))
    stacked = label_confidence(np.stack([logits, 2 * logits]), labels)
    assert stacked[1] == pytest.approx(label_confidence(2 * logits, labels))


def test_it_stays_exact_where_the_softmax_saturates():
    logits = np.array([[60.0, -60.0, -60.0], [-60.0, 60.0, 60.0]], dtype=np.float32)
    labels = np.array([0, 0])
    assert label_confidence(logits, labels) == pytest.approx(
        [120 - np.log(2), -120 - np.log(2)], abs=1e-12
    )


def test_levels_of_a_first_look_weigh_patients_and_not_images():
    table = pd.DataFrame(
        {
            "patient": [0, 0, 0, 1, 2, 3],
            "partition": ["train"] * 5 + ["test"],
            "label": [1, 1, 1, 1, 0, 1],
        }
    )
    logits = np.eye(2, dtype=np.float32)[[1, 0, 0, 1, 1, 1]]
    found = levels_by_partition(logits, table, [0, 1])
    assert found == {"retain": 0, "forget": pytest.approx((1 / 3 + 1) / 2), "test": 1}
    logits[5] = np.nan  # a model that diverged
    assert np.isnan(levels_by_partition(logits, table, [0, 1])["test"])
