"""What each model of a forget set answers, by image and by patient."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from medunlearn.evaluation.performance import probabilities
from medunlearn.evaluation.scores import label_confidence
from medunlearn.evaluation.subsets import Subset, Subsets

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

GROUPS = ("all", "F", "M")


class Answers:
    """Models on the parts of a cohort, each read once; NaN of a model that has diverged."""

    def __init__(
        self,
        logits: NDArray[np.float32],
        cohort: pd.DataFrame,
        draws: Mapping[str, Sequence[int]],
        draw: str,
    ) -> None:
        """Read nothing yet.

        Args:
            logits: (models, samples, classes).
            cohort: One row for each sample.
            draws: Patients by name of the draw.
            draw: The forget set's.
        """
        self.logits, self.cohort, self.draw = logits, cohort, draw
        # no measure with a reference class is taken
        self._subsets = Subsets(cohort, draws, reference=0)
        # many comparisons ask for the same
        self.inside, self.is_finite = cache(self._inside), cache(self._is_finite)
        self._averages, self._confidence = cache(self._averages_of), cache(self._confidence_of)

    def part(self, name: str) -> Subset:
        """Images of ``forget``, ``retain``, or another partition."""
        return self._subsets.of(self.draw, name, "all")

    def probabilities(self, row: int, part: str) -> Floats:
        """Of each class, (samples of the part, classes)."""
        chosen = self.logits[row, self.part(part).samples]
        return probabilities(chosen) if self.is_finite(row) else np.full(chosen.shape, np.nan)

    def confidence(self, row: int, part: str) -> Floats:
        """Logit-scaled label confidence, (samples of the part,)."""
        chosen: Floats = self._confidence(row)[self.part(part).samples]
        return chosen

    def by_patient(self, values: Floats, part: str) -> Floats:
        """Mean over each patient's images, (..., samples) to (..., patients)."""
        means: Floats = (self._averages(part) @ values.T).T
        return means

    def groups(self) -> list[str]:
        """All, and each sex that has a patient to forget."""
        return [group for group in GROUPS if self.inside("forget", group).any()]

    def _inside(self, part: str, group: str) -> Flags:
        """Which patients of a part are of one sex, or all."""
        subset = self.part(part)
        of_group = self.cohort["sex"].to_numpy(object)[subset.samples] == group
        return np.isin(subset.patient_ids, subset.patients[of_group]) | (group == "all")

    def _is_finite(self, row: int) -> bool:
        """Whether every logit of the model is a number."""
        return bool(np.isfinite(self.logits[row]).all())

    def _confidence_of(self, row: int) -> Floats:
        labels = self.cohort["label"].to_numpy(np.int64)
        if not self.is_finite(row):
            return np.full(len(labels), np.nan)
        return label_confidence(self.logits[row], labels)

    def _averages_of(self, part: str) -> csr_array:
        subset = self.part(part)
        shape = len(subset.patient_ids), len(subset.samples)
        return csr_array((subset.weights, (subset.codes, np.arange(shape[1]))), shape=shape)
