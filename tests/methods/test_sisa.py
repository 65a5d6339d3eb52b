from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.batches import Batches, Images
from medunlearn.methods.sisa import Ensemble, shards_of, sisa
from medunlearn.randomness import stream
from medunlearn.training import train


@pytest.fixture(scope="module")
def task(make_task):
    """Two images a patient, all images of a patient on one side."""
    return make_task(retain=64, forget=8)[1]


def without(task, patients):
    """The task of forgetting these patients among all of its training images."""
    rows = torch.cat([task.retain.rows, task.forget.rows])
    forget = torch.isin(task.retain.images.patients[rows], torch.as_tensor(patients))
    return replace(
        task,
        retain=Batches(task.retain.images, rows[~forget], task.recipe),
        forget=Batches(task.retain.images, rows[forget], task.recipe),
    )


def same(one, two):
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_every_patient_is_wholly_in_one_shard_whoever_else_is_there(task):
    patients = task.retain.images.patients
    whole = [set(patients[rows].tolist()) for rows in shards_of(task.retain, 4, seed=0)]
    assert sum(map(len, whole)) == len(set(patients[task.retain.rows].tolist()))
    half = Batches(task.retain.images, task.retain.rows[:30], task.recipe)
    for few, many in zip(shards_of(half, 4, seed=0), whole, strict=True):
        assert set(patients[few].tolist()) <= many
    assert whole != [set(patients[rows].tolist()) for rows in shards_of(task.retain, 4, seed=1)]


def test_untouched_shards_stay_and_touched_ones_equal_training_without_the_forgotten(task):
    images = task.retain.images
    rows = torch.cat([task.retain.rows, task.forget.rows])
    whole = shards_of(Batches(images, rows, task.recipe), 4, seed=5)
    gone = images.patients[whole[2]].unique()[:2]  # both in one shard
    members = sisa(None, without(task, gone), seed=5).members
    for shard, rows in enumerate(whole):
        stays = rows[~torch.isin(images.patients[rows], gone)]
        assert (len(stays) < len(rows)) == (shard == 2)
        seed = int(stream("sisa", 5, "shard", shard).integers(2**62))
        expected = train(Batches(images, stays, task.recipe), task.recipe, seed=seed)
        assert same(members[shard], expected)


def test_only_touched_shards_are_trained_twice(task, monkeypatch):
    images = task.retain.images
    rows = torch.cat([task.retain.rows, task.forget.rows])
    whole = shards_of(Batches(images, rows, task.recipe), 4, seed=5)
    trained = []
    monkeypatch.setattr(
        "medunlearn.methods.sisa.train",
        lambda batches, *_, **__: trained.append(len(batches)) or torch.nn.Identity(),
    )
    gone = images.patients[whole[2]].unique()[:2]
    sisa(None, without(task, gone), seed=5)
    assert trained == [*map(len, whole), len(whole[2]) - 4]


def test_random_forget_sets_touch_nearly_every_shard():
    patients = torch.arange(550)
    images = Images(torch.empty(550, 0), patients, patients)
    touched = []
    for draw in range(20):
        forget = torch.randperm(550, generator=torch.Generator().manual_seed(draw))[:55]
        shards = shards_of(Batches(images, forget, None), 8, seed=draw)
        touched.append(sum(len(rows) > 0 for rows in shards))
    assert min(touched) >= 7


def test_the_output_is_the_log_of_the_mean_softmax(make_task):
    (one, task), (two, _) = make_task(seed=1), make_task(seed=2)
    inputs, _ = next(task.holdout.ordered())
    mean = (F.softmax(one(inputs), dim=1) + F.softmax(two(inputs), dim=1)) / 2
    torch.testing.assert_close(Ensemble([one, two]).eval()(inputs), mean.log())


def test_a_shard_without_images_left_is_dropped(task):
    images = task.retain.images
    rows = torch.cat([task.retain.rows, task.forget.rows])
    whole = shards_of(Batches(images, rows, task.recipe), 4, seed=5)
    gone = images.patients[whole[1]].unique()
    assert len(sisa(None, without(task, gone), seed=5).members) == 3


def test_its_own_training_is_billed_apart(task):
    sisa(None, task, seed=0)
    assert set(task.clock.regions) >= {"training", "unlearning"}
