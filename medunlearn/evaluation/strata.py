"""Easy, medium and hard patients, and whether their order can be relied on."""

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import TRAIN, patient_table
from medunlearn.evaluation.difficulty import References, patient_confidence
from medunlearn.randomness import stream

STRATA = ("hard", "medium", "easy")
"""Tertiles of difficulty, in ascending confidence."""

RELIABLE = 0.8
"""Split-half reliability below which difficulty carries no verdict."""

SPLITS = 50


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
    patients = patient_table(table)
    patients["confidence"] = patient_confidence(confidence, table)
    training = set(table.loc[table["partition"] == TRAIN, "patient"])
    stratum = pd.Series("", index=patients.index, dtype=object)
    for _, members in patients.groupby("rarest"):
        known = members.loc[members.index.isin(training), "confidence"]
        if len(known) < len(STRATA):  # too few with this label to be cut by: cut by all
            known = patients.loc[patients.index.isin(training), "confidence"]
        cuts = np.quantile(known, [1 / 3, 2 / 3])
        ranks = np.searchsorted(cuts, members["confidence"])
        stratum[members.index] = np.array(STRATA, dtype=object)[ranks]
    memorisation = pd.Series(references.memorisation()).groupby(table["patient"].to_numpy()).mean()
    little = memorisation.rank(method="first", pct=True) <= 1 / 3  # outside training: NaN, False
    return pd.DataFrame(
        {
            "sample": table["sample"].to_numpy(),
            "confidence_out": confidence,
            "memorisation": references.memorisation(),
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
        # with an odd number of pairs one stays out, so that the halves are of one size
        halves = order[: pairs // 2], order[pairs // 2 : 2 * (pairs // 2)]
        both = [
            patient_confidence(
                references.confidence(np.concatenate([2 * half, 2 * half + 1])), table
            )[inside]
            for half in halves
        ]
        ranks = [half.groupby(labels).rank(pct=True) for half in both]
        r = float(ranks[0].corr(ranks[1]))
        found.append(2 * r / (1 + r))
    return float(np.mean(found))
