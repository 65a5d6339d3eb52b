"""A store full of models that nobody trained, to see how it grows."""

from pathlib import Path

import numpy as np
import pandas as pd

from medunlearn.evaluation.predictions import write_predictions
from medunlearn.study.design import ModelSpec, all_models, all_timings, is_watched
from medunlearn.study.store import Store
from medunlearn.study.study import Study


def fill_store(study: Study) -> int:
    """Write every model of the design, in the form of real ones: random logits, made-up seconds.

    Returns:
        How many there are.
    """
    store, random = Store(study), np.random.default_rng(0)
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    for spec in specs:
        with store.writing(spec) as folder:
            _write_files(study, store, spec, folder, random)
    return len(specs)


def _write_files(
    study: Study, store: Store, spec: ModelSpec, folder: Path, random: np.random.Generator
) -> None:
    key, bill = store.entry(spec).key, {"region": "unlearning", "repeat": 0, "seconds": 1.0}
    of_device = {"peak_bytes": 0.0, "device": "none", "torch": "", "exclusive": False}
    bills = pd.DataFrame([{"model_key": key, **bill, "cpu_seconds": 1.0, **of_device}])
    bills.to_parquet(folder / "costs.parquet", index=False)
    if spec.role == "timing":
        return
    shape = (len(study.cohort.table), len(study.cohort.classes))
    write_predictions(folder / "predictions.parquet", key, random.normal(size=shape).astype("f4"))
    if is_watched(study.profile, spec):
        patients = np.asarray(store.forget_set(spec).patients)
        seen = {"model_key": key, "step": 0, "patient": patients, "accuracy": 1.0}
        looks = pd.DataFrame({**seen, "confidence": 0.0})
        looks.to_parquet(folder / "relearning.parquet", index=False)
