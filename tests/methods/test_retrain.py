import dataclasses

import torch

from medunlearn.batches import Batches
from medunlearn.methods import get_method
from medunlearn.training import initial_state, train


def test_before_training_it_is_the_originals_initial_state(make_task, monkeypatch):
    _, task = make_task()
    started = []
    monkeypatch.setattr(
        "medunlearn.training.train_epoch", lambda m, *_, **__: started.append(m.state_dict())
    )
    get_method("retrain")(initial_state(task.recipe, 9, "cpu"), task, seed=0)
    same, other = (initial_state(task.recipe, seed, "cpu").state_dict() for seed in (0, 1))
    assert all(torch.equal(started[0][k], same[k]) for k in same)
    assert not all(torch.equal(started[0][k], other[k]) for k in other)


def test_every_weight_differs_from_the_trained_original(make_task):
    # of another number of batches: weights without a gradient decay alike in each
    _, task = make_task(retain=33, forget=20)
    rows = task.retain.rows.tolist() + task.forget.rows.tolist()
    original = train(Batches(task.retain.images, rows, task.recipe), task.recipe, seed=0)
    retrained = get_method("retrain")(original, task, seed=0)
    for name, weight in original.named_parameters():
        same = (weight == dict(retrained.named_parameters())[name]).float().mean()
        assert same < 0.01, name


def test_is_training_without_the_forget_set(make_task, trained):
    model, task = make_task()
    direct = train(task.retain, task.recipe, seed=3).state_dict()
    for start in (model, trained[0]):  # nothing of the model given is read
        retrained = get_method("retrain")(start, dataclasses.replace(task), seed=3).state_dict()
        assert all(torch.equal(direct[k], retrained[k]) for k in direct)
