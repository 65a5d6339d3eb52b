import pandas as pd
import pytest

from medunlearn.study.models import middle_cell, original, retrained, unlearned
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
