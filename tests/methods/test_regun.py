from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.batches import Batches
from medunlearn.methods._task import method_stream
from medunlearn.methods.regun import mean_answers, regun


def test_q_is_the_mean_softmax_over_held_out_images_of_that_class_mix(make_task):
    model, task = make_task(holdout=24)  # eight images of each class
    inputs, classes = next(task.holdout.ordered())
    mix = torch.tensor([0, 0, 1])
    # two held-out images of class 0 for each of class 1
    same_mix = torch.cat([inputs[classes == k] for k in mix])
    expected = F.softmax(model(same_mix), dim=1).mean(0)
    torch.testing.assert_close(mean_answers(model, task.holdout, 3)[mix].mean(0), expected)


def test_a_class_without_held_out_images_gets_the_mean_over_all(make_task):
    model, task = make_task()
    rows = task.holdout.rows
    some = Batches(task.holdout.images, rows[task.holdout.images.labels[rows] != 2], task.recipe)
    inputs, _ = next(some.ordered())
    expected = F.softmax(model(inputs), dim=1).mean(0)
    torch.testing.assert_close(mean_answers(model, some, 3)[2], expected)


@torch.no_grad()
def test_the_loss_is_half_divergence_on_forget_and_half_ce_on_retain(make_task, monkeypatch):
    model, task = make_task()
    calls = []
    monkeypatch.setattr(
        "medunlearn.methods.regun.train_epoch",
        lambda _, batches, optimizer, *__, loss: calls.append((batches, optimizer, loss)),
    )
    regun(model, task, seed=0, epochs=1)
    (batches, optimizer, loss), *_ = calls
    assert batches is task.forget
    assert optimizer.param_groups[0]["weight_decay"] == 0
    inputs, labels = next(task.forget.ordered(4))  # classes 2, 0, 1, 2: an uneven mix
    x, y = next(task.retain.epoch(method_stream("regun", 0)))
    q = mean_answers(model, task.holdout, 3)[labels].mean(0)
    logits = 3 * model(inputs)  # a student unlike the teacher
    distance = (q * (q.log() - F.log_softmax(logits, dim=1))).sum(1).mean()
    expected = (distance + F.cross_entropy(3 * model(x), y)) / 2
    assert float(loss(lambda x: 3 * model(x), inputs, labels)) == pytest.approx(float(expected))


def test_it_takes_one_step_for_every_forget_batch(make_task, monkeypatch):
    model, task = make_task(forget=40)
    small = replace(task.recipe, batch_size=10)
    task = replace(task, forget=Batches(task.forget.images, task.forget.rows, small))
    steps = []
    monkeypatch.setattr("torch.optim.SGD.step", lambda *_: steps.append(1))
    regun(model, task, seed=0, epochs=2)
    assert len(steps) == 8
