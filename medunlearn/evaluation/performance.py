"""How well a model does on a set of images, every patient weighing the same.

Each measure gives one *value per patient* whose mean is the measure: a patient's own mean where
the measure is one (accuracy, Brier score), else a jackknife pseudo-value. Levels, gaps and
differences between the sexes, and their intervals, are all means of such values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from medunlearn.evaluation.subsets import Floats, Ints, Subset

CALIBRATION = "calibration_error"


@dataclass(frozen=True)
class Predicted:
    """A model's probabilities on a subset, (n, classes), and its threshold for being positive."""

    probabilities: Floats
    threshold: float

    @cached_property
    def decisions(self) -> Ints:
        """The most probable class, (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1))


def probabilities(logits: NDArray[np.float32]) -> Floats:
    """Softmax in double precision, (n, classes)."""
    return np.asarray(softmax(logits.astype(np.float64), axis=1))


def right(subset: Subset, predicted: Predicted) -> Floats:
    """Whether the decision about each image is right."""
    return np.asarray((predicted.decisions == subset.labels).astype(np.float64))


def of_label(subset: Subset, predicted: Predicted) -> Floats:
    """Probability given to the true class of each image."""
    return np.asarray(predicted.probabilities[np.arange(len(subset.labels)), subset.labels])


def squared_distance(subset: Subset, predicted: Predicted) -> Floats:
    """Squared distance of the probabilities from the label, summed over classes (Brier score)."""
    truth = np.eye(predicted.probabilities.shape[1])[subset.labels]
    return np.asarray(((predicted.probabilities - truth) ** 2).sum(axis=1))


def auroc(subset: Subset, predicted: Predicted) -> Floats:
    """Macro one-vs-rest area under the ROC curve, as pseudo-values.

    NaN where a class is absent, or held by one patient only: an average over fewer classes is
    another measure.
    """
    classes = predicted.probabilities.shape[1]
    # with two classes both areas are the same number
    scored = range(classes) if classes > 2 else [1]
    each = [_area(subset, predicted.probabilities[:, c], subset.labels == c) for c in scored]
    return pseudo_values(*(np.mean(parts, axis=0) for parts in zip(*each, strict=True)))


MEASURES: dict[str, Callable[[Subset, Predicted], Floats]] = {
    "accuracy": lambda subset, found: subset.total(right(subset, found)),
    "balanced_accuracy": lambda subset, found: balance(subset, right(subset, found)),
    "auroc": auroc,
    "true_positive_rate": lambda subset, found: _flagged(subset, found, positive=True),
    "false_positive_rate": lambda subset, found: _flagged(subset, found, positive=False),
    "brier": lambda subset, found: subset.total(squared_distance(subset, found)),
    "probability": lambda subset, found: subset.total(of_label(subset, found)),
    "balanced_probability": lambda subset, found: balance(subset, of_label(subset, found)),
    CALIBRATION: lambda subset, found: np.array([calibration_error(subset, found)]),
}
"""Patient values, (patients,), of a model on a subset; of calibration one value for all.

Balanced measures average over the subset's strata; rates are the shares, of images with a finding
and of images of the reference class, that exceed the model's threshold.
"""


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


def balance(subset: Subset, values: Floats) -> Floats:
    """Mean of an image-wise value over strata that weigh the same, as pseudo-values."""
    inside = (subset.strata == np.unique(subset.strata)[:, None]).astype(np.float64)
    balanced: Floats = balanced_values(
        subset.total(values * inside)[:, None], subset.total(inside)
    )[0]
    return balanced


def balanced_values(part: Floats, whole: Floats) -> Floats:
    """Pseudo-values of a mean over strata, of models or of differences between two of them.

    The mean of a stratum is a ratio of sums over patients, linear in the values: the differences
    between two models' values give the differences of their pseudo-values.

    Args:
        part: Each patient's weighted sum of the values in each stratum, (strata, seeds, patients).
        whole: Weight of the patient's images in it, (strata, patients).

    Returns:
        (seeds, patients). Strata that none of these patients has are left out.
    """
    present = whole.any(axis=1)
    return pseudo_values(*(x.mean(axis=0) for x in _ratios(part[present], whole[present, None])))


def _flagged(subset: Subset, predicted: Predicted, *, positive: bool) -> Floats:
    """Share of images with a finding, or without, that exceed the threshold."""
    inside = (subset.labels != subset.reference) == positive
    flagged = 1 - predicted.probabilities[:, subset.reference] > predicted.threshold
    hits, cases = (subset.total(each.astype(float)) for each in (inside & flagged, inside))
    return pseudo_values(*_ratios(hits, cases))


def _ratios(part: Floats, whole: Floats) -> tuple[Floats, Floats]:
    """sum(part) / sum(whole) over patients, the last axis, and the same without each of them."""
    sums, held = part.sum(axis=-1), whole.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / held, (sums[..., None] - part) / (held[..., None] - whole)


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
    return np.asarray((reached[left] + reached[right]) / 2)


def pseudo_values(everyone: float | Floats, without: Floats) -> Floats:
    """Jackknife pseudo-values n theta - (n - 1) theta_without_j; their mean is theta to O(1/n^2).

    The mean is shifted to theta itself, so that a reported level is the measure as defined.

    Args:
        everyone: theta, of any shape.
        without: theta_without_j, with the n patients on a further, last axis.
    """
    theta, count = np.asarray(everyone)[..., None], without.shape[-1]
    values = count * theta - (count - 1) * without
    return np.asarray(values - values.mean(axis=-1, keepdims=True) + theta)
