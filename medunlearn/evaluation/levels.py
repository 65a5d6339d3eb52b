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
    right = pd.Series(logits.argmax(axis=1) == table["label"], index=table.index, dtype=float)
    # a model that has blown up decides nothing
    right = right.where(pd.Series(np.isfinite(logits).all(axis=1), index=table.index))
    train, forget = table["partition"] == TRAIN, table["patient"].isin(forgotten)
    parts = {
        "retain": train & ~forget,
        "forget": train & forget,
        "test": table["partition"] == TEST,
    }
    return {
        name: float(right[inside].groupby(table.loc[inside, "patient"]).mean().mean(skipna=False))
        for name, inside in parts.items()
    }
