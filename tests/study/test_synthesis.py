from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.manifest import load_manifest
from medunlearn.evaluation.controls.resampling import FAILED
from medunlearn.evaluation.results import measure_fitness
from medunlearn.statistics.verdicts import (
    DIFFERENT,
    FEW_SEEDS,
    INCONCLUSIVE,
    NEGLIGIBLE,
    NOT_TESTED,
)
from medunlearn.study.profile import load_profile
from medunlearn.study.summary import summarise
from medunlearn.study.synthesis import synthesise, write_synthesis
from tests.evaluation.synthetic import DRAW, make_study

COSTS = ["device", "method", "forget_size", "repeat", "region", "seconds", "exclusive"]
COSTS += ["device_type", "cpu_seconds"]
WATCHED = ["accuracy", "confidence"]


def synthesis(made, raw, **changed):
    """Of a study in memory, with the laptop's margins."""
    profile = load_profile("laptop").model_copy(
        update={"confirmatory": ["finetune"], "forget_sizes": [0.1], "seeds": 8, "floor_seeds": 8}
        | changed
    )
    study = SimpleNamespace(profile=profile, cohort=SimpleNamespace(reference=0), tuned=None)
    tables = SimpleNamespace(
        models=made.models.assign(model_key=""), logits=made.logits, raw_logits=raw,
        cohort=made.cohort, draws=made.draws, difficulty=made.difficulty, reliability={"test": 0.9},
        costs=pd.DataFrame(columns=COSTS).astype({"exclusive": bool}),
        relearning=pd.DataFrame(columns=["model_key", "step", "patient", *WATCHED], dtype=float),
    )  # fmt: skip
    return synthesise(study, tables)


@pytest.fixture(scope="module")
def found():
    """Raw statistics make finetune worse for women; they are not stored of the retain set."""
    of = {"test": 400, "train": 400, "forget": 120, "methods": ("finetune",)}
    made = make_study(**of)
    harmed = {("unlearned", None, "finetune"): lambda c: -3.0 * (c["sex"] == "F")}
    raw = make_study(**of, shift=harmed).logits.copy()
    unknown = (made.cohort["partition"] == "train") & ~made.cohort["patient"].isin(made.draws[DRAW])
    raw[:, unknown] = np.nan
    return synthesis(made, raw)


def test_confirmatory_contrasts_stand_side_by_side_on_raw_and_re_estimated_statistics(found):
    table = found.sensitivity
    assert list(table) == [*found.verdicts, "statistics"]
    keys = ["claim", "contrast", "partition", "measure"]
    counts = table.groupby(keys)["statistics"].agg(sorted)
    assert len(counts) == found.verdicts["confirmatory"].sum() > 4
    assert all(each == ["raw", "re-estimated"] for each in counts)
    chosen = (table["measure"] == "balanced_accuracy") & (table["claim"] == "C2")
    by_kind = table[chosen].set_index("statistics")["estimate"]
    assert by_kind["raw"] < -0.1 < by_kind["re-estimated"]


def test_where_raw_predictions_are_not_stored_there_is_no_sensitivity_analysis():
    made = make_study(seeds=2, floor_seeds=2, test=60, train=80, forget=20)
    raw = np.full_like(made.logits, np.nan)
    assert synthesis(made, raw, seeds=2, floor_seeds=2).sensitivity.empty


def test_no_verdict_is_contradicted_by_the_interval_beside_it(found):
    judged = pd.concat([found.verdicts, found.audits])
    judged = judged[judged["refused"] == ""]
    excludes = (judged["low"] > 0) | (judged["high"] < 0)
    differs = judged["verdict"].isin([DIFFERENT, NEGLIGIBLE])
    assert differs.sum() > 20
    assert excludes[differs].all()
    # of what is exploratory the interval is unadjusted: the reading then says so
    open_rows = judged[(judged["verdict"] == INCONCLUSIVE) & excludes]
    assert not open_rows["confirmatory"].any()
    assert open_rows["reading"].str.endswith("not confirmed").all()


def test_an_inconclusive_verdict_says_what_would_settle_it(found):
    open_rows = found.verdicts[found.verdicts["verdict"] == INCONCLUSIVE]
    assert len(open_rows)
    assert open_rows["settled_by"].str.contains("seeds").all()
    others = found.verdicts[found.verdicts["verdict"] != INCONCLUSIVE]
    assert (others["settled_by"] == "").all()


def test_retrained_models_are_held_to_majority_and_chance(found, tmp_path):
    table = found.fitness.set_index("measure")
    labels = found.measurements.cohort.query("partition == 'test'")["label"]
    assert table.loc["accuracy", "baseline"] == pytest.approx(labels.value_counts(True).max())
    assert table["fit"].all()
    write_synthesis(found, tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"fitness.csv", "sensitivity.csv", "verdicts.csv"} <= names


def test_models_not_clearly_better_than_the_majority_are_not_fit():
    blind = {("retrained", "A", None): lambda c: -2.6 * np.ones(len(c))}
    made = make_study(seeds=2, floor_seeds=2, test=200, train=80, forget=20, shift=blind)
    row = measure_fitness(made, 0.1).set_index("measure").loc["accuracy"]
    assert row["low"] < row["baseline"] < row["estimate"]
    assert not row["fit"]


def test_a_summary_warns_first_and_of_a_study_that_is_not_fit_it_has_no_answer(found):
    cohort = SimpleNamespace(manifest=load_manifest("phantom"))
    of = {"profile_name": "laptop", "device": "cpu", "cohort": cohort, "tuned": None}
    study = SimpleNamespace(profile=load_profile("laptop"), **of)
    made = found.measurements
    known = {name: getattr(made, name) for name in ("models", "logits", "cohort")}
    bills = pd.DataFrame(columns=COSTS).astype({"exclusive": bool})
    tables = SimpleNamespace(**known, costs=bills, absent=[])
    warned = summarise(study, tables, replace(found, fitness=found.fitness.assign(fit=False)))
    for part in ("result", "abstract"):
        assert [line.split(":")[0] for line in warned[part][:2]] == ["Caution"] * 2
    assert set(warned["answers"]) == {"C1", "C2", "C3", "C4", "audits", "C5"}
    assert ["folded" in str(warned[part]) for part in ("counts", "matrix")] == [False, True]
    silent = {"verdict": NOT_TESTED, "refused": FEW_SEEDS}
    few = {name: getattr(found, name).assign(**silent) for name in ("verdicts", "audits")}
    shown = summarise(study, tables, replace(found, fitness=found.fitness.assign(fit=False), **few))
    assert shown["result"][0].startswith("Caution"), "a demonstration, too"
    unfit = summarise(study, tables, replace(found, controls=found.controls.assign(state=FAILED)))
    assert unfit["result"][0].startswith("This study is not fit for verdicts")
    assert "it must be 5 or more, and clearly above set B" in unfit["result"][0]
    assert set(unfit["answers"]) == {"C5"}
