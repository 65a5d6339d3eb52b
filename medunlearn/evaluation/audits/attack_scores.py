"""The scores that membership attacks give to patients: members, and test patients beside them."""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_expit

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST
from medunlearn.evaluation.audits.answers import Answers
from medunlearn.evaluation.audits.membership import log_mean_probability, rmia

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Scores = tuple[Floats, Floats]
"""Of members and of test patients, each by patient, ascending."""

ATTACKS = {"population": "forget", "rmia": "forget", "retain_exposure": "retain"}
"""Who are the members of an attack."""


class AttackScores:
    """Scores of the loss attack on a population, of RMIA, and of RMIA on the retain set."""

    def __init__(
        self,
        answers: Answers,
        models: pd.DataFrame,
        draws: Mapping[str, Sequence[int]],
        retrained: Mapping[int, int],
    ) -> None:
        """Score nothing yet.

        Args:
            answers: Of the models.
            models: One row for each; ``reference`` models name the draw that they did *not* see.
            draws: Patients by name of the draw.
            retrained: Row of the retrained model (oracle set A) of each seed.
        """
        self.answers, self.retrained = answers, retrained
        named = models.loc[models["role"] == "reference", "draw"].astype(str)
        rows = zip(named.index.to_numpy(np.int64).tolist(), named, strict=True)
        known = {row: draws[draw] for row, draw in rows if draw in draws}
        self.references = {row: out for row, out in known.items() if answers.is_finite(row)}
        # many comparisons ask for the same
        self.of, self._rmia_means = cache(self._of), cache(self._rmia_means_of)

    @cached_property
    def unseen(self) -> Flags:
        """Which references did not see a retain patient, (references, patients)."""
        ids = self.answers.part("retain").patient_ids
        masks = [np.isin(ids, out) for out in self.references.values()]
        return np.array(masks, dtype=bool).reshape(len(masks), len(ids))

    def missing(self, attack: str, seed: int) -> str:
        """Why an attack on models of this seed is not possible; empty if it is."""
        if attack != "population" and not len(self.answers.part(EVALUATION_VALIDATION).samples):
            return "no population: validation_evaluation is empty"
        if attack == "rmia" and not self._others(seed):
            return "no retrained model of another seed to refer to"
        if attack == "retain_exposure" and not self.unseen.any():
            return "no reference models"
        return ""

    def _of(self, attack: str, row: int, seed: int) -> Scores:
        """What an attack says of members and of test patients.

        Args:
            attack: One of ``ATTACKS``.
            row: The model.
            seed: Of the retrained model that it is compared with, which is no reference.
        """
        read, parts = self.answers, (ATTACKS[attack], TEST)
        if attack == "population":
            members, others = (read.confidence(row, part) for part in parts)
        else:
            means = self._rmia_means(seed) if attack == "rmia" else self._exposure_means
            ratios = {
                part: log_expit(read.confidence(row, part)) - mean for part, mean in means.items()
            }
            population = ratios[EVALUATION_VALIDATION], read.part(EVALUATION_VALIDATION).weights
            members, others = (rmia(ratios[part], *population) for part in parts)
        return read.by_patient(members, parts[0]), read.by_patient(others, TEST)

    def _rmia_means_of(self, seed: int) -> dict[str, Floats]:
        """Log of the mean probability over retrained models of other seeds, by part."""
        return {
            part: log_mean_probability(self._log_p(self._others(seed), part))
            for part in ("forget", TEST, EVALUATION_VALIDATION)
        }

    @cached_property
    def _exposure_means(self) -> dict[str, Floats]:
        """Likewise over references, each retain patient by those that did not see it.

        Test patients are unseen by all; they take over the references of the retain patients in
        turn, so that both sides' means are over equally many.
        """
        retain, test = self.answers.part("retain"), self.answers.part(TEST)
        patterns = self.unseen[:, self.unseen.any(axis=0)]
        turns = np.arange(len(test.patient_ids)) % patterns.shape[1]
        out = {"retain": self.unseen[:, retain.codes], TEST: patterns[:, turns[test.codes]]}
        return {
            part: log_mean_probability(self._log_p(list(self.references), part), out.get(part))
            for part in ("retain", TEST, EVALUATION_VALIDATION)
        }

    def _others(self, seed: int) -> list[int]:
        """Retrained models of all other seeds."""
        is_finite, others = self.answers.is_finite, self.retrained.items()
        return [row for other, row in others if other != seed and is_finite(row)]

    def _log_p(self, rows: Sequence[int], part: str) -> Floats:
        """Log probability of the label, (models, samples of the part)."""
        return np.stack([log_expit(self.answers.confidence(row, part)) for row in rows])
