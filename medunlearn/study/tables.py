"""The tables of a study, gathered from its models: all that synthesis and report read."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST, TRAIN
from medunlearn.disk import write_record, written_whole
from medunlearn.evaluation.difficulty import measure_difficulty, reliability
from medunlearn.study import design
from medunlearn.study.design import ModelSpec
from medunlearn.study.store import Store
from medunlearn.study.study import Study

DIFFICULTY_COLUMNS = ["sample", "confidence_out", "memorisation", "stratum"]

RELEARNING = pa.schema(
    [("model_key", pa.string())]
    + [(name, pa.int64()) for name in ("step", "patient")]
    + [(name, pa.float64()) for name in ("accuracy", "confidence")]
)
"""Columns of the return of forget sets, for a study in which none was watched yet."""

MODEL_COLUMNS = [
    *("model_key", "role", "oracle_set", "method", "forget_size", "composition", "draw"),
    *("seed", "init_seed"),
]


@dataclass(frozen=True)
class Tables:
    """What is known of all models of a study.

    Args:
        models: One row for each model (``MODEL_COLUMNS``), in the order of the design.
        logits: (models, samples, classes), float32, aligned with models and cohort.
        costs: One row for each timed region; ``exclusive`` ones come from the cost pass.
        cohort: The cohort's table.
        draws: Patients that models were not to know, by name of the draw.
        difficulty: One row for each sample, as from ``measure_difficulty``; empty if no or not
            all reference models are there.
        reliability: Split-half reliability of difficulty, on ``train`` and ``test``.
        relearning: How the forget set returns, as from ``relearn``, with the models' columns.
        absent: Titles of the models of the design that are not there.
        raw_predictions: The file that ``raw_logits`` is read from.
    """

    models: pd.DataFrame
    logits: NDArray[np.float32]
    costs: pd.DataFrame
    cohort: pd.DataFrame
    draws: dict[str, list[int]]
    difficulty: pd.DataFrame
    reliability: dict[str, float]
    relearning: pd.DataFrame
    absent: list[str]
    raw_predictions: Path

    @cached_property
    def raw_logits(self) -> NDArray[np.float32]:
        """As ``logits``, with BatchNorm statistics as training or unlearning left them.

        (models, samples, classes); read when first asked for. NaN where nothing was stored: there
        are test samples and the model's forget set, of originals all training samples. Models
        without a raw prediction (reference models) have their ``logits``.
        """
        raw, file = self.logits.copy(), pq.ParquetFile(self.raw_predictions)
        rows = {str(key): row for row, key in enumerate(self.models["model_key"])}
        for number in range(file.num_row_groups):  # one for each model
            if len(table := file.read_row_group(number)):
                values = table["logits"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                row = rows[table["model_key"][0].as_py()]
                raw[row] = np.nan
                raw[row, table["sample"].to_numpy()] = values.reshape(len(table), -1)
        return raw


def collect_tables(study: Study, store: Store) -> None:
    """Write ``tables/`` from the models that are done; each file appears whole.

    That is ``{models,predictions,raw_predictions,costs,relearning,difficulty}.parquet``,
    ``draws.json``, ``reliability.json``, and ``absent.json``, which names the models that are
    missing.
    """
    folder = study.folder / "tables"
    folder.mkdir(exist_ok=True)
    for left in folder.glob("*.partial*"):  # by a killed run: nobody else writes here
        left.unlink()
    profile = study.profile
    planned, timings = design.all_models(profile), design.all_timings(profile)
    done = [spec for spec in planned if store.is_done(spec)]
    every = [*done, *(spec for spec in timings if store.is_done(spec))]
    watched = [spec for spec in done if design.is_watched(profile, spec)]
    rows = [_row(spec, store.entry(spec).key) for spec in every]
    _write(folder / "models.parquet", [pa.Table.from_pandas(pd.DataFrame(rows))])
    files = {"costs.parquet": every, "predictions.parquet": done, "relearning.parquet": watched}
    files["raw_predictions.parquet"] = [x for x in done if design.has_raw(x)]
    for name, specs in files.items():
        # one model at a time: memory does not grow with the study
        parts = (pq.read_table(store.file(spec, name)) for spec in specs)
        _write(folder / name, parts if specs else [RELEARNING.empty_table()])
    difficulty, reliable = pd.DataFrame(columns=DIFFICULTY_COLUMNS), {}
    if (halves := design.references(profile)) and set(halves) <= set(done):
        known = store.references()  # all of them: half of the models would be another measure
        difficulty = measure_difficulty(known)
        reliable = {part: reliability(known, part) for part in (TRAIN, TEST)}
    _write(folder / "difficulty.parquet", [pa.Table.from_pandas(difficulty)])
    write_record(folder / "reliability.json", reliable)
    drawn = [store.forget_set(spec) for spec in done if spec.cell]
    write_record(folder / "draws.json", {draw.name: list(draw.patients) for draw in drawn})
    made = set(every)
    absent = [spec.title for spec in [*planned, *timings] if spec not in made]
    write_record(folder / "absent.json", absent)


def _row(spec: ModelSpec, key: str) -> dict[str, object]:
    """Which model it is, in the columns ``MODEL_COLUMNS``."""
    told = asdict(spec) | (asdict(spec.cell) if spec.cell else {})
    told |= {"model_key": key, "draw": spec.draw, "init_seed": spec.seed}
    return {column: told.get(column) for column in MODEL_COLUMNS}


def _write(path: Path, parts: Iterable[pa.Table]) -> None:
    """Write tables of one schema below each other, as one that appears whole."""
    waiting = iter(parts)
    first = next(waiting)
    with written_whole(path) as partial, pq.ParquetWriter(partial, first.schema) as writer:
        for part in chain([first], waiting):
            writer.write_table(part)


def load_tables(study: Study) -> Tables:
    """Read what ``collect_tables`` wrote; no model, no torch and no GPU is needed."""
    folder = study.folder / "tables"
    names = ("models", "costs", "relearning", "difficulty")
    read: dict[str, Any] = {name: pd.read_parquet(folder / f"{name}.parquet") for name in names}
    models = read["models"]
    for name in ("costs", "relearning"):
        read[name] = read[name].merge(models[MODEL_COLUMNS], on="model_key", validate="many_to_one")
    read["models"] = models[models["role"] != "timing"].reset_index(drop=True)
    told = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    return Tables(
        logits=_read_logits(folder / "predictions.parquet", len(read["models"])),
        cohort=study.cohort.table,
        raw_predictions=folder / "raw_predictions.parquet",
        **read,
        **told,
    )


def _read_logits(path: Path, models: int) -> NDArray[np.float32]:
    """(models, samples, classes)."""
    column = pq.read_table(path, columns=["logits"])["logits"]
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    return flat.reshape(models, len(column) // models, -1)
