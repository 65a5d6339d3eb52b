"""The forget sets of a study: drawn once, recorded under ``draws/``, then applied."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medunlearn.cohort.forget_sets import (
    DEVELOPMENT,
    HALF,
    ForgetSet,
    draw_development,
    draw_forget_set,
    draw_half,
)
from medunlearn.cohort.partition import TRAIN
from medunlearn.study.models import BY_DIFFICULTY, ModelSpec, references
from medunlearn.study.study import Study

if TYPE_CHECKING:
    from medunlearn.evaluation.difficulty import References


class Draws:
    """Every forget set of a study, and the half that each reference model does not see.

    Args:
        study: The study.
        path: From a model to its folder.
    """

    def __init__(self, study: Study, path: Callable[[ModelSpec], Path]) -> None:
        self.study, self.path = study, path
        self._known: dict[str, ForgetSet] = {}

    def of(self, spec: ModelSpec) -> ForgetSet:
        """The patients a model is not to know; easy and hard need the reference models."""
        cell = spec.cell
        if cell is None:
            raise ValueError(f"{spec.title} has no forget set")
        name, table = cell.draw_name(spec.seed), self.study.cohort.table
        if name not in self._known:
            confidence = None
            if cell.composition in BY_DIFFICULTY:
                from medunlearn.evaluation.difficulty import patient_confidence

                confidence = patient_confidence(self.references().confidence(), table)
            if cell.composition == HALF:
                drawn = draw_half(table, spec.seed)
            elif cell.composition == DEVELOPMENT:
                drawn = draw_development(table)
            else:
                composition, order = cell.composition, cell.order(spec.seed)
                drawn = draw_forget_set(table, composition, cell.forget_size, order, confidence)
            drawn.write(self.study.folder / "draws")
            self._known[name] = drawn
        return self._known[name]

    def references(self) -> "References":
        """What the reference models say of every image.

        Raises:
            FileNotFoundError: One of them is not there.
        """
        # a second to import: not for commands that only look
        from medunlearn.evaluation.difficulty import References
        from medunlearn.evaluation.predictions import read_predictions

        specs, table = references(self.study.profile), self.study.cohort.table
        paths = [self.path(spec) / "predictions.parquet" for spec in specs]
        unseen = [table["patient"].isin(self.of(spec).patients) for spec in specs]
        training = (table["partition"] == TRAIN).to_numpy()
        return References(
            logits=np.stack([read_predictions(path) for path in paths]),
            seen=training & ~np.stack([each.to_numpy() for each in unseen]),
            table=table,
        )
