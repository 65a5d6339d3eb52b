"""How sure a model is of a label: what membership attacks and forgetting quality compare."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]


def label_confidence(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """Logit-scaled confidence log(p_y / (1 - p_y)), in nats.

    Taken from the logits, as z_y - log sum_{c != y} exp(z_c): by way of probabilities it would be
    infinite wherever the softmax saturates. Source: the logit scaling phi(p) = log(p / (1 - p)) of
    Carlini et al. 2022, "Membership Inference Attacks From First Principles".

    Args:
        logits: (..., samples, classes), at least two classes.
        labels: Class codes, (samples,).

    Returns:
        (..., samples).
    """
    values = logits.astype(np.float64)
    own = np.arange(values.shape[-1]) == labels[:, None]
    others = logsumexp(np.where(own, -np.inf, values), axis=-1)
    confidence: Floats = _of_label(values, labels) - others
    return confidence


def label_log_probability(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """Log-probability of the label, in nats: z_y - log sum_c exp(z_c).

    Args:
        logits: (..., samples, classes).
        labels: Class codes, (samples,).

    Returns:
        (..., samples).
    """
    values = logits.astype(np.float64)
    logarithm: Floats = _of_label(values, labels) - logsumexp(values, axis=-1)
    return logarithm


def _of_label(values: Floats, labels: NDArray[np.integer]) -> Floats:
    chosen: Floats = values[..., np.arange(len(labels)), labels]
    return chosen
