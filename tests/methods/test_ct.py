import pytest
import torch
from torch import nn

from medunlearn.methods import get_method
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


@pytest.mark.parametrize("name", ["ct", "kde"])
def test_the_rate_falls_along_a_cosine_once_an_epoch(make_task, monkeypatch, name):
    model, task = make_task(retain=33)
    rates = []

    def epoch(student, batches, optimizer, generator, **_):  # noqa: ARG001
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()

    monkeypatch.setattr(f"medunlearn.methods.{name}.train_epoch", epoch)
    warm = {"warm_epochs": 0} if name == "kde" else {}
    get_method(name)(model, task, seed=0, epochs=3, learning_rate=0.4, **warm)
    assert rates == pytest.approx([0.4, 0.3, 0.1])
