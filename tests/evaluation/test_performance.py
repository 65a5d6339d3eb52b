from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from medunlearn.evaluation.performance import (
    MEASURES,
    Predicted,
    auroc,
    calibration_error,
    threshold_at,
    weight_below,
)
from medunlearn.evaluation.subsets import Subset


def keep(subset, predicted, inside):
    parts = {n: getattr(subset, n)[inside] for n in ("samples", "patients", "labels", "strata")}
    return replace(subset, **parts), replace(
        predicted, probabilities=predicted.probabilities[inside]
    )


def areas(subset, predicted, weights):
    classes = predicted.probabilities.shape[1]
    scored = range(classes) if classes > 2 else [1]
    return np.mean(
        [
            metrics.roc_auc_score(
                subset.labels == c, predicted.probabilities[:, c], sample_weight=weights
            )
            for c in scored
        ]
    )


def test_measures_agree_with_scikit_learn_under_patient_weights(case):
    subset, predicted = case
    labels, decided, weights = subset.labels, predicted.decisions, subset.weights
    positive, score = labels != 0, 1 - predicted.probabilities[:, 0]
    flagged = score > predicted.threshold
    of_label = predicted.probabilities[np.arange(len(labels)), labels]
    expected = {
        "accuracy": metrics.accuracy_score(labels, decided, sample_weight=weights),
        "balanced_accuracy": metrics.balanced_accuracy_score(
            labels, decided, sample_weight=weights
        ),
        "auroc": areas(subset, predicted, weights),
        "true_positive_rate": metrics.recall_score(positive, flagged, sample_weight=weights),
        "false_positive_rate": np.average(flagged[~positive], weights=weights[~positive]),
        "brier": np.average(
            ((predicted.probabilities - np.eye(predicted.probabilities.shape[1])[labels]) ** 2).sum(
                1
            ),
            weights=weights,
        ),
        "calibration_error": calibration_error(subset, predicted),
        "probability": np.average(of_label, weights=weights),
        "balanced_probability": np.mean(
            [
                np.average(of_label[labels == c], weights=weights[labels == c])
                for c in np.unique(labels)
            ]
        ),
    }
    assert set(expected) == set(MEASURES)
    for name, measure in MEASURES.items():
        assert measure(subset, predicted).mean() == pytest.approx(expected[name]), name


@pytest.mark.parametrize(
    "name", ["balanced_accuracy", "true_positive_rate", "false_positive_rate", "auroc"]
)
def test_pseudo_values_are_those_of_leaving_each_patient_out(case, name):
    """Against doing just that; a common shift makes their mean the measure itself."""
    (subset, predicted), measure = case, MEASURES[name]
    everyone, count = measure(subset, predicted).mean(), len(subset.patient_ids)
    slow = np.array(
        [
            count * everyone
            - (count - 1) * measure(*keep(subset, predicted, subset.patients != patient)).mean()
            for patient in subset.patient_ids[:25]
        ]
    )
    shift = slow - measure(subset, predicted)[:25]
    assert np.ptp(shift) < 1e-9
    assert abs(shift.mean()) < 0.01


def test_area_without_skill_is_a_half_with_all_skill_one_and_of_an_absent_class_unknown():
    labels = np.array([0, 0, 1, 1])
    subset = Subset(np.arange(4), np.arange(4), labels, labels, 0)
    truth = np.eye(2)[labels]
    for given, area in ((np.full((4, 2), 0.5), 0.5), (truth, 1), (1 - truth, 0)):
        assert auroc(subset, Predicted(given, 0.5)).mean() == pytest.approx(area)
    assert np.isnan(auroc(subset, Predicted(np.full((4, 3), 1 / 3), 0.5))).all()


def test_pooled_classes_count_as_one_in_balanced_accuracy():
    labels = np.array([0, 0, 1, 2])
    pooled = np.array([0, 0, -1, -1])
    subset = Subset(np.arange(4), np.arange(4), labels, pooled, 0)
    decided = Predicted(np.eye(3)[[0, 0, 1, 0]], 0.5)  # class 1 right, class 2 wrong
    assert MEASURES["balanced_accuracy"](subset, decided).mean() == pytest.approx((1 + 0.5) / 2)


def test_a_class_of_one_patient_has_no_pseudo_values():
    """Without that patient the measure does not exist, so neither does its spread."""
    labels = np.array([0, 0, 1])
    subset = Subset(np.arange(3), np.arange(3), labels, labels, 0)
    decided = Predicted(np.eye(2)[labels], 0.5)
    assert np.isnan(MEASURES["balanced_accuracy"](subset, decided)).any()
    assert np.isnan(auroc(subset, decided)).any()


def test_the_threshold_keeps_its_false_positive_rate(case):
    subset, predicted = case
    score = 1 - predicted.probabilities[:, 0]
    threshold = threshold_at(subset, score, 0.2)
    rate = MEASURES["false_positive_rate"](subset, replace(predicted, threshold=threshold)).mean()
    assert rate <= 0.2
    lower = np.unique(score[score < threshold])[-1]
    assert MEASURES["false_positive_rate"](subset, replace(predicted, threshold=lower)).mean() > 0.2


def test_calibration_of_honest_and_of_overconfident_models():
    random = np.random.default_rng(0)
    p = random.uniform(0.5, 1, 20000)
    labels = (random.random(20000) > p).astype(int)
    subset = Subset(np.arange(20000), np.arange(20000), labels, labels, 0)
    honest = Predicted(np.stack([p, 1 - p], axis=1), 0.5)
    assert calibration_error(subset, honest) < 0.02
    sure = Predicted(np.tile([1.0, 0.0], (20000, 1)), 0.5)
    assert calibration_error(subset, sure) == pytest.approx((labels == 1).mean())


def test_weight_below_counts_a_tie_half():
    below = weight_below(np.array([0.0, 1, 2, 9]), np.array([2.0, 1, 2]), np.array([4.0, 2, 1]))
    assert below.tolist() == [0, 1, 2 + 5 / 2, 7]


def test_accuracy_weighs_patients_and_not_images():
    subset = Subset(np.arange(4), np.array([5, 5, 5, 9]), np.zeros(4, int), np.zeros(4, int), 0)
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    predicted = Predicted(np.array([wrong, wrong, wrong, right]), 0.5)
    assert MEASURES["accuracy"](subset, predicted).tolist() == [0.0, 1.0]
    assert MEASURES["accuracy"](subset, predicted).mean() == 0.5
