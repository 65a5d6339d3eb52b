import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from medunlearn.methods.uam import uam


@pytest.fixture
def linear(make_task):
    """A model of one layer and one batch a set, so that a step can be worked by hand."""
    _, task = make_task(retain=16)
    layer = nn.Linear(256, 3)
    nn.init.normal_(layer.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer), task


def gradients(batches, parameters):
    inputs, labels = next(batches.ordered())
    logits = inputs.flatten(1) @ parameters[0].T + parameters[1]
    return torch.autograd.grad(F.cross_entropy(logits, labels), parameters)


def perturbed(model, task, rho):
    theta = list(model.parameters())
    forget = gradients(task.forget, theta)
    norm = sum(float(g.square().sum()) for g in forget) ** 0.5
    return [(p + rho * g / norm).detach().requires_grad_() for p, g in zip(theta, forget)]  # noqa: B905


def test_the_step_uses_the_retain_gradient_at_the_perturbed_weights(linear):
    model, task = linear
    student = uam(model, task, seed=0, epochs=1, learning_rate=0.1, rho=0.5)
    slopes = gradients(task.retain, perturbed(model, task, rho=0.5))
    for new, old, slope in zip(student.parameters(), model.parameters(), slopes, strict=True):
        torch.testing.assert_close(new, old - 0.1 * (slope + 5e-4 * old), rtol=1e-6, atol=1e-7)


def test_the_perturbation_shrinks_along_a_cosine(linear, monkeypatch):
    model, task = linear
    far = []

    def epoch(student, batches, optimizer, generator, *, loss):  # noqa: ARG001
        loss(student, *next(batches.ordered()))
        moved = zip(student.parameters(), model.parameters(), strict=True)
        far.append(sum(float((new - old).detach().square().sum()) for new, old in moved) ** 0.5)
        student.load_state_dict(model.state_dict())

    monkeypatch.setattr("medunlearn.methods.uam.train_epoch", epoch)
    uam(model, task, seed=0, epochs=4, rho=0.8)
    turns = torch.arange(4, dtype=torch.float64) * torch.pi / 4
    assert far == pytest.approx((0.4 * (1 + turns.cos())).tolist(), rel=1e-4)


def test_forget_and_retain_batch_pass_batch_norm_together(make_task, monkeypatch):
    model, task = make_task(retain=16)
    seen = []

    def epoch(student, batches, optimizer, generator, *, loss):  # noqa: ARG001
        student.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        loss(student, *next(batches.ordered()))

    monkeypatch.setattr("medunlearn.methods.uam.train_epoch", epoch)
    uam(model, task, seed=0, epochs=1)
    assert seen == [len(task.forget) + 16, 16]


def test_mixed_precision_sees_the_perturbed_weights(linear, monkeypatch):
    model, task = linear
    losses = []
    monkeypatch.setattr(
        "medunlearn.methods.uam.train_epoch",
        lambda student, *_, loss: losses.append((student, loss)),
    )
    uam(model, task, seed=0, epochs=1, rho=3.0)
    (student, loss), *_ = losses
    inputs, labels = next(task.retain.ordered())
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(student, inputs, labels).item()
    weight, bias = perturbed(model, task, rho=3.0)
    expected = F.cross_entropy(inputs.flatten(1) @ weight.T + bias, labels).item()
    unperturbed = F.cross_entropy(model(inputs), labels).item()
    assert abs(expected - unperturbed) > 0.5
    assert value == pytest.approx(expected, rel=0.02)
