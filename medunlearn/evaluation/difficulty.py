"""How sure models that never saw a patient are of its images: low where an image is difficult.

Reference models were trained on complementary random halves of the training patients and are
never under test, so no model is judged by what itself finds easy.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.evaluation.scores import label_confidence

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class References:
    """What the reference models say.

    Args:
        logits: (models, samples, classes); models 2k and 2k + 1 saw complementary halves.
        seen: Whether a model was trained on the sample's patient, (models, samples).
        table: The cohort: ``sample``, ``patient``, ``partition``, ``sex``, ``label``.
    """

    logits: NDArray[np.float32]
    seen: NDArray[np.bool_]
    table: pd.DataFrame

    def confidence(self, models: NDArray[np.int64] | slice = slice(None)) -> Floats:
        """Mean logit-scaled confidence, (samples,), over those that did not see the patient.

        Args:
            models: Which reference models to ask; outside training nobody saw the patient, and all
                of these count. NaN where all of them saw it.
        """
        labels = self.table["label"].to_numpy(np.int64)
        return _mean(label_confidence(self.logits[models], labels), ~self.seen[models])

    def memorisation(self) -> Floats:
        """P(correct | seen) - P(correct | not seen), (samples,); NaN outside training.

        Source: Feldman and Zhang, What Neural Networks Memorize and Why, NeurIPS 2020, eq. 1.
        """
        right = self.logits.argmax(axis=-1) == self.table["label"].to_numpy()
        return _mean(right, self.seen) - _mean(right, ~self.seen)


def patient_confidence(confidence: Floats, table: pd.DataFrame) -> pd.Series:
    """Mean over a patient's images, by patient: what easy and hard forget sets are drawn from."""
    return pd.Series(confidence).groupby(table["patient"].to_numpy()).mean()


def _mean(values: Floats | NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Floats:
    """Mean over models, of those chosen for each sample; NaN where none is."""
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(chosen, values, 0).sum(axis=0) / chosen.sum(axis=0)
    return mean
