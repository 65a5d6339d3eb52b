"""A study without images: models that are right by a patient's difficulty, memory and luck."""

from dataclasses import replace

import numpy as np
import pandas as pd

from medunlearn.evaluation.measurements import Measurements
from medunlearn.statistics.verdicts import Terms

DRAW = "random-0.1-shared"
TERMS = Terms(
    margins={"retain": 0.05, "forget": 0.05, "test": 0.03, "slope": 0.03, "attack": 0.05},
    confirmatory=["finetune"], middle_size=0.1, sizes=[0.1], seeds=8, floor_seeds=8,
    verdict_seeds=8, verdict_patients=20, reliability=0.9,
)  # fmt: skip


def make_cohort(random, *, train=900, test=1500, images=1, sexes=("F", "M"), difficult_women=0.0):
    """Patients of three classes, a third common one; women may be the harder ones."""
    patients = train + 100 + test
    parts = np.repeat(["train", "validation_evaluation", "test"], [train, 100, test])
    table = pd.DataFrame(
        {
            "patient": np.arange(patients),
            "partition": parts,
            "sex": pd.Series(random.choice(sexes, patients), dtype=object),
            "label": random.choice(3, patients, p=[0.5, 0.35, 0.15]),
        }
    )
    ease = random.normal(3, 3, patients) - difficult_women * (table["sex"] == "F")
    table["ease"] = ease
    cohort = table.loc[table.index.repeat(images)].reset_index(drop=True)
    return cohort.assign(sample=np.arange(len(cohort)))


def make_difficulty(cohort):
    """The true one, and its tertiles."""
    ranks = cohort.groupby("partition")["ease"].rank(pct=True)
    stratum = np.select([ranks <= 1 / 3, ranks <= 2 / 3], ["hard", "medium"], "easy")
    return pd.DataFrame(
        {
            "sample": cohort["sample"], "confidence_out": cohort["ease"], "stratum": stratum,
            "memorisation": 0.0, "little_memorised": False,
        }
    )  # fmt: skip


def make_study(
    seed=0, *, seeds=8, floor_seeds=8, forget=200, memory=5.0, shift=None, difficulty=True,
    methods=(), **of_cohort
):  # fmt: skip
    """Originals, retrained models of both sets, and methods; two seeds share only the patients.

    Args:
        seed: Of everything.
        seeds: Of originals and set A.
        floor_seeds: Of set B.
        forget: Patients of the forget set: the first of the training patients.
        memory: How much easier a patient is to a model that was trained on it.
        shift: By (role, oracle_set, method): what is added to the ease of each sample.
        difficulty: Whether it was measured.
        methods: Unlearned ones, each as if retrained but for its ``shift``.
        of_cohort: See ``make_cohort``.
    """
    random = np.random.default_rng(seed)
    cohort = make_cohort(random, **of_cohort)
    trained = (cohort["partition"] == "train").to_numpy()
    kept = trained & (cohort["patient"] >= forget).to_numpy()
    columns = ["role", "oracle_set", "method", "forget_size", "draw", "seed"]
    rows, logits = [], []
    kinds = [("original", None, None, None, None), ("retrained", "A", None, 0.1, DRAW),
             *[("unlearned", None, method, 0.1, DRAW) for method in methods]]  # fmt: skip
    models = [(*kind, s) for kind in kinds for s in range(seeds)]
    models += [("retrained", "B", None, 0.1, DRAW, 100 + s) for s in range(floor_seeds)]
    for model in models:
        saw = trained if model[0] == "original" else kept
        ease = cohort["ease"] + memory * saw + random.logistic(0, 0.6, len(cohort))
        ease += random.normal(0, 0.05)
        if shift and model[:3] in shift:
            ease += shift[model[:3]](cohort)
        decided = np.where(ease > 0, cohort["label"], (cohort["label"] + 1) % 3)
        rows.append(model)
        logits.append((4 * np.eye(3)[decided] - 2).astype(np.float32))
    table = pd.DataFrame(rows, columns=columns).assign(composition="random")
    known = make_difficulty(cohort) if difficulty else pd.DataFrame()
    draws = {DRAW: list(range(forget))}
    return Measurements(table, np.stack(logits), cohort, draws, reference=0, difficulty=known)


def with_seeds(seeds):
    """Terms of a design with so many seeds."""
    return replace(TERMS, seeds=seeds, floor_seeds=seeds)


def pick(table, **where):
    """The one row with these values."""
    chosen = table[(table[list(where)] == pd.Series(where)).all(axis=1)]
    assert len(chosen) == 1, chosen
    return chosen.iloc[0]
