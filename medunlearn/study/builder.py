"""Where models are made: the cohort on the device, the recipe, and the store they go to."""

import copy
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from medunlearn.batches import Batches, Images, Recipe
from medunlearn.cohort.partition import METHOD_VALIDATION, TEST, TRAIN
from medunlearn.cost import Clock, stamp
from medunlearn.evaluation.predictions import predict, read_predictions, write_predictions
from medunlearn.evaluation.relearning import relearn
from medunlearn.methods import Setting, get_method
from medunlearn.methods._task import Task
from medunlearn.models import load_weights, save_weights
from medunlearn.study import design
from medunlearn.study.design import ModelSpec, original
from medunlearn.study.devices import clock_alone, device_shared
from medunlearn.study.store import Store
from medunlearn.study.study import Study
from medunlearn.training import initial_state, prepare_device, reestimate_statistics, train

WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.safetensors"
PREDICTIONS, RAW = "predictions.parquet", "raw_predictions.parquet"
COSTS, RELEARNING = "costs.parquet", "relearning.parquet"


class Builder:
    """Makes the models of a study that are not made yet.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.store = Store(study)
        self.device = prepare_device(study.device)
        self.runs = study.folder.parent  # by which containers of one host keep apart
        self._warm: set[str | None] = set()
        self._sitting = secrets.token_hex(4)

    @cached_property
    def images(self) -> Images:
        """The cohort on the device; loaded only if a model is to be made."""
        cohort = self.study.cohort
        labels, patients = (cohort.table[c].to_numpy(np.int64) for c in ("label", "patient"))
        return Images.load(cohort.pixels, labels, patients, self.device)

    @cached_property
    def recipe(self) -> Recipe:
        """How every model of the study is trained."""
        return Recipe(**self.study.recipe)

    def train(self, specs: Sequence[ModelSpec]) -> None:
        """Train the originals, retrained and reference models among these that are missing."""
        self._make([*self._sources(specs, "reference"), *specs], self._train)

    def unlearn(self, specs: Sequence[ModelSpec]) -> None:
        """Unlearn those among these that are missing; in a stream, those before them first."""
        self._make(self._sources(specs, "reference"), self._train)
        self._make([*self._sources(specs, "unlearned"), *specs], self._unlearn)

    def measure_cost(self, specs: Sequence[ModelSpec]) -> None:
        """Time methods alone on the device: unmeasured runs first, then the measured ones."""
        self._make(specs, self._time)

    def try_out(self, specs: Sequence[ModelSpec]) -> None:
        """Try the study's settings on the development forget set, each timed alone."""
        self._make([original(spec.seed) for spec in specs], self._train)
        self._make(specs, self._try)

    def with_settings(self, method: str, settings: Mapping[str, Setting]) -> "Builder":
        """The same builder, images and all, with these settings of one method and no others."""
        other = copy.copy(self)
        other.study = self.study.with_settings(method, settings, anew=True)
        other.store = Store(other.study)
        return other

    def _sources(self, specs: Sequence[ModelSpec], role: design.Role) -> list[ModelSpec]:
        """Those of a role without which these cannot be made: to draw from, or to start from."""
        found = [source for spec in specs for source in design.sources(self.study.profile, spec)]
        return [source for source in dict.fromkeys(found) if source.role == role]

    def _make(self, specs: Sequence[ModelSpec], make: Callable[[Path, ModelSpec], None]) -> None:
        """Make what is missing; one that fails does not keep the others from being made.

        Raises:
            RuntimeError: Names every model that failed, and why.
        """
        faults = []
        missing = self.store.missing(list(specs))
        for spec in tqdm(missing, "models", disable=not missing):
            if self.store.is_done(spec):  # by another notebook, since this one has begun
                continue
            try:
                with self.store.writing(spec) as folder:
                    make(folder, spec)
            except Exception as fault:
                faults.append(f"{spec.title}: {type(fault).__name__}: {fault}")
        if faults:
            raise RuntimeError(f"{len(faults)} of {len(specs)} models failed: {'; '.join(faults)}")

    def _train(self, folder: Path, spec: ModelSpec) -> None:
        batches, clock = self.batches(self.training_rows(spec)[0]), Clock(self.device)
        early: list[nn.Module] = []  # written once the clock has stopped
        keep = early.append if spec.role == "original" and self.study.profile.rewinds else None
        with device_shared(self.device, runs=self.runs):
            self._start_up(spec)
            with clock("training"):
                model = train(batches, self.recipe, seed=spec.seed, checkpoint=keep)
            for checkpoint in early:
                save_weights(checkpoint, folder / CHECKPOINT)
            self.write(folder, spec, self._settle(folder, spec, model, clock), clock)

    def _unlearn(self, folder: Path, spec: ModelSpec) -> None:
        clock = Clock(self.device)
        with device_shared(self.device, runs=self.runs):
            self._start_up(spec)
            start = self.trained(design.start_of(self.study.profile, spec))
            self.write(folder, spec, self._apply(folder, spec, start, clock), clock)

    def _time(self, folder: Path, spec: ModelSpec) -> None:
        cost, start = self.study.profile.cost, self.trained(original(spec.seed))
        bills = []
        with clock_alone(self.device, runs=self.runs) as alone:
            for repeat in range(-cost.warmups, cost.repeats):
                clock = Clock(self.device)
                self._apply(folder, spec, start, clock)
                if repeat >= 0:
                    bills.append(self._bill(spec, clock, exclusive=alone, repeat=repeat))
        pd.concat(bills).to_parquet(folder / COSTS, index=False)

    def _try(self, folder: Path, spec: ModelSpec) -> None:
        start, clock = self.trained(original(spec.seed)), Clock(self.device)
        with clock_alone(self.device, runs=self.runs) as alone:
            if spec.method not in self._warm:  # run for nothing what this process has not run yet
                self._apply(folder, spec, start, Clock(self.device))
                self._warm.add(spec.method)
            model = self._apply(folder, spec, start, clock)
        with device_shared(self.device, runs=self.runs):
            self.write(folder, spec, model, clock, exclusive=alone)

    def _start_up(self, spec: ModelSpec) -> None:
        """Let a GPU load what it loads at its first steps: seconds that are no model's."""
        if self.device == "cuda" and not self._warm:
            rows = self.training_rows(spec)[0][: 2 * self.recipe.batch_size]
            train(self.batches(rows), replace(self.recipe, epochs=1), seed=0)
            self._warm.add(None)

    def _apply(self, folder: Path, spec: ModelSpec, start: nn.Module, clock: Clock) -> nn.Module:
        """The method of a model, with the study's settings, on the model that it starts from."""
        name = str(spec.method)
        task, settings = self.task(spec, clock), self.study.settings(name)
        model = get_method(name)(start, task, seed=spec.seed, **settings)
        return self._settle(folder, spec, model, clock)

    def _settle(self, folder: Path, spec: ModelSpec, model: nn.Module, clock: Clock) -> nn.Module:
        """Re-estimate BatchNorm statistics over what a model may keep, on the clock.

        Before that it predicts with those it was left with, where they are compared. Of an ensemble
        every member sees the whole retain set. Doing nothing stays the original, bit for bit.
        """
        if design.has_raw(spec):
            self._predict_raw(folder, spec, model)
        if spec.method != "original":
            kept = self.batches(self.training_rows(spec)[0])
            with clock("batchnorm"):
                reestimate_statistics(model, kept)
        return model

    def _predict_raw(self, folder: Path, spec: ModelSpec, model: nn.Module) -> None:
        """Of test images and its forget set; of an original all training images."""
        source = original(spec.seed) if spec.method == "original" else spec
        kept, forgotten = self.training_rows(source)
        test = np.flatnonzero(self.study.cohort.table["partition"] == TEST)
        samples = np.sort(np.concatenate([forgotten if source.cell else kept, test]))
        if source != spec:  # the weights that it was given have re-estimated statistics
            logits = read_predictions(self.store.file(source, RAW))
        else:
            logits = predict(model, self.images, samples=samples)
        write_predictions(folder / RAW, self.store.entry(spec).key, logits, samples)

    def training_rows(self, spec: ModelSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The samples that a model may keep, and those it is to forget (none of an original)."""
        table = self.study.cohort.table
        training = table[table["partition"] == TRAIN]
        forgotten = self.store.forget_set(spec).patients if spec.cell else ()
        forget = training["patient"].isin(forgotten)
        samples, inside = training["sample"].to_numpy(np.int64), forget.to_numpy(bool)
        return samples[~inside], samples[inside]

    def batches(self, rows: NDArray[np.int64]) -> Batches:
        """Samples as batches of the recipe."""
        return Batches(self.images, rows, self.recipe)

    def task(self, spec: ModelSpec, clock: Clock) -> Task:
        """All that a method may read to unlearn this forget set, of a stream its last request."""
        table = self.study.cohort.table
        holdout = table.loc[table["partition"] == METHOD_VALIDATION, "sample"].to_numpy(np.int64)
        kept, gone = self.training_rows(spec)
        before = self.training_rows(design.start_of(self.study.profile, spec))[1]
        retain, forget = self.batches(kept), self.batches(gone[~np.isin(gone, before)])
        rewinds = spec.method and "checkpoint" in get_method(spec.method).reads
        early = self.trained(original(spec.seed), CHECKPOINT) if rewinds else None
        return Task(retain, forget, self.batches(holdout), self.recipe, clock, early)

    def trained(self, spec: ModelSpec, file: str = WEIGHTS) -> nn.Module:
        """A model whose weights are kept, from these, in evaluation mode."""
        model = initial_state(self.recipe, spec.seed, "cpu")
        return load_weights(model, self.store.file(spec, file)).to(self.device).eval()

    def logits(self, spec: ModelSpec) -> NDArray[np.float32]:
        """Stored predictions of a model, (samples, classes)."""
        return read_predictions(self.store.file(spec, PREDICTIONS))

    def costs(self, specs: Sequence[ModelSpec]) -> pd.DataFrame:
        """Stored bills of models, one row for each timed region."""
        bills = []
        for spec in specs:
            size = spec.cell.forget_size if spec.cell else None
            bill = pd.read_parquet(self.store.file(spec, COSTS))
            bills.append(bill.assign(method=spec.method, forget_size=size))
        return pd.concat(bills, ignore_index=True)

    def write(
        self, folder: Path, spec: ModelSpec, model: nn.Module, clock: Clock, exclusive: bool = False
    ) -> None:
        """Predictions, costs, relearning where it is watched, and weights that are needed again."""
        key = self.store.entry(spec).key
        if design.is_watched(self.study.profile, spec):
            retain, forget = map(self.batches, self.training_rows(spec))
            settings = self.study.profile.relearning.model_dump()
            seen = relearn(model, retain, forget, self.recipe, seed=spec.seed, **settings)
            seen.insert(0, "model_key", key)
            seen.to_parquet(folder / RELEARNING, index=False)
        write_predictions(folder / PREDICTIONS, key, predict(model, self.images))
        self._bill(spec, clock, exclusive=exclusive).to_parquet(folder / COSTS, index=False)
        if design.keeps_weights(spec):
            save_weights(model, folder / WEIGHTS)

    def _bill(
        self, spec: ModelSpec, clock: Clock, exclusive: bool, repeat: int = 0
    ) -> pd.DataFrame:
        """One row for each timed region."""
        told = {"model_key": self.store.entry(spec).key, "repeat": repeat, **stamp(self.device)}
        told |= {"sitting": self._sitting, "exclusive": exclusive}
        return pd.DataFrame(
            [{**told, "region": name, **asdict(region)} for name, region in clock.regions.items()]
        )
