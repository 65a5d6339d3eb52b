import numpy as np
import pandas as pd
import pytest

from medunlearn.errors import InputError
from medunlearn.evaluation.difficulty import patient_confidence
from medunlearn.study.models import (
    Cell,
    middle_cell,
    original,
    reference,
    references,
    retrained,
    unlearned,
)
from medunlearn.study.study import open_study
from medunlearn.study.workbench import Workbench


@pytest.fixture
def bench(tiny_study):
    return Workbench(tiny_study)


def test_a_task_holds_what_a_method_may_read_and_no_test_image(bench):
    cell = middle_cell(bench.study.profile)
    table = bench.study.cohort.table
    spec = unlearned("salun", cell, 0)
    task = bench.task(spec, clock=None)
    forgotten = set(bench.ledger.draws.of(spec).patients)
    parts = {
        name: table.loc[getattr(task, name).rows.numpy()]
        for name in ("retain", "forget", "holdout")
    }
    assert set(parts["forget"]["patient"]) == forgotten
    assert not forgotten & set(parts["retain"]["patient"])
    assert set(parts["retain"]["partition"]) == set(parts["forget"]["partition"]) == {"train"}
    assert set(parts["holdout"]["partition"]) == {"validation_method"}
    train = table[table["partition"] == "train"]
    assert len(parts["retain"]) + len(parts["forget"]) == len(train)


def test_a_retrained_model_never_sees_the_forgotten(bench, monkeypatch):
    seen = []

    def note(batches, *_, **__):
        seen.append(set(batches.images.patients[batches.rows].tolist()))

    monkeypatch.setattr("medunlearn.study.workbench.train", note)
    monkeypatch.setattr(bench, "write", lambda *_: None)
    cell = middle_cell(bench.study.profile)
    bench.train([original(0), retrained(cell, 0)])
    gone = set(bench.ledger.draws.of(retrained(cell, 0)).patients)
    assert seen[0] - seen[1] == gone


def test_a_model_that_fails_does_not_keep_the_others_from_being_made(bench, monkeypatch):
    real = bench._train

    def fail(folder, spec):
        if spec.seed == 0:
            raise ArithmeticError("blown up")
        real(folder, spec)

    monkeypatch.setattr(bench, "_train", fail)
    said = "1 of 2 models failed: original, seed 0: ArithmeticError"
    with pytest.raises(RuntimeError, match=said):
        bench.train([original(0), original(1)])
    assert bench.ledger.missing([original(0), original(1)]) == [original(0)]


def test_preparation_is_billed_apart_and_the_grid_is_never_exclusive(bench):
    spec = unlearned("salun", middle_cell(bench.study.profile), 0)
    bench.train([original(0)])
    bench.unlearn([spec])
    bills = bench.costs([spec])
    assert set(bills["region"]) == {"preparation", "unlearning"}
    assert not bills["exclusive"].any()
    assert (bills["seconds"] > 0).all()


def test_a_cohort_of_one_sex_has_no_forget_sets_of_women_or_men(tmp_path, monkeypatch):
    from medunlearn.study import study as module

    real = module.build_cohort

    def of_one_sex(*arguments, **settings):
        cohort = real(*arguments, **settings)
        cohort.table["sex"] = pd.Series([None] * len(cohort.table), dtype=object)
        return cohort

    monkeypatch.setattr(module, "build_cohort", of_one_sex)
    study = open_study("phantom", "laptop", runs=str(tmp_path / "runs"), device="cpu")
    assert study.profile.compositions == ["random", "easy", "hard"]


def test_doing_nothing_is_run_like_a_method_and_changes_nothing(bench):
    study = bench.study.with_settings("original", {})
    nothing = unlearned("original", middle_cell(study.profile), 0)
    bench.train([original(0)])
    Workbench(study).unlearn([nothing])
    assert bench.ledger.is_done(nothing), "another key than that of the grid"
    np.testing.assert_array_equal(bench.logits(nothing), bench.logits(original(0)))
    assert (bench.ledger.path(nothing) / "relearning.parquet").is_file()


def test_doing_nothing_has_no_settings(bench):
    with pytest.raises(InputError, match="'original' is not known"):
        bench.study.with_settings("original", {"epochs": 1})


def test_hard_forget_sets_are_drawn_from_reference_models_made_on_the_way(bench):
    """A notebook opened on its own: nobody has trained the reference models before."""
    cell = Cell("hard", 0.1)
    spec = unlearned("finetune", cell, 0)
    bench.train([original(0)])
    bench.unlearn([spec])
    assert bench.ledger.missing([spec, *references(bench.study.profile)]) == []
    confidence = bench.ledger.draws.references().confidence()
    by_patient = patient_confidence(confidence, bench.study.cohort.table)
    hard = by_patient[list(bench.ledger.draws.of(spec).patients)]
    table = bench.study.cohort.table
    train = by_patient[table.loc[table["partition"] == "train", "patient"].unique()]
    assert hard.mean() < train.quantile(0.25)


def test_a_reference_model_sees_the_other_half_of_its_partner(bench):
    one, other = (set(bench.training_rows(reference(seed))[0]) for seed in (200, 201))
    assert not one & other
    table = bench.study.cohort.table
    assert len(one | other) == (table["partition"] == "train").sum()
