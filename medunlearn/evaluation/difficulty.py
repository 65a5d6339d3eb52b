"""How difficult an image is, and how much of it is learnt by heart: from reference models alone.

Reference models were trained on complementary random halves of the training patients and are
never under test, so no model is judged by what itself finds easy.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from medunlearn.cohort.partition import TRAIN
from medunlearn.evaluation.scores import label_confidence
from medunlearn.randomness import stream

STRATA = ("hard", "medium", "easy")
"""Tertiles of difficulty within a label, in ascending confidence."""

RELIABLE = 0.8
"""Split-half reliability below which difficulty carries no verdict."""

SPLITS = 50


@dataclass(frozen=True)
class References:
    """What the reference models say.

    Args:
        logits: (models, samples, classes).
        seen: Whether a model was trained on the sample's patient, (models, samples).
        table: The cohort: ``sample``, ``patient``, ``partition``, ``label``.
    """

    logits: NDArray[np.float32]
    seen: NDArray[np.bool_]
    table: pd.DataFrame

    def difficulty(self) -> pd.DataFrame:
        """Difficulty of every sample.

        Returns:
            One row for each sample: ``sample``; ``confidence_out``, its mean logit-scaled
            confidence over the models that did not see its patient (all of them outside
            training), low where it is hard; ``memorisation``, P(correct | seen) -
            P(correct | not seen), NaN outside training; ``stratum``, the tertile of confidence
            within its label, cut where the training samples of that label are.
        """
        right = self.logits.argmax(axis=-1) == self.table["label"].to_numpy()
        with np.errstate(invalid="ignore"):  # nobody saw what is not in training
            memorisation = _mean(right, self.seen) - _mean(right, ~self.seen)
        confidence = self.confidence()
        return pd.DataFrame(
            {
                "sample": self.table["sample"].to_numpy(),
                "confidence_out": confidence,
                "memorisation": memorisation,
                "stratum": _tertiles(confidence, self.table),
            }
        )

    def confidence(self, models: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
        """Mean logit-scaled confidence over those of some models that did not see the patient."""
        labels = self.table["label"].to_numpy(np.int64)
        with np.errstate(invalid="ignore"):
            return _mean(label_confidence(self.logits[models], labels), ~self.seen[models])

    def reliability(self, partition: str) -> float:
        """Split-half reliability of difficulty over the samples of a partition.

        Pairs of complementary models are split into two halves; the rank correlation r of the two
        difficulties is stepped up to the whole number of models by 2 r / (1 + r) (Spearman 1910,
        Brown 1910), and averaged over random splits.

        Returns:
            At most 1; NaN with fewer than two pairs.
        """
        pairs = len(self.logits) // 2
        if pairs < 2:
            return float("nan")
        inside = (self.table["partition"] == partition).to_numpy()
        shuffle = stream("difficulty", "split-half")
        found = []
        for _ in range(SPLITS):
            order = shuffle.permutation(pairs)
            # with an odd number of pairs one stays out, so that the halves are of one size
            halves = order[: pairs // 2], order[pairs // 2 : 2 * (pairs // 2)]
            models = [np.concatenate([2 * half, 2 * half + 1]) for half in halves]
            both = [self.confidence(half)[inside] for half in models]
            r = float(spearmanr(*both).statistic)
            found.append(2 * r / (1 + r))
        return float(np.mean(found))


def patient_confidence(difficulty: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Mean confidence over a patient's images, by patient: what easy and hard are drawn from."""
    by_sample = difficulty.set_index("sample")["confidence_out"]
    return table["sample"].map(by_sample).groupby(table["patient"]).mean()


def _mean(
    values: NDArray[np.float64] | NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean over models, of those chosen for each sample; NaN where none is."""
    mean: NDArray[np.float64] = np.where(chosen, values, 0).sum(axis=0) / chosen.sum(axis=0)
    return mean


def _tertiles(confidence: NDArray[np.float64], table: pd.DataFrame) -> NDArray[np.object_]:
    labels, training = table["label"].to_numpy(), (table["partition"] == TRAIN).to_numpy()
    strata = np.empty(len(table), dtype=object)
    for label in np.unique(labels):
        mine = labels == label
        cuts = np.quantile(confidence[mine & training], [1 / 3, 2 / 3])
        strata[mine] = np.array(STRATA, dtype=object)[np.searchsorted(cuts, confidence[mine])]
    return strata
