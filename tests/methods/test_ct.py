import pytest
import torch
from torch import nn

from medunlearn.methods.ct import ct, swap_kernel_axes


def test_swapping_twice_is_nothing(make_task):
    model, _ = make_task()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    swap_kernel_axes(model)
    assert not torch.equal(model.state_dict()["conv1.weight"], before["conv1.weight"])
    swap_kernel_axes(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_only_square_kernels_are_swapped():
    square, tall = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, (3, 1))
    model = nn.Sequential(square, tall, nn.Linear(2, 2))
    before = [p.detach().clone() for p in model.parameters()]
    swap_kernel_axes(model)
    swapped, *others = model.parameters()
    assert torch.equal(swapped, before[0].transpose(2, 3))
    assert all(torch.equal(new, old) for new, old in zip(others, before[1:], strict=True))


@torch.no_grad()
def test_the_swapped_network_sees_the_mirrored_image_as_the_original_sees_the_image(make_task):
    model, task = make_task()
    (inputs, _), *_ = task.forget.ordered()
    swapped = ct(model, task, seed=0, epochs=0)
    torch.testing.assert_close(swapped(inputs.transpose(2, 3)), model(inputs))


def test_the_rate_falls_from_the_given_one_to_zero_over_all_updates(make_task, monkeypatch):
    model, task = make_task(retain=64)  # four batches
    rates = []

    def epoch(student, batches, optimizer, generator, *, schedule):  # noqa: ARG001
        for _ in range(batches.steps()):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()

    monkeypatch.setattr("medunlearn.methods.ct.train_epoch", epoch)
    ct(model, task, seed=0, epochs=2, learning_rate=0.5)
    turns = torch.arange(8, dtype=torch.float64) * torch.pi / 8
    assert rates == pytest.approx((0.25 * (1 + turns.cos())).tolist())
