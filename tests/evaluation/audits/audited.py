"""Studies whose answers are known: what every model knows of whom is put in by hand."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from medunlearn.evaluation.measurements import Measurements

DRAW = "random-0.1-shared"
TRAIN, EVALUATION, TEST = 200, 60, 300
FORGET, CLASSES = 60, 3


@dataclass
class Made:
    """A cohort of patients with one or two images, and models added one at a time."""

    seed: int = 0
    sexes: tuple = ("F", "M")
    rows: list = field(default_factory=list)
    logits: list = field(default_factory=list)

    def __post_init__(self):
        random = self.random = np.random.default_rng(self.seed)
        parts = np.repeat(["train", "validation_evaluation", "test"], [TRAIN, EVALUATION, TEST])
        patients = len(parts)
        owner = np.sort(np.concatenate([np.arange(patients), random.choice(patients, 100, False)]))
        sex = random.choice(np.array(self.sexes, dtype=object), patients)
        label = random.integers(0, CLASSES, patients)
        self.cohort = pd.DataFrame(
            {"sample": np.arange(len(owner)), "patient": owner, "partition": parts[owner],
             "sex": sex[owner], "age": 50.0, "label": label[owner]}
        )  # fmt: skip
        self.hard = random.normal(0, 1, patients)[owner]
        stratum = np.array(["easy", "medium", "hard"])[np.digitize(self.hard, [-0.4, 0.4])]
        known = self.cohort["partition"].isin(["train", "test"])
        self.difficulty = pd.DataFrame(
            {"sample": self.cohort["sample"], "confidence_out": -self.hard, "memorisation": 0.0,
             "stratum": stratum, "little_memorised": False}
        )[known]  # fmt: skip
        self.draws = {DRAW: list(range(FORGET))}

    def inside(self, patients):
        return self.cohort["patient"].isin(patients).to_numpy()

    def start(self, size=0.3):
        """What all models of a seed have in common."""
        return self.random.normal(0, size, len(self.cohort))

    def add(self, role, seed, *, oracle_set=None, method=None, start=0.0, extra=0.0, unseen=()):
        """A model whose confidence is how easy the image is, more where it was trained on."""
        trained = (self.cohort["partition"] == "train").to_numpy() & ~self.inside(unseen)
        confidence = 1 - self.hard + start + extra + 1.5 * trained
        confidence = confidence + self.random.normal(0, 0.5, len(self.cohort))
        logits = self.random.normal(0, 0.1, (len(self.cohort), CLASSES))
        logits[np.arange(len(logits)), self.cohort["label"]] += confidence
        self.logits.append(logits.astype(np.float32))
        cell = role in {"retrained", "unlearned"}
        self.rows.append(
            {"role": role, "oracle_set": oracle_set, "method": method, "seed": seed,
             "forget_size": 0.1 if cell else np.nan, "composition": "random" if cell else None,
             "draw": DRAW if cell else None}
        )  # fmt: skip

    def add_study(self, *, seeds=6, methods=()):
        """Originals, sets A and B, methods as (name, extra confidence by image)."""
        forgotten = self.draws[DRAW]
        for seed in range(seeds):
            start = self.start()
            self.add("original", seed, start=start)
            self.add("retrained", seed, oracle_set="A", start=start, unseen=forgotten)
            for name, extra in methods:
                self.add("unlearned", seed, method=name, start=start, extra=extra, unseen=forgotten)
        for seed in range(100, 100 + seeds):
            self.add("retrained", seed, oracle_set="B", start=self.start(), unseen=forgotten)
        return self

    @property
    def models(self):
        return pd.DataFrame(self.rows)

    def measured(self, **changed):
        """The study as ``audit`` takes it."""
        known = {"models": self.models, "logits": np.stack(self.logits), "cohort": self.cohort,
                 "draws": self.draws, "reference": 0, "difficulty": self.difficulty}  # fmt: skip
        return Measurements(**known | changed)
