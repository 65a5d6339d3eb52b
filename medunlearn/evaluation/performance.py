"""How well a model does on a set of images, every patient weighing the same.

Each measure gives one *value per patient* whose mean is the measure: a patient's own mean where
the measure is one (accuracy, Brier score), else a jackknife pseudo-value. Levels, gaps and
differences between the sexes, and their intervals, are all means of such values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from medunlearn.evaluation.subsets import Subset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Predicted:
    """A model's probabilities on a subset, (n, classes), and its threshold for being positive."""

    probabilities: Floats
    threshold: float

    @cached_property
    def decisions(self) -> Ints:
        """The most probable class, (n,)."""
        decided: Ints = self.probabilities.argmax(axis=1)
        return decided


def probabilities(logits: NDArray[np.float32]) -> Floats:
    """Softmax in double precision, (n, classes)."""
    result: Floats = softmax(logits.astype(np.float64), axis=1)
    return result


def accuracy(subset: Subset, predicted: Predicted) -> Floats:
    """Share of right decisions."""
    return subset.total((predicted.decisions == subset.labels).astype(float))


def brier(subset: Subset, predicted: Predicted) -> Floats:
    """Brier score: squared distance of the probabilities from the label, summed over classes."""
    truth = np.eye(predicted.probabilities.shape[1])[subset.labels]
    return subset.total(((predicted.probabilities - truth) ** 2).sum(axis=1))


def probability(subset: Subset, predicted: Predicted) -> Floats:
    """Probability given to the true class."""
    return subset.total(_of_label(subset, predicted))


def balanced_accuracy(subset: Subset, predicted: Predicted) -> Floats:
    """Recall averaged over the subset's strata, as pseudo-values."""
    return _balanced(subset, (predicted.decisions == subset.labels).astype(float))


def balanced_probability(subset: Subset, predicted: Predicted) -> Floats:
    """Probability given to the true class, averaged over the subset's strata, as pseudo-values."""
    return _balanced(subset, _of_label(subset, predicted))


def true_positive_rate(subset: Subset, predicted: Predicted) -> Floats:
    """Share of images with a finding that exceed the threshold, as pseudo-values."""
    return _rate(subset, predicted, subset.labels != subset.reference)


def false_positive_rate(subset: Subset, predicted: Predicted) -> Floats:
    """Share of images of the reference class that exceed the threshold, as pseudo-values."""
    return _rate(subset, predicted, subset.labels == subset.reference)


def auroc(subset: Subset, predicted: Predicted) -> Floats:
    """Macro one-vs-rest area under the ROC curve, as pseudo-values.

    NaN where a class is absent, or held by one patient only: an average over fewer classes is
    another measure.
    """
    classes = predicted.probabilities.shape[1]
    # with two classes both areas are the same number
    scored = range(classes) if classes > 2 else [1]
    each = [_area(subset, predicted.probabilities[:, c], subset.labels == c) for c in scored]
    return _average(each)


MEASURES: dict[str, Callable[[Subset, Predicted], Floats]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auroc": auroc,
    "true_positive_rate": true_positive_rate,
    "false_positive_rate": false_positive_rate,
    "brier": brier,
    "probability": probability,
    "balanced_probability": balanced_probability,
}
"""Patient values, (patients,), of a model on a subset."""


def calibration_error(subset: Subset, predicted: Predicted) -> float:
    """Expected calibration error of the decision: |accuracy - confidence| over equal-width bins."""
    parts = calibration_parts(subset, predicted)
    return float(np.abs(parts.sum(axis=0)).sum() / len(parts))


def calibration_parts(subset: Subset, predicted: Predicted, bins: int = 10) -> Floats:
    """What each patient adds to each bin, (patients, bins): weighted decisions minus confidence."""
    top = predicted.probabilities.max(axis=1)
    excess = subset.weights * ((predicted.decisions == subset.labels) - top)
    which = np.minimum((top * bins).astype(int), bins - 1)
    cells, count = subset.codes * bins + which, len(subset.patient_ids)
    return np.bincount(cells, excess, count * bins).reshape(count, bins).astype(np.float64)


def threshold_at(subset: Subset, scores: Floats, rate: float = 0.20) -> float:
    """The lowest threshold at which at most this share of the reference class exceeds it.

    Args:
        subset: Images of ``validation_evaluation``.
        scores: 1 - p(reference class), (n,).
        rate: False positive rate, patients weighing the same.
    """
    negative = subset.labels == subset.reference
    order = np.argsort(scores[negative], kind="stable")[::-1]
    ordered, weights = scores[negative][order], subset.weights[negative][order]
    above = np.cumsum(weights) / weights.sum()
    return float(ordered[np.searchsorted(above, rate, side="right")])


def _of_label(subset: Subset, predicted: Predicted) -> Floats:
    chosen: Floats = predicted.probabilities[np.arange(len(subset.labels)), subset.labels]
    return chosen


def _balanced(subset: Subset, values: Floats) -> Floats:
    """Mean of an image-wise value over strata that weigh the same, as pseudo-values."""
    each = [
        _ratio(subset.total(values * inside), subset.total(inside.astype(float)))
        for inside in (subset.strata == stratum for stratum in np.unique(subset.strata))
    ]
    return _average(each)


def _average(each: Sequence[tuple[float, Floats]]) -> Floats:
    """Pseudo-values of a mean of measures, from each with everyone and without each patient."""
    return pseudo_values(*(np.mean(parts, axis=0) for parts in zip(*each, strict=True)))


def _rate(subset: Subset, predicted: Predicted, inside: NDArray[np.bool_]) -> Floats:
    flagged = 1 - predicted.probabilities[:, subset.reference] > predicted.threshold
    hits, cases = ((inside & each).astype(float) for each in (flagged, inside))
    return pseudo_values(*_ratio(subset.total(hits), subset.total(cases)))


def _ratio(part: Floats, whole: Floats) -> tuple[float, Floats]:
    """sum(part) / sum(whole), and the same without each patient in turn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        everyone = np.float64(part.sum()) / whole.sum()
        without = (part.sum() - part) / (whole.sum() - whole)
    return float(everyone), without


def _area(subset: Subset, scores: Floats, positive: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Weighted area under the ROC curve, and the same without each patient in turn.

    A pair of a positive and a negative image counts the product of their weights, a tie half.
    """
    weights, won = subset.weights, np.zeros(len(scores))
    won[positive] = weight_below(scores[positive], scores[~positive], weights[~positive])
    beaten = weight_below(scores[~positive], scores[positive], weights[positive])
    won[~positive] = weights[positive].sum() - beaten
    both = weights * won  # for each image: the weight of the pairs it is in and the positive wins
    left, right = subset.pairs
    inside = positive[left] & ~positive[right]
    left, right = left[inside], right[inside]
    score = (scores[left] > scores[right]) + 0.5 * (scores[left] == scores[right])
    patients = len(subset.patient_ids)
    own = np.bincount(subset.codes[left], weights[left] * weights[right] * score, patients)
    positives = subset.total(positive.astype(float))
    negatives = subset.total((~positive).astype(float))
    lost = np.bincount(subset.codes, both, patients) - own
    pairs = both[positive].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        area = pairs / (positives.sum() * negatives.sum())
        without = (pairs - lost) / ((positives.sum() - positives) * (negatives.sum() - negatives))
    return float(area), without


def weight_below(scores: Floats, others: Floats, weights: Floats) -> Floats:
    """Weight of the others that each score exceeds, ties counting half: placements by DeLong.

    Args:
        scores: (n,).
        others: Scores of the other side, (m,).
        weights: Of the others, (m,).
    """
    order = np.argsort(others, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(weights[order])])
    left, right = (np.searchsorted(others[order], scores, side=side) for side in ("left", "right"))
    below: Floats = (reached[left] + reached[right]) / 2
    return below


def pseudo_values(everyone: float | Floats, without: Floats) -> Floats:
    """Jackknife pseudo-values n theta - (n - 1) theta_without_j; their mean is theta to O(1/n^2).

    The mean is shifted to theta itself, so that a reported level is the measure as defined.

    Args:
        everyone: theta, of any shape.
        without: theta_without_j, with the n patients on a further, last axis.
    """
    theta, count = np.asarray(everyone)[..., None], without.shape[-1]
    values = count * theta - (count - 1) * without
    shifted: Floats = values - values.mean(axis=-1, keepdims=True) + theta
    return shifted
