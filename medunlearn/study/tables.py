"""The tables of a study, gathered from its models: all that synthesis and report read."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST, TRAIN
from medunlearn.disk import written_whole
from medunlearn.evaluation.difficulty import measure_difficulty, reliability
from medunlearn.study.ledger import Ledger
from medunlearn.study.models import ModelSpec, all_models, all_timings, references
from medunlearn.study.study import Study

DIFFICULTY_COLUMNS = ["sample", "confidence_out", "memorisation", "stratum"]

RELEARNING = {
    "model_key": pa.string(),
    "step": pa.int64(),
    "patient": pa.int64(),
    "accuracy": pa.float64(),
    "confidence": pa.float64(),
}
"""Columns of the return of forget sets, for a study in which none was watched yet."""

MODEL_COLUMNS = [
    "model_key",
    "role",
    "oracle_set",
    "method",
    "forget_size",
    "composition",
    "draw",
    "seed",
    "init_seed",
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


def collect_tables(study: Study, ledger: Ledger) -> None:
    """Write ``tables/`` from the models that are done; each file appears whole.

    That is ``{models,predictions,costs,relearning,difficulty}.parquet``, ``draws.json``,
    ``reliability.json``, and ``absent.json``, which names the models that are missing.
    """
    folder = study.folder / "tables"
    folder.mkdir(exist_ok=True)
    for left in folder.glob("*.partial*"):  # by a killed run: nobody else writes here
        left.unlink()
    design, timings = all_models(study.profile), all_timings(study.profile)
    done = [spec for spec in design if ledger.is_done(spec)]
    timed = [spec for spec in timings if ledger.is_done(spec)]
    rows = [_model_row(spec, ledger) for spec in [*done, *timed]]
    _replace(folder / "models.parquet", pa.Table.from_pandas(pd.DataFrame(rows)))
    costs = [pq.read_table(ledger.path(spec) / "costs.parquet") for spec in [*done, *timed]]
    _replace(folder / "costs.parquet", pa.concat_tables(costs))
    watched = [ledger.path(spec) / "relearning.parquet" for spec in done]
    looks = [pq.read_table(path) for path in watched if path.is_file()]
    looks = looks or [pa.schema(RELEARNING).empty_table()]
    _replace(folder / "relearning.parquet", pa.concat_tables(looks))
    first = pq.read_schema(ledger.path(done[0]) / "predictions.parquet")
    whole = written_whole(folder / "predictions.parquet")
    with whole as partial, pq.ParquetWriter(partial, first) as writer:
        for spec in done:  # one model at a time: memory does not grow with the study
            writer.write_table(pq.read_table(ledger.path(spec) / "predictions.parquet"))
    _collect_difficulty(study, ledger, folder)
    drawn = [ledger.draws.of(spec) for spec in done if spec.cell]
    _write(folder / "draws.json", {draw.name: list(draw.patients) for draw in drawn})
    absent = [spec.title for spec in [*design, *timings] if spec not in {*done, *timed}]
    _write(folder / "absent.json", absent)


def _collect_difficulty(study: Study, ledger: Ledger, folder: Path) -> None:
    """Difficulty of every sample and its reliability; empty unless every reference model is there.

    Half of the models would be another measure.
    """
    specs = references(study.profile)
    difficulty, reliable = pd.DataFrame(columns=DIFFICULTY_COLUMNS), {}
    if specs and all(ledger.is_done(spec) for spec in specs):
        known = ledger.draws.references()
        difficulty = measure_difficulty(known)
        reliable = {part: reliability(known, part) for part in (TRAIN, TEST)}
    _replace(folder / "difficulty.parquet", pa.Table.from_pandas(difficulty))
    _write(folder / "reliability.json", reliable)


def load_tables(study: Study) -> Tables:
    """Read what ``collect_tables`` wrote; no model, no torch and no GPU is needed."""
    folder = study.folder / "tables"
    models = pd.read_parquet(folder / "models.parquet")
    predicted = models[models["role"] != "timing"].reset_index(drop=True)
    models_of = models[MODEL_COLUMNS]
    return Tables(
        models=predicted,
        logits=_read_logits(folder / "predictions.parquet", len(predicted)),
        costs=pd.read_parquet(folder / "costs.parquet").merge(
            models_of, on="model_key", validate="many_to_one"
        ),
        cohort=study.cohort.table,
        draws=json.loads((folder / "draws.json").read_text()),
        difficulty=pd.read_parquet(folder / "difficulty.parquet"),
        reliability=json.loads((folder / "reliability.json").read_text()),
        relearning=pd.read_parquet(folder / "relearning.parquet").merge(
            models_of, on="model_key", validate="many_to_one"
        ),
        absent=json.loads((folder / "absent.json").read_text()),
    )


def _read_logits(path: Path, models: int) -> NDArray[np.float32]:
    """(models, samples, classes), read piece by piece: in memory once."""
    file = pq.ParquetFile(path)
    logits, done = np.empty(0, np.float32), 0
    for batch in file.iter_batches(columns=["logits"]):
        values = batch["logits"].flatten().to_numpy(zero_copy_only=False)
        if not done:
            logits = np.empty(file.metadata.num_rows * (len(values) // len(batch)), np.float32)
        logits[done : done + len(values)] = values
        done += len(values)
    return logits.reshape(models, file.metadata.num_rows // models, -1)


def load_predictions(study: Study) -> pd.DataFrame:
    """The wide table of the protocol: one row for each model, forget set and image.

    Originals have no forget set of their own; they appear once for every draw, as ``do nothing``.
    ``partition`` is retain, forget, validation_method, validation_evaluation or test; for a
    reference model forget means the half that it did not see.
    """
    tables = load_tables(study)
    models = tables.models.assign(row=np.arange(len(tables.models)))
    own = models[models["role"] != "original"]
    forgets = own[own["role"] != "reference"]
    cells = forgets[["forget_size", "composition", "draw"]].drop_duplicates()
    originals = models[models["role"] == "original"].drop(columns=cells.columns)
    every = pd.concat([originals.merge(cells, how="cross"), own], ignore_index=True)
    difficulty = tables.difficulty.set_index("sample").reindex(tables.cohort["sample"])
    difficulty.index = tables.cohort.index
    parts = []
    for model in every.itertuples():
        rows = tables.cohort[["patient", "partition", "sex", "age", "label"]].copy()
        train = rows["partition"] == TRAIN
        forgotten = rows["patient"].isin(tables.draws[str(model.draw)])
        rows.loc[train, "partition"] = np.where(forgotten[train], "forget", "retain")
        rows.insert(0, "sample_id", tables.cohort["sample"])
        for column in MODEL_COLUMNS:
            rows[column] = getattr(model, column)
        rows["positive"] = rows["label"] != study.cohort.reference
        rows[["difficulty", "memorisation"]] = difficulty[["confidence_out", "memorisation"]]
        rows["logits"] = list(tables.logits[int(str(model.row))])
        parts.append(rows)
    wide = pd.concat(parts, ignore_index=True)
    return wide.assign(
        dataset=study.cohort.manifest.name, profile=Path(study.profile_name).stem
    ).rename(columns={"role": "model_role", "patient": "patient_id"})


def _model_row(spec: ModelSpec, ledger: Ledger) -> dict[str, object]:
    cell = spec.cell
    return {
        "model_key": ledger.entry(spec).key,
        "role": spec.role,
        "oracle_set": spec.oracle_set,
        "method": spec.method,
        "forget_size": cell.forget_size if cell else None,
        "composition": cell.composition if cell else None,
        "draw": spec.draw,
        "seed": spec.seed,
        "init_seed": spec.seed,
    }


def _write(path: Path, content: object) -> None:
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def _replace(path: Path, table: pa.Table) -> None:
    with written_whole(path) as partial:
        pq.write_table(table, partial)
