"""How sure a model is of an image's label: the score of difficulty and of every attack."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp


def label_confidence(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logit-scaled confidence log(p_y / (1 - p_y)), in double precision and from the logits.

    Equal to z_y - logsumexp(z of the other classes): a probability would saturate at 1, where the
    members of a training set are.

    Source: Carlini et al., Membership Inference Attacks From First Principles, S&P 2022, sec. V.

    Args:
        logits: (..., images, classes).
        labels: Class codes, (images,).

    Returns:
        (..., images).
    """
    scores = np.array(logits, dtype=np.float64)
    rows = np.arange(len(labels))
    own = scores[..., rows, labels].copy()
    scores[..., rows, labels] = -np.inf
    confidence: NDArray[np.float64] = own - logsumexp(scores, axis=-1)
    return confidence
