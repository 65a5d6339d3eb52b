"""What audits read of each model: answers on a part of the cohort, and attackers' scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import log_expit

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST
from medunlearn.evaluation.audits.membership import log_mean_probability, rmia
from medunlearn.evaluation.performance import probabilities
from medunlearn.evaluation.scores import label_confidence
from medunlearn.evaluation.subsets import Subset, Subsets

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Scores = tuple[Floats, Floats]
"""Of members and of test patients, each by patient, ascending."""

GROUPS = ("all", "F", "M")
ATTACKS = {"population": "forget", "rmia": "forget", "retain_exposure": "retain"}
"""Who are the members of an attack."""


@dataclass(frozen=True)
class Readings:
    """Models of one forget set, read once each.

    Args:
        models: One row for each model.
        logits: (models, samples, classes).
        cohort: One row for each sample.
        draws: Patients by name of the draw.
        draw: The forget set's.
        retrained: Row of the retrained model (oracle set A) of each seed.
    """

    models: pd.DataFrame
    logits: NDArray[np.float32]
    cohort: pd.DataFrame
    draws: Mapping[str, Sequence[int]]
    draw: str
    retrained: Mapping[int, int]
    _log_p: dict[int, Floats] = field(default_factory=dict)
    _means: dict[int, Floats] = field(default_factory=dict)
    _scores: dict[tuple[str, int, int], Scores] = field(default_factory=dict)
    _accuracy: dict[tuple[int, str], Floats] = field(default_factory=dict)
    _inside: dict[tuple[str, str], Flags] = field(default_factory=dict)
    _averages: dict[str, csr_array] = field(default_factory=dict)

    @cached_property
    def _subsets(self) -> Subsets:
        return Subsets(self.cohort, self.draws, reference=0)  # no measure with a reference class

    def part(self, name: str) -> Subset:
        """Images of ``forget``, ``retain``, or another partition."""
        return self._subsets.of(self.draw, name, "all")

    def inside(self, part: str, group: str) -> Flags:
        """Which patients of a part are of one sex, or all."""
        if (part, group) not in self._inside:
            subset = self.part(part)
            of_group = self.cohort["sex"].to_numpy(object)[subset.samples] == group
            inside = np.isin(subset.patient_ids, subset.patients[of_group])
            self._inside[part, group] = inside | (group == "all")
        return self._inside[part, group]

    @cached_property
    def groups(self) -> list[str]:
        """All, and each sex that has a patient to forget."""
        return [group for group in GROUPS if self.inside("forget", group).any()]

    @cached_property
    def _finite(self) -> Flags:
        finite: Flags = np.array([np.isfinite(one).all() for one in self.logits])
        return finite

    def is_finite(self, row: int) -> bool:
        """Whether the model has not blown up."""
        return bool(self._finite[row])

    def answers(self, row: int, part: str) -> Floats:
        """Probabilities, (samples of the part, classes)."""
        if not self.is_finite(row):
            return np.full((len(self.part(part).samples), self.logits.shape[2]), np.nan)
        return probabilities(self.logits[row, self.part(part).samples])

    def accuracy(self, row: int, part: str) -> Floats:
        """Share of right decisions, (patients of the part,)."""
        if (row, part) not in self._accuracy:
            subset, chosen = self.part(part), self.answers(row, part)
            right = (chosen.argmax(axis=1) == subset.labels).astype(np.float64)
            self._accuracy[row, part] = self.by_patient(right + 0 * chosen.sum(axis=1), part)
        return self._accuracy[row, part]

    def confidence(self, row: int, part: str) -> Floats:
        """Logit-scaled label confidence, (samples of the part,)."""
        subset = self.part(part)
        if not self.is_finite(row):
            return np.full(len(subset.samples), np.nan)
        return label_confidence(self.logits[row, subset.samples], subset.labels)

    def by_patient(self, values: Floats, part: str) -> Floats:
        """Mean over each patient's images, (..., samples) to (..., patients)."""
        subset = self.part(part)
        if part not in self._averages:
            shape = (len(subset.patient_ids), len(subset.samples))
            rows = (subset.codes, np.arange(len(subset.samples)))
            self._averages[part] = csr_array((subset.weights, rows), shape=shape)
        flat = values.reshape(-1, len(subset.samples))
        means: Floats = (self._averages[part] @ flat.T).T
        return means.reshape(*values.shape[:-1], len(subset.patient_ids))

    @cached_property
    def references(self) -> dict[int, str]:
        """Draw of the patients that each reference model did not see, by its row."""
        rows = self.models[self.models["role"] == "reference"]
        pairs = zip(rows.index.to_numpy(np.int64).tolist(), rows["draw"].astype(str), strict=True)
        return {row: draw for row, draw in pairs if draw in self.draws and self.is_finite(row)}

    @cached_property
    def unseen(self) -> Flags:
        """Which references did not see a retain patient, (references, patients)."""
        ids = self.part("retain").patient_ids
        masks = [np.isin(ids, self.draws[draw]) for draw in self.references.values()]
        return np.array(masks, dtype=bool).reshape(len(masks), len(ids))

    def missing(self, attack: str, seed: int) -> str:
        """Why an attack on models of this seed is not possible; empty if it is."""
        if attack != "population" and not len(self.part(EVALUATION_VALIDATION).samples):
            return "no population: validation_evaluation is empty"
        if attack == "rmia" and not self._others(seed):
            return "no retrained model of another seed to refer to"
        if attack == "retain_exposure" and not self.unseen.any():
            return "no reference models"
        return ""

    def scores(self, attack: str, row: int, seed: int) -> Scores:
        """What an attack says of members and of test patients.

        Args:
            attack: One of ``ATTACKS``.
            row: The model.
            seed: Of the retrained model that it is held to: not referred to.
        """
        key = (attack, row, seed if attack == "rmia" else -1)
        if key not in self._scores:
            members = ATTACKS[attack]
            if attack == "population":
                images = [self.confidence(row, part) for part in (members, TEST)]
            else:
                ratios = [
                    self._of(self._log_probability(row), part) - reference
                    for part, reference in self._reference_means(attack, seed).items()
                ]
                weights = self.part(EVALUATION_VALIDATION).weights
                images = [self._dominance(ratio, ratios[2], weights) for ratio in ratios[:2]]
            first, second = zip(images, (members, TEST), strict=True)
            self._scores[key] = self.by_patient(*first), self.by_patient(*second)
        return self._scores[key]

    @staticmethod
    def _dominance(ratio: Floats, population: Floats, weights: Floats) -> Floats:
        """Shares of the population; NaN for patients that every reference has seen."""
        known = np.isfinite(ratio)
        result = np.full(len(ratio), np.nan)
        result[known] = rmia(ratio[known], population, weights)
        return result

    def _reference_means(self, attack: str, seed: int) -> dict[str, Floats]:
        """Log of the mean probability over references: members, test, population."""
        parts = (ATTACKS[attack], TEST, EVALUATION_VALIDATION)
        if attack == "rmia":
            if seed not in self._means:
                log_p = [self._log_probability(row) for row in self._others(seed)]
                self._means[seed] = log_mean_probability(np.stack(log_p))
            return {part: self._of(self._means[seed], part) for part in parts}
        return self._exposure_means

    @cached_property
    def _exposure_means(self) -> dict[str, Floats]:
        """As ``_reference_means``, each retain patient by the references that did not see it.

        Test patients are unseen by all; they take over the references of the retain patients in
        turn, so that both sides' means are over equally many.
        """
        log_p = np.stack([self._log_probability(row) for row in self.references])
        retain, test = self.part("retain"), self.part(TEST)
        patterns = self.unseen[:, self.unseen.any(axis=0)]
        turns = np.arange(len(test.patient_ids)) % patterns.shape[1]
        return {
            "retain": log_mean_probability(log_p[:, retain.samples], self.unseen[:, retain.codes]),
            TEST: log_mean_probability(log_p[:, test.samples], patterns[:, turns][:, test.codes]),
            EVALUATION_VALIDATION: log_mean_probability(
                log_p[:, self.part(EVALUATION_VALIDATION).samples]
            ),
        }

    def _others(self, seed: int) -> list[int]:
        """Retrained models of all other seeds."""
        return [row for s, row in self.retrained.items() if s != seed and self.is_finite(row)]

    def _of(self, values: Floats, part: str) -> Floats:
        chosen: Floats = values[self.part(part).samples]
        return chosen

    def _log_probability(self, row: int) -> Floats:
        """Of every sample's label, (samples,)."""
        if row not in self._log_p:
            labels = self.cohort["label"].to_numpy(np.int64)
            finite = self.is_finite(row)
            # a model that has blown up has no score
            logits = self.logits[row] if finite else np.full_like(self.logits[row], np.nan)
            self._log_p[row] = log_expit(label_confidence(logits, labels))
        return self._log_p[row]
