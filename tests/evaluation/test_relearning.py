import copy
import shutil

import numpy as np
import pytest
import torch

from medunlearn.evaluation.relearning import relearn
from medunlearn.evaluation.scores import levels_by_partition
from medunlearn.study.builder import Builder
from medunlearn.study.cells import middle_cell
from medunlearn.study.design import original, retrained
from medunlearn.study.study import open_study

SETTINGS = {"seed": 0, "steps": 5, "every": 2, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def parts(tiny_profile, drawn, tmp_path_factory):
    """A trained original, the retain and the forget set."""
    runs = shutil.copytree(drawn, tmp_path_factory.mktemp("relearning") / "runs")
    builder = Builder(open_study("phantom", tiny_profile, runs=str(runs), device="cpu"))
    cell = middle_cell(builder.study.profile)
    builder.train([original(0), retrained(cell, 0)])
    retain, forget = map(builder.batches, builder.training_rows(retrained(cell, 0)))
    return builder, builder.trained(original(0)), retain, forget


def test_it_looks_at_the_forget_set_before_the_first_step_and_after_the_last(parts):
    bench, model, retain, forget = parts
    seen = relearn(model, retain, forget, bench.recipe, **SETTINGS)
    assert list(seen["step"].unique()) == [0, 2, 4, 5]
    patients = forget.images.patients[forget.rows].unique().tolist()
    for _, look in seen.groupby("step"):
        assert list(look["patient"]) == patients
    # the first look is at the model as it is
    levels = levels_by_partition(bench.logits(original(0)), bench.study.cohort.table, patients)
    assert seen.loc[seen["step"] == 0, "accuracy"].mean() == pytest.approx(levels["forget"])


def test_it_trains_a_copy_on_the_retain_set_alone(parts, monkeypatch):
    builder, model, retain, forget = parts
    before = copy.deepcopy(model.state_dict())
    drawn = []
    real = type(retain).epoch

    def note(self, *arguments, **settings):
        drawn.append(self)
        return real(self, *arguments, **settings)

    monkeypatch.setattr(type(retain), "epoch", note)
    seen = relearn(model, retain, forget, builder.recipe, **SETTINGS)
    assert set(map(id, drawn)) == {id(retain)}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    confidence = seen.groupby("step")["confidence"].mean()
    assert len(set(confidence)) == 4, "the copy did not move"


def test_two_models_of_one_seed_see_the_same_batches(parts):
    builder, model, retain, forget = parts
    first, again = (relearn(model, retain, forget, builder.recipe, **SETTINGS) for _ in range(2))
    np.testing.assert_array_equal(first["confidence"], again["confidence"])
    other = relearn(model, retain, forget, builder.recipe, **{**SETTINGS, "seed": 1})
    assert not np.array_equal(first["confidence"], other["confidence"])


def test_training_on_the_forget_set_would_show(parts):
    """What the measure is for: it rises when the forgotten images are learnt again."""
    builder, _, retain, forget = parts
    model = builder.trained(retrained(middle_cell(builder.study.profile), 0))
    settings = {**SETTINGS, "steps": 40}
    honest, taught = (
        relearn(model, batches, forget, builder.recipe, **settings).groupby("step")["confidence"]
        for batches in (retain, forget)
    )
    assert taught.mean().iloc[-1] > honest.mean().iloc[-1] + 0.5
