import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods import get_method, sfron
from medunlearn.methods.sfron import balanced_loss


def watch_steps(monkeypatch):
    """The weights after every step."""
    seen = []
    step = sfron.step

    def record(student, optimizer, loss):
        step(student, optimizer, loss)
        rate = optimizer.param_groups[0]["lr"]
        seen.append((rate, [p.detach().clone() for p in student.parameters()]))

    monkeypatch.setattr(sfron, "step", record)
    return seen


def test_ascent_moves_exactly_the_weights_that_the_forget_set_needs_more(make_linear, monkeypatch):
    # Equal rows: p is exactly 1/2, the gradient of CE is -+x/2 and F = x^2/4: columns 0 and 2 need
    # the forget set at least as much as the retain set, column 1 does not. Losses are equal, so
    # every c is 1; w_0 = 2. The norm of the masked ascent, 2 (1, 0, 1) in each row, is below 7.
    weight = torch.tensor([[1.0, 0.5, -2.0]] * 2, dtype=torch.float64)
    forget = torch.tensor([[2.0, 1.0, 2.0]] * 2, dtype=torch.float64)
    retain = torch.tensor([[1.0, 2.0, 2.0]] * 2, dtype=torch.float64)
    model, task = make_linear(weight, (retain, [0, 0]), (forget, [0, 0]))
    steps = watch_steps(monkeypatch)
    get_method("sfron")(model, task, seed=0, epochs=1, learning_rate=0.125, strength=2.0)
    (rate, (ascended,)), (_, (descended,)) = steps
    assert rate == 0.125
    # up the loss of label 0: its row falls, the other rises
    move = 0.125 * torch.tensor([[-2.0, 0.0, -2.0], [2.0, 0.0, 2.0]], dtype=torch.float64)
    assert torch.equal(ascended, weight + move)
    assert (descended != ascended).all()  # the repair may move all weights
    errors = (retain @ ascended.T).softmax(1) - F.one_hot(torch.zeros(2, dtype=torch.int64), 2)
    expected = ascended - 0.125 * errors.T @ retain / 2
    torch.testing.assert_close(descended, expected, rtol=0, atol=1e-15)


def test_ascent_is_clipped_after_masking(make_linear, monkeypatch):
    weight = torch.zeros(2, 2)
    forget, retain = torch.tensor([[6.0, 8.0]]), torch.tensor([[0.0, 80.0]])
    model, task = make_linear(weight, (retain, [0]), (forget, [0]))
    steps = watch_steps(monkeypatch)
    get_method("sfron")(model, task, seed=0, epochs=1, learning_rate=1.0, strength=25.0)
    (_, (ascended,)), _ = steps
    assert float(ascended.norm()) == pytest.approx(7, abs=1e-4)
    assert not ascended[:, 1].any()


def test_ascends_every_fifth_iteration_and_descends_in_all(make_task, monkeypatch):
    model, task = make_task(retain=65)
    weights = []
    balanced = sfron.balanced_loss

    def record(logits, labels):
        loss = balanced(logits, labels)
        loss.register_hook(lambda slope: weights.append(-float(slope)))
        return loss

    monkeypatch.setattr(sfron, "balanced_loss", record)
    steps = watch_steps(monkeypatch)
    get_method("sfron")(model, task, seed=0, epochs=3, learning_rate=0.01)
    total = 3 * task.retain.steps()
    ascents = range(0, total, 5)
    assert len(steps) == total + len(ascents)
    expected = [25 * (1 + math.cos(math.pi * t / total)) / 2 for t in ascents]
    assert weights == pytest.approx(expected, rel=1e-6)
    assert steps[0][0] == 0.01
    assert steps[-1][0] == pytest.approx(
        0.01 * (1 + math.cos(math.pi * (total - 1) / total)) / 2, rel=1e-6
    )


def test_what_is_forgotten_already_pushes_less():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]], dtype=torch.float64)
    logits.requires_grad_()
    labels = torch.zeros(3, dtype=torch.int64)
    losses = [math.log1p(math.exp(-margin)) for margin in (2, -1, 5)]
    roots = [loss**-0.5 for loss in losses]
    weights = [3 * root / sum(roots) for root in roots]
    loss = balanced_loss(logits, labels)
    assert loss.item() == pytest.approx(
        sum(w * x for w, x in zip(weights, losses, strict=True)) / 3
    )
    loss.backward()  # the coefficients are constants
    slopes = [
        -w / (1 + math.exp(margin)) / 3 for w, margin in zip(weights, (2, -1, 5), strict=True)
    ]
    assert logits.grad[:, 0].tolist() == pytest.approx(slopes)


def test_certain_answer_gives_no_nan():
    assert balanced_loss(torch.tensor([[200.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0])).isfinite()
