import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods._task import method_stream
from medunlearn.methods.lotus import accuracy, lotus


@pytest.fixture
def run(make_task, monkeypatch):
    """Run with accuracies as told; gives the loss of each epoch, the model and the task."""

    def go(teacher: float, *student: float, **settings):
        model, task = make_task()
        told, losses = iter([teacher, *student]), []
        monkeypatch.setattr("medunlearn.methods.lotus.accuracy", lambda *_: next(told))
        monkeypatch.setattr(
            "medunlearn.methods.lotus.train_epoch", lambda *_, loss, **__: losses.append(loss)
        )
        lotus(model, task, seed=0, **settings)
        return losses, model, task

    return go


@pytest.mark.parametrize(
    ("student", "epochs"),
    [((0.9, 0.9, 0.9), 3), ((0.79, 0.9), 0), ((0.9, 0.791, 0.7), 2), ((0.9, 0.5, 0.9), 1)],
)
def test_it_stops_before_an_epoch_once_a_hundredth_below_the_teacher(run, student, epochs):
    assert len(run(0.8, *student, epochs=3)[0]) == epochs


@torch.no_grad()
def test_targets_are_softened_on_forget_and_one_hot_on_retain_images(run):
    losses, model, task = run(0.8, 0.9, 0.7, epochs=2, alpha=8.0)
    inputs, _ = next(task.forget.ordered())
    generator = method_stream("lotus", 0)
    torch.randperm(len(task.retain), generator=generator)  # the part of the retain set
    noise = -torch.empty(len(inputs), 3).exponential_(generator=generator).log()
    noisy = (model(inputs) + noise).double()
    is_forget = torch.arange(len(inputs)) % 2
    hard = F.one_hot(noisy.argmax(1), 3).double()
    soft = F.softmax(noisy / math.exp(8 * (0.9 - 0.8)), dim=1)
    target = torch.where(is_forget[:, None] == 1, soft, hard)
    student = F.log_softmax(2 * model(inputs).double(), dim=1)  # a student unlike the teacher
    expected = -(target * student).sum(1).mean()
    value = losses[0](lambda x: 2 * model(x), inputs, is_forget)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_the_teacher_is_judged_on_the_holdout_and_the_student_on_the_forget_set(
    make_task, monkeypatch
):
    model, task = make_task()
    judged = []
    monkeypatch.setattr(
        "medunlearn.methods.lotus.accuracy", lambda _, batches: judged.append(batches) or 0.5
    )
    lotus(model, task, seed=0, epochs=2)
    assert judged == [task.holdout, task.forget, task.forget]


def test_accuracy_counts_right_answers(make_task):
    model, task = make_task()
    inputs, labels = next(task.holdout.ordered())
    right = [int(model(x[None]).argmax()) == int(y) for x, y in zip(inputs, labels, strict=True)]
    assert accuracy(model, task.holdout) == sum(right) / len(right)
