"""A first look at one model: accuracy on each partition."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST, TRAIN


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
    """Accuracy on some images, every patient weighing the same; NaN of a model that blew up.

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
