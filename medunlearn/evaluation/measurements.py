"""Every measure of every model beside the retrained model it is held to, patient by patient."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST, patient_table
from medunlearn.evaluation.performance import (
    MEASURES,
    Predicted,
    calibration_error,
    probabilities,
    threshold_at,
)
from medunlearn.evaluation.scores import label_confidence
from medunlearn.evaluation.subsets import Subset, Subsets
from medunlearn.methods import get_method
from medunlearn.statistics.intervals import Interval, contrast_interval, no_limits, runs_interval

NOTHING, RETRAINED, FLOOR = "original", "retrain", "floor"
"""Do nothing, oracle set A and oracle set B stand among the methods under these names."""

PARTS = ("retain", "forget", "test")
CALIBRATION = "calibration_error"

RECENT = 256
"""Predictions kept in double precision: those of one method and group, whatever the measure."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One model of a line-up: its seed, its row in the models table, the draw it forgot."""

    seed: int
    row: int
    draw: str


@dataclass(frozen=True)
class LineUp:
    """A method on one forget set.

    Args:
        composition: Of the forget set.
        forget_size: Share of the training patients.
        method: An unlearning method, or one of ``NOTHING``, ``RETRAINED``, ``FLOOR``.
        runs: Its models, by seed.
        base: Beside each, the retrained model it is held to.
    """

    composition: str
    forget_size: float
    method: str
    runs: list[Run]
    base: list[Run]


def line_ups(models: pd.DataFrame) -> Iterator[LineUp]:
    """Every forget set and method, of the seeds that have both the model and its retrained one.

    Args:
        models: One row for each model (see ``study.tables``).
    """
    originals = _by_seed(models[models["role"] == "original"])
    cells = models.loc[models["oracle_set"] == "A", ["composition", "forget_size"]]
    for composition, size in cells.drop_duplicates().itertuples(index=False, name=None):
        here = models[(models["composition"] == composition) & (models["forget_size"] == size)]
        base, fresh = (_by_seed(here[here["oracle_set"] == name]) for name in "AB")
        known = {RETRAINED: base, NOTHING: originals}
        for method in here.loc[here["role"] == "unlearned", "method"].unique():
            known[method] = _by_seed(here[here["method"] == method])
        for method, runs in known.items():
            if seeds := [seed for seed in base if seed in runs]:
                # an original has no draw of its own: it is held to the cell's
                ours = [Run(seed, runs[seed].row, base[seed].draw) for seed in seeds]
                yield LineUp(composition, size, method, ours, [base[seed] for seed in seeds])
        if pairs := _pair(fresh.values(), base.values()):
            fresh_runs, partners = (list(side) for side in zip(*pairs, strict=True))
            yield LineUp(composition, size, FLOOR, fresh_runs, partners)


def _pair(fresh: Iterable[Run], base: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Fresh seeds beside retrained models of the same draw.

    Where a draw is shared any pairing will do: fresh seeds share nothing with the others.
    """
    by_draw: dict[str, list[Run]] = {}
    for run in base:
        by_draw.setdefault(run.draw, []).append(run)
    partners = {draw: iter(runs) for draw, runs in by_draw.items()}
    found = ((run, next(partners.get(run.draw, iter(())), None)) for run in fresh)
    return [(run, partner) for run, partner in found if partner]


def middle_line_ups(models: pd.DataFrame, forget_size: float) -> dict[str, LineUp]:
    """By method, on the random forget sets of this size."""
    cell = ("random", forget_size)
    return {
        one.method: one for one in line_ups(models) if (one.composition, one.forget_size) == cell
    }


def has_gap(method: str) -> bool:
    """Not the yardstick, nor an ensemble: its gap to its *own* retraining is 0 by construction."""
    own = method not in {RETRAINED, NOTHING, FLOOR} and get_method(method).own_training
    return method != RETRAINED and not own


def _by_seed(models: pd.DataFrame) -> dict[int, Run]:
    """Models by seed, ascending."""
    rows = zip(models["seed"], models.index, models["draw"], strict=True)
    runs = [Run(int(seed), int(row), str(draw)) for seed, row, draw in rows]
    return {run.seed: run for run in sorted(runs, key=lambda run: run.seed)}


@dataclass(eq=False)
class Measurements:
    """One value for each model, patient and measure; taken when first asked for, and kept.

    Args:
        models: One row for each model (see ``study.tables``).
        logits: (models, samples, classes).
        cohort: One row for each sample.
        draws: Patients not to be known, by name of the draw.
        reference: Code of the class that counts as negative.
        difficulty: As from ``difficulty.measure_difficulty``; empty if it was not measured.
        level: Of the intervals.
        sparse: Whether logits are known of some samples only, and NaN elsewhere.
    """

    models: pd.DataFrame
    logits: NDArray[np.float32]
    cohort: pd.DataFrame
    draws: Mapping[str, Sequence[int]]
    reference: int
    difficulty: pd.DataFrame = field(default_factory=pd.DataFrame)
    level: float = 0.95
    sparse: bool = False

    def __post_init__(self) -> None:
        """Measure nothing yet."""
        self.subsets = Subsets(self.cohort, self.draws, self.reference, self.difficulty)
        self._kept, self._threshold = cache(self._measure), cache(self._set_threshold)
        self.predicted, self.confidence = lru_cache(RECENT)(self._predict), cache(self._confide)

    @cached_property
    def is_finite(self) -> NDArray[np.bool_]:
        """Whether every logit of a model that is known is a number, (models,)."""
        known: NDArray[np.bool_] = np.asarray(np.isfinite(self.logits).all(axis=2))
        if self.sparse:
            known = known | np.isnan(self.logits).all(axis=2)
        return np.asarray(known.all(axis=1))

    @cached_property
    def people(self) -> pd.DataFrame:
        """By patient: ``sex``, ``label`` (the rarest of its images'), ``difficulty``, ``person``.

        Difficulty is a stratum, None where it was not measured. The person is who the dataset says
        the patient is: one, unless an error has made several patients of one.
        """
        first = self.cohort.drop_duplicates("patient").set_index("patient")
        table = patient_table(self.cohort).rename(columns={"rarest": "label"})
        table["difficulty"] = None
        if len(self.difficulty):
            strata = self.difficulty.set_index("sample")["stratum"].astype(object)
            table["difficulty"] = first["sample"].map(strata)
        return table.assign(person=first.get("source_patient", first.index.to_series()))

    def patients(self, line_up: LineUp, part: str, groups: Sequence[str]) -> int:
        """Patients in the smallest of these groups, of any run."""
        pairs = product({run.draw for run in line_up.runs}, groups)
        return min(len(self.subsets.of(draw, part, group).patient_ids) for draw, group in pairs)

    def values(self, run: Run, part: str, group: str, measure: str) -> Floats:
        """Patient values of one model, ascending by patient; calibration has one value only."""
        return self._kept(run.row, self.subsets.of(run.draw, part, group), measure)

    def levels(self, line_up: LineUp, part: str, group: str, measure: str) -> list[Floats]:
        """Patient values of each run."""
        return [self.values(run, part, group, measure) for run in line_up.runs]

    def gaps(self, line_up: LineUp, part: str, group: str, measure: str) -> list[Floats]:
        """Patient values of each run minus those of the model it is held to, run by run."""
        both = zip(self.levels(line_up, part, group, measure), line_up.base, strict=True)
        return [ours - self.values(base, part, group, measure) for ours, base in both]

    def interval(
        self,
        line_up: LineUp,
        part: str,
        measure: str,
        groups: Sequence[str] = ("all",),
        weights: Sequence[float] = (1,),
        *,
        gap: bool = True,
    ) -> Interval:
        """Interval of a weighted sum of the groups' means, of gaps or of levels.

        Where each seed has a draw of its own the patients are not the same over seeds: then the
        seeds alone carry the spread. Calibration is no mean over patients: it has no limits here.
        """
        take, first = self.gaps if gap else self.levels, line_up.runs[0].draw
        values = [take(line_up, part, group, measure) for group in groups]
        patients = sum(len(self.subsets.of(first, part, group).patient_ids) for group in groups)
        with np.errstate(invalid="ignore"):
            means = np.array(weights) @ np.array([[v.mean() for v in each] for each in values])
        if measure == CALIBRATION:
            return no_limits(float(means.mean()), len(line_up.runs), patients)
        if part == TEST or len({run.draw for run in line_up.runs}) == 1:
            stacked = [np.stack(each) for each in values]
            return contrast_interval(stacked, weights, level=self.level)
        return runs_interval(means, patients, level=self.level)

    def _measure(self, row: int, subset: Subset, measure: str) -> Floats:
        known = not self.sparse or np.isfinite(self.logits[row, subset.samples]).all()
        if not (known and self.is_finite[row]):  # a model that has diverged has no measure
            return np.full(len(subset.patient_ids), np.nan)
        predicted = self.predicted(row, subset)
        if measure == CALIBRATION:
            return np.array([calibration_error(subset, predicted)])
        return MEASURES[measure](subset, predicted)

    def _predict(self, row: int, subset: Subset) -> Predicted:
        """Probabilities of a model on a subset, with the model's own threshold."""
        return Predicted(probabilities(self.logits[row, subset.samples]), self._threshold(row))

    def _set_threshold(self, row: int) -> float:
        """The same for both sexes."""
        subset = self.subsets.of("", EVALUATION_VALIDATION, "all")
        chosen = probabilities(self.logits[row, subset.samples])
        return threshold_at(subset, 1 - chosen[:, self.reference])

    def _confide(self, row: int) -> Floats:
        """Logit-scaled confidence in the label of each sample; NaN of a model that diverged."""
        if not self.is_finite[row]:
            return np.full(len(self.cohort), np.nan)
        return label_confidence(self.logits[row], self.cohort["label"].to_numpy(np.int64))
