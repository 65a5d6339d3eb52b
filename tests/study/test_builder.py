from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from medunlearn.cohort.forget_sets import Composition, development_patients
from medunlearn.cohort.partition import patient_table
from medunlearn.errors import InputError
from medunlearn.evaluation.difficulty import patient_confidence
from medunlearn.study import builder as module
from medunlearn.study.builder import CHECKPOINT, Builder
from medunlearn.study.cells import Cell, middle_cell
from medunlearn.study.design import (
    original,
    reference,
    references,
    retrained,
    timing,
    trial,
    unlearned,
)
from medunlearn.study.study import open_study
from tests.conftest import TINY


@pytest.fixture
def builder(tiny_study):
    return Builder(tiny_study)


def test_a_task_holds_what_a_method_may_read_and_no_test_image(builder):
    cell = middle_cell(builder.study.profile)
    table = builder.study.cohort.table
    spec = unlearned("salun", cell, 1000)
    task = builder.task(spec, clock=None)
    forgotten = set(builder.store.forget_set(spec).patients)
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


def test_originals_keep_a_checkpoint_only_for_a_method_that_rewinds(builder):
    builder.train([original(1000)])
    plain = builder.store.entry(original(1000)).key
    assert CHECKPOINT not in builder.store.files(plain)
    rewinding = builder.with_settings("r2d", {})
    assert rewinding.store.entry(original(1000)).key != plain
    rewinding.train([original(1000)])
    spec = unlearned("r2d", middle_cell(builder.study.profile), 1000)
    task = rewinding.task(spec, clock=None)
    early, trained = (rewinding.trained(original(1000), *file) for file in ([CHECKPOINT], []))
    assert torch.equal(task.checkpoint.fc.weight, early.fc.weight)
    assert not torch.equal(early.fc.weight, trained.fc.weight)
    assert torch.equal(trained.fc.weight, builder.trained(original(1000)).fc.weight)
    rewinding.unlearn([spec])
    assert rewinding.store.is_done(spec)
    reference_keys = [b.store.entry(reference(1200)).key for b in (builder, rewinding)]
    assert reference_keys[0] == reference_keys[1]


def test_a_retrained_model_never_sees_the_forgotten(builder, monkeypatch):
    seen = []

    def note(batches, *_, **__):
        seen.append(set(batches.images.patients[batches.rows].tolist()))

    monkeypatch.setattr("medunlearn.study.builder.train", note)
    for name in ("write", "_settle"):
        monkeypatch.setattr(builder, name, lambda *_: None)
    cell = middle_cell(builder.study.profile)
    builder.train([original(1000), retrained(cell, 1000)])
    gone = set(builder.store.forget_set(retrained(cell, 1000)).patients)
    assert seen[0] - seen[1] == gone


def test_a_model_that_fails_does_not_keep_the_others_from_being_made(builder, monkeypatch):
    real = builder._train

    def fail(folder, spec):
        if spec.seed == 1000:
            raise ArithmeticError("blown up")
        real(folder, spec)

    monkeypatch.setattr(builder, "_train", fail)
    said = "1 of 2 models failed: original, seed 1000: ArithmeticError"
    with pytest.raises(RuntimeError, match=said):
        builder.train([original(1000), original(1001)])
    assert builder.store.missing([original(1000), original(1001)]) == [original(1000)]


def test_a_bill_tells_regions_memory_device_and_session_and_is_never_exclusive(builder):
    spec = unlearned("salun", middle_cell(builder.study.profile), 1000)
    builder.train([original(1000)])
    builder.unlearn([spec])
    bills = builder.costs([spec])
    assert set(bills["region"]) == {"preparation", "unlearning", "batchnorm"}
    assert set(builder.costs([original(1000)])["region"]) == {"training", "batchnorm"}
    assert not bills["exclusive"].any()
    assert (bills["seconds"] > 0).all()
    assert (bills["peak_bytes"] > 50e6).all()
    assert bills[["device", "device_type", "torch", "python", "threads"]].all(axis=None)
    again = Builder(builder.study)
    again.train([original(1001)])
    assert builder.costs([original(1000)])["sitting"].eq(bills["sitting"].iloc[0]).all()
    assert builder.costs([original(1001)])["sitting"].ne(bills["sitting"].iloc[0]).all()


def test_a_cohort_of_one_sex_has_no_forget_sets_of_women_or_men(tmp_path, monkeypatch):
    from medunlearn.study import study as module

    real = module.build_cohort

    def of_one_sex(*arguments, **settings):
        cohort = real(*arguments, **settings)
        cohort.table["sex"] = pd.Series([None] * len(cohort.table), dtype=object)
        return cohort

    monkeypatch.setattr(module, "build_cohort", of_one_sex)
    profile = tmp_path / "five.yaml"
    profile.write_text(yaml.safe_dump({**TINY, "compositions": list(get_args(Composition))}))
    study = open_study("phantom", str(profile), runs=str(tmp_path / "runs"), device="cpu")
    assert study.profile.compositions == ["random", "easy", "hard"]


def test_doing_nothing_is_run_like_a_method_and_changes_nothing(builder):
    with pytest.raises(InputError, match="'original' is not known"):
        builder.study.with_settings("original", {"epochs": 1})
    study = builder.study.with_settings("original", {})
    nothing = unlearned("original", middle_cell(study.profile), 1000)
    builder.train([original(1000)])
    Builder(study).unlearn([nothing])
    assert builder.store.is_done(nothing), "another key than that of the grid"
    np.testing.assert_array_equal(builder.logits(nothing), builder.logits(original(1000)))
    assert (builder.store.path(nothing) / "relearning.parquet").is_file()
    assert set(builder.costs([nothing])["region"]) == {"unlearning"}


def raw(builder, spec):
    """Predictions with the statistics as they were left, by sample."""
    table = pq.read_table(builder.store.file(spec, "raw_predictions.parquet"))
    return dict(zip(table["sample"].to_pylist(), table["logits"].to_pylist(), strict=True))


def test_statistics_are_estimated_over_what_a_model_may_keep(builder, monkeypatch):
    """Of originals, retrained, reference and unlearned models, of trials and timings."""
    seen, real = [], module.reestimate_statistics

    def note(model, batches):
        seen.append(set(batches.rows.tolist()))
        real(model, batches)

    monkeypatch.setattr(module, "reestimate_statistics", note)
    cell = middle_cell(builder.study.profile)
    trained = [original(1000), retrained(cell, 1000), reference(1200)]
    for specs, make in (
        (trained, builder.train),
        ([unlearned("finetune", cell, 1000)], builder.unlearn),
        ([timing("finetune", cell, 1000), timing("retrain", cell, 1000)], builder.measure_cost),
    ):
        for spec in specs:
            make([spec])
            assert seen.pop() == set(builder.training_rows(spec)[0]), spec.title
            assert not seen
    builder.try_out([trial("finetune", 1000)])  # once more to warm up
    assert seen == [set(builder.training_rows(trial("finetune", 1000))[0])] * 2


def test_raw_predictions_are_those_before_the_statistics_were_estimated(builder, monkeypatch):
    monkeypatch.setattr(module, "reestimate_statistics", lambda *_: None)
    cell = middle_cell(builder.study.profile)
    specs = [original(1000), retrained(cell, 1000)]
    builder.train(specs)
    for spec in specs:  # nothing was changed, so that both are the same
        logits, left = builder.logits(spec), raw(builder, spec)
        np.testing.assert_allclose([*left.values()], logits[[*left]], atol=1e-5)
    monkeypatch.undo()
    made = unlearned("finetune", cell, 1000)
    builder.unlearn([made])
    left = raw(builder, made)
    assert np.abs(builder.logits(made)[[*left]] - [*left.values()]).max() > 0.01


def test_raw_predictions_are_of_test_images_and_of_forget_sets(builder):
    cell, table = middle_cell(builder.study.profile), builder.study.cohort.table
    nothing, made = unlearned("original", cell, 1000), unlearned("finetune", cell, 1000)
    builder.train([original(1000), retrained(cell, 1000), reference(1200)])
    builder.unlearn([nothing, made])
    test = set(table.loc[table["partition"] == "test", "sample"])
    train = set(table.loc[table["partition"] == "train", "sample"])
    forget = set(builder.training_rows(made)[1])
    for spec in (retrained(cell, 1000), made):
        assert set(raw(builder, spec)) == test | forget
    assert set(raw(builder, original(1000))) == test | train
    assert raw(builder, nothing) == raw(builder, original(1000)), "the raw original, bit for bit"
    assert not (builder.store.path(reference(1200)) / "raw_predictions.parquet").exists()


def test_hard_forget_sets_are_drawn_from_reference_models_made_on_the_way(builder):
    """A notebook opened on its own: nobody has trained the reference models before."""
    cell = Cell("hard", 0.1)
    spec = unlearned("finetune", cell, 1000)
    builder.train([original(1000)])
    builder.unlearn([spec])
    assert builder.store.missing([spec, *references(builder.study.profile)]) == []
    table = builder.study.cohort.table
    confidence = patient_confidence(builder.store.references().confidence(), table)
    patients = patient_table(table[table["partition"] == "train"])
    eligible = patients.drop(development_patients(table)).assign(confidence=confidence)
    hard = eligible.index.isin(builder.store.forget_set(spec).patients)
    assert hard.any()
    for _, alike in eligible.assign(hard=hard).groupby(["sex", "rarest"]):
        highest = alike.loc[alike["hard"], "confidence"].max()
        assert not (alike.loc[~alike["hard"], "confidence"] < highest).any()


def test_a_reference_model_sees_the_other_half_of_its_partner(builder):
    one, other = (set(builder.training_rows(reference(seed))[0]) for seed in (1200, 1201))
    assert not one & other
    table = builder.study.cohort.table
    assert len(one | other) == (table["partition"] == "train").sum()


@pytest.fixture
def fake(monkeypatch):
    """A clock that moves only when told to; what is not part of the work takes very long."""

    class Fake:
        time = 0.0

        def __call__(self):
            return self.time

        def slow(self, owner, name, seconds):
            real = getattr(owner, name)

            def act(*arguments, **settings):
                self.time += seconds
                return real(*arguments, **settings)

            monkeypatch.setattr(owner, name, act)

    fake = Fake()
    monkeypatch.setattr(module, "Clock", partial(module.Clock, now=fake, cpu_now=fake))
    for name in ("predict", "relearn", "save_weights", "write_predictions", "load_weights"):
        fake.slow(module, name, 1000)
    for name in ("write", "trained", "_bill", "training_rows", "_predict_raw"):
        fake.slow(Builder, name, 1000)
    return fake


def test_evaluation_and_saving_are_in_no_region(builder, fake):
    fake.slow(module, "train", 3)
    fake.slow(module, "reestimate_statistics", 2)
    spec = unlearned("salun", middle_cell(builder.study.profile), 1000)
    builder.train([original(1000)])
    builder.unlearn([spec])
    training, unlearning = builder.costs([original(1000)]), builder.costs([spec])
    assert training.set_index("region")["seconds"].to_dict() == {"training": 3, "batchnorm": 2}
    spent = unlearning.set_index("region")["seconds"].to_dict()
    assert spent == {"preparation": 0, "unlearning": 0, "batchnorm": 2}


def test_warm_up_runs_come_first_and_are_in_no_row(builder, fake, monkeypatch):
    cost = builder.study.profile.cost.model_copy(update={"warmups": 2, "repeats": 3})
    profile = builder.study.profile.model_copy(update={"cost": cost})
    builder = Builder(replace(builder.study, profile=profile))
    lengths = iter([500, 100, 5, 6, 7])

    def apply(_folder, _spec, _start, clock):
        with clock("unlearning"):
            fake.time += next(lengths)

    monkeypatch.setattr(builder, "_apply", apply)
    spec = timing("salun", middle_cell(profile), 1000)
    builder.train([original(1000)])
    builder.measure_cost([spec])
    rows = builder.costs([spec])
    assert list(rows["seconds"]) == [5, 6, 7]
    assert list(rows["repeat"]) == [0, 1, 2]


@pytest.mark.parametrize("locks", [True, False])
def test_what_is_timed_is_alone_on_the_device_or_does_not_say_so(builder, monkeypatch, locks):
    seen = []

    @contextmanager
    def hold(how, device, runs):
        assert runs == builder.study.folder.parent  # containers may share no other folder
        seen.append((how, device))
        yield locks
        seen.append("let go")

    monkeypatch.setattr(module, "clock_alone", partial(hold, "alone"))
    monkeypatch.setattr(module, "device_shared", partial(hold, "shared"))
    spec = timing("finetune", middle_cell(builder.study.profile), 1000)
    builder.train([original(1000)])
    builder.unlearn([unlearned("finetune", middle_cell(builder.study.profile), 1000)])
    assert seen == [("shared", "cpu"), "let go"] * 2
    builder.measure_cost([spec])
    assert seen[4:] == [("alone", "cpu"), "let go"]
    assert (builder.costs([spec])["exclusive"] == locks).all()
    tried = trial("finetune", 1000)
    builder.try_out([tried])  # its predictions are made beside others, but not beside a clock
    assert seen[6:] == [("alone", "cpu"), "let go", ("shared", "cpu"), "let go"]
    assert (builder.costs([tried])["exclusive"] == locks).all()


def test_what_another_notebook_has_finished_meanwhile_is_not_made_again(builder, monkeypatch):
    other, made = Builder(builder.study), []

    def note(folder, spec):
        made.append(spec)
        (folder / "weights.safetensors").write_text("x")
        if spec == original(1000):
            with other.store.writing(original(1001)) as its:
                (its / "weights.safetensors").write_text("y")

    monkeypatch.setattr(builder, "_train", note)
    builder.train([original(1000), original(1001)])
    assert made == [original(1000)]
