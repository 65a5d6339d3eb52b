"""First scores of a model: confidence in the label, and accuracy by patient.

They decide models (difficulty, tuning), so they stand apart from the measures of the synthesis.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from medunlearn.cohort.partition import TEST, TRAIN


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


def levels_by_partition(
    logits: NDArray[np.float32], table: pd.DataFrame, forgotten: Collection[int]
) -> dict[str, float]:
    """Accuracy on retain, forget and test set, every patient weighing the same.

    Args:
        logits: Of one model, (samples, classes).
        table: The cohort's.
        forgotten: Patients of the forget set.
    """
    train, forget = table["partition"] == TRAIN, table["patient"].isin(forgotten)
    parts = {
        "retain": train & ~forget,
        "forget": train & forget,
        "test": table["partition"] == TEST,
    }
    return {name: patient_accuracy(logits, table, inside) for name, inside in parts.items()}


def patient_accuracy(
    logits: NDArray[np.float32], table: pd.DataFrame, inside: "pd.Series[bool]"
) -> float:
    """Accuracy on some images, every patient weighing the same; NaN of a model that diverged.

    Args:
        logits: Of one model, (samples, classes).
        table: The cohort's.
        inside: Which of its rows.
    """
    decided = logits[inside.to_numpy()]
    if not np.isfinite(decided).all():
        return float("nan")
    chosen = table[inside]
    right = pd.Series(decided.argmax(axis=1) == chosen["label"], dtype=float)
    return float(right.groupby(chosen["patient"]).mean().mean())
