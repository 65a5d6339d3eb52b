import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from medunlearn.methods.msg import indifferent_weights, msg


def convolutions(model):
    return [m for m in model.modules() if isinstance(m, nn.Conv2d)]


def test_the_thirty_percent_with_the_smallest_gradient_are_chosen_in_each_convolution(make_task):
    model, task = make_task(retain=9, forget=20)  # so that the random part is all of it
    masks = indifferent_weights(model, task, 0.3, torch.Generator())
    (x, y), (forget_x, forget_y) = next(task.retain.ordered()), next(task.forget.ordered())
    difference = F.cross_entropy(model(x), y) - F.cross_entropy(model(forget_x), forget_y)
    gradients = torch.autograd.grad(difference, [c.weight for c in convolutions(model)])
    for mask, gradient in zip(masks, gradients, strict=True):
        assert int(mask.sum()) == round(0.3 * mask.numel())
        assert gradient[mask].abs().max() <= gradient[~mask].abs().min() + 1e-6


def test_the_random_part_is_as_large_as_the_forget_set(make_task, monkeypatch):
    model, task = make_task()
    seen = []
    monkeypatch.setattr(
        "medunlearn.batches.Batches.ordered", lambda self, _: seen.append(self.rows) or iter(())
    )
    with pytest.raises(AssertionError):  # without a batch there is no gradient
        indifferent_weights(model, task, 0.3, torch.Generator())
    part, forget = seen
    assert torch.equal(forget, task.forget.rows)
    assert len(part.unique()) == len(forget)
    assert set(part.tolist()) < set(task.retain.rows.tolist())


def test_exactly_the_chosen_weights_are_redrawn_kaiming_normal_over_the_fan_out(make_task):
    model, task = make_task(forget=65)  # as large as the retain set: no draw comes before it
    masks = indifferent_weights(model, task, 0.3, torch.Generator())
    student = msg(model, task, seed=0, epochs=0)
    for old, new, mask in zip(convolutions(model), convolutions(student), masks, strict=True):
        assert torch.equal(old.weight != new.weight, mask)
    drawn = new.weight[
        mask
    ].detach()  # 36,864 weights of the last convolution, or the 1 x 1 beside it
    deviation = (2 / (new.out_channels * new.kernel_size[0] ** 2)) ** 0.5
    assert float(drawn.std()) == pytest.approx(deviation, rel=0.1)
    others = {n for n, m in model.named_modules() if not isinstance(m, nn.Conv2d)}
    for name, value in student.state_dict().items():
        if name.rpartition(".")[0] in others:
            assert torch.equal(value, model.state_dict()[name])


def test_kept_weights_feel_a_tenth_of_the_gradient_and_all_of_the_decay(make_task):
    _, task = make_task(retain=16)  # one batch, so two epochs are two steps
    layer = nn.Conv2d(1, 4, 5, stride=4)
    nn.init.normal_(layer.weight, std=0.2, generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(36, 3))
    start = msg(model, task, seed=0, epochs=0).train()
    student = msg(model, task, seed=0, epochs=2, learning_rate=0.01)
    shares = {
        name: torch.where(value != model.get_parameter(name), 1.0, 0.1)
        if value.ndim == 4
        else torch.ones_like(value)
        for name, value in start.named_parameters()
    }
    inputs, labels = next(task.retain.ordered())
    speed = {name: torch.zeros_like(value) for name, value in start.named_parameters()}
    for rate in (0.01, 0.005):
        start.zero_grad()
        F.cross_entropy(start(inputs), labels).backward()
        with torch.no_grad():
            for name, value in start.named_parameters():
                speed[name] = 0.9 * speed[name] + shares[name] * value.grad + 5e-4 * value
                value -= rate * speed[name]
    for name, value in student.named_parameters():
        torch.testing.assert_close(value, start.get_parameter(name), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("epochs", "heights"),
    [
        (1, [1]),
        (2, [1, 1 / 2]),
        (3, [1 / 2, 1, 1 / 2]),
        (4, [1 / 2, 1, 2 / 3, 1 / 3]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_the_rate_rises_to_the_middle_epoch_and_falls(make_task, monkeypatch, epochs, heights):
    model, task = make_task()
    rates = []
    monkeypatch.setattr(
        "medunlearn.methods.msg.train_epoch",
        lambda _model, _batches, optimizer, *_, **__: rates.append(optimizer.param_groups[0]["lr"]),
    )
    msg(model, task, seed=0, epochs=epochs, learning_rate=1.0)
    assert rates == pytest.approx(heights)
