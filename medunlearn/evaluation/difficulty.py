"""How sure models that never saw a patient are of its images: low where an image is difficult.

Reference models were trained on complementary random halves of the training patients and are
never under test, so no model is judged by what itself finds easy.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TRAIN, patient_table
from medunlearn.evaluation.scores import label_confidence
from medunlearn.randomness import stream

Floats = NDArray[np.float64]

STRATA = ("hard", "medium", "easy")
"""Tertiles of difficulty, in ascending confidence."""

RELIABLE = 0.8
"""Split-half reliability below which difficulty carries no verdict."""

SPLITS = 50


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


def measure_difficulty(references: References) -> pd.DataFrame:
    """Difficulty of every image, and the stratum of its patient.

    A stratum holds whole patients, since patients are compared: it is the tertile of a patient's
    mean confidence among the patients with the same rarest label, cut where training patients are.

    Returns:
        One row for each sample: ``sample``; ``confidence_out``, the mean logit-scaled confidence
        over the models that did not see its patient; ``memorisation`` (NaN outside training);
        ``stratum``: hard, medium or easy; ``little_memorised``: whether its patient is in the
        lowest third of the training patients by mean memorisation. Fewer than 64 models rank
        single images poorly by that, so it serves for means over the stratum alone.
    """
    table, confidence = references.table, references.confidence()
    patients = patient_table(table).assign(confidence=patient_confidence(confidence, table))
    trained = patients.index.isin(table.loc[table["partition"] == TRAIN, "patient"])
    stratum = pd.Series("", index=patients.index, dtype=object)
    for label, members in patients.groupby("rarest"):
        known = patients.loc[trained & (patients["rarest"] == label), "confidence"]
        if len(known) < len(STRATA):  # too few with this label to be cut by: cut by all
            known = patients.loc[trained, "confidence"]
        ranks = np.searchsorted(np.quantile(known, [1 / 3, 2 / 3]), members["confidence"])
        stratum[members.index] = np.array(STRATA, dtype=object)[ranks]
    memorisation = references.memorisation()
    of_patient = patient_confidence(memorisation, table)
    little = of_patient.rank(method="first", pct=True) <= 1 / 3  # outside training: NaN, False
    return pd.DataFrame(
        {
            "sample": table["sample"].to_numpy(),
            "confidence_out": confidence,
            "memorisation": memorisation,
            "stratum": table["patient"].map(stratum).to_numpy(),
            "little_memorised": table["patient"].map(little).to_numpy(),
        }
    )


def reliability(references: References, partition: str) -> float:
    """Split-half reliability of the difficulty of a partition's patients.

    Pairs of complementary models are split into two halves; the correlation r of the two
    difficulties, as ranks within a label since strata are, is stepped up to the whole number of
    models by 2 r / (1 + r) (Spearman 1910, Brown 1910), and averaged over random splits.

    Returns:
        At most 1; NaN with fewer than two pairs.
    """
    pairs, table = len(references.logits) // 2, references.table
    if pairs < 2:
        return float("nan")
    inside = table.loc[table["partition"] == partition, "patient"].unique()
    labels = patient_table(table)["rarest"].loc[inside]
    shuffle = stream("difficulty", "split-half")
    found = []
    for _ in range(SPLITS):
        order = shuffle.permutation(pairs)
        ranks = []
        # with an odd number of pairs one stays out, so that the halves are of one size
        for half in (order[: pairs // 2], order[pairs // 2 : 2 * (pairs // 2)]):
            confidence = references.confidence(np.concatenate([2 * half, 2 * half + 1]))
            by_patient = patient_confidence(confidence, table)[inside]
            ranks.append(by_patient.groupby(labels).rank(pct=True))
        r = float(ranks[0].corr(ranks[1]))
        found.append(2 * r / (1 + r))
    return float(np.mean(found))


def _mean(values: Floats | NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Floats:
    """Mean over models, of those chosen for each sample; NaN where none is."""
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(chosen, values, 0).sum(axis=0) / chosen.sum(axis=0)
    return mean
