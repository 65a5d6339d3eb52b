"""All sides of the comparison compute the same thing, and learn."""

import pytest
import torch

from medunlearn.benchmark import loops, throughput
from medunlearn.benchmark.loops import (
    in_memory_epochs,
    make_data,
    package_epochs,
    scale,
    scale_with_monai,
    textbook_epochs,
)
from medunlearn.training import prepare_device

SIDES = {
    "package": package_epochs,
    "textbook": lambda data: textbook_epochs(data, scale, 0),
    "textbook with two workers": lambda data: textbook_epochs(data, scale, 2),
    "textbook with MONAI": lambda data: textbook_epochs(data, scale_with_monai(), 0),
    "in memory": in_memory_epochs,
}
every_side = pytest.mark.parametrize("side", SIDES)


@pytest.fixture
def data():
    prepare_device("cpu")
    return make_data("resnet_tiny", 16, 16, 3, 4, "cpu")


@pytest.fixture
def shown(monkeypatch):
    """Every network that a loop trains, and all batches that it is shown."""
    seen, initial_state = {"models": [], "batches": []}, loops.initial_state

    def watched(*arguments):
        model = initial_state(*arguments)
        model.register_forward_pre_hook(lambda _, given: seen["batches"].append(given[0].clone()))
        seen["start"] = {k: v.clone() for k, v in model.state_dict().items()}
        seen["models"].append(model)
        return model

    monkeypatch.setattr(loops, "initial_state", watched)
    return seen


@every_side
def test_an_epoch_shows_every_image_once_as_the_package_scales_it(data, shown, side):
    losses = SIDES[side](data)()
    assert [len(batch) for batch in shown["batches"]] == [16] * 3
    assert len(losses) == data.steps == 3
    grey = torch.cat(shown["batches"]).contiguous().flatten(1) * 63.75 + 127.5
    assert float((grey - grey.round()).abs().max()) < 1e-3
    images = data.pixels.reshape(len(data.labels), -1).tolist()
    assert sorted(grey.round().int().tolist()) == sorted(images)
    assert shown["models"][0].training


@every_side
def test_orders_are_shuffled_anew(data, shown, side):
    epoch = SIDES[side](data)
    epoch()
    epoch()
    first, second = (torch.cat(shown["batches"][i : i + 3]) for i in (0, 3))
    plain = (torch.from_numpy(data.pixels).float() - 127.5) / 63.75
    assert not torch.equal(first, second)
    assert not torch.allclose(first, plain)


@every_side
def test_the_loss_falls_alike_from_the_same_start(data, side):
    epoch, reference = SIDES[side](data), SIDES["package"](data)
    epochs, beside = ([float(torch.stack(run()).mean()) for _ in range(4)]
                      for run in (epoch, reference))  # fmt: skip
    assert epochs[-1] < epochs[0] / 2
    assert epochs[-1] == pytest.approx(beside[-1], abs=0.3)


def test_all_networks_start_from_the_same_weights(data, shown):
    starts = []
    for make in SIDES.values():
        make(data)
        starts.append(shown["start"])
    for start in starts[1:]:
        assert all(torch.equal(start[k], starts[0][k]) for k in start)


def test_a_step_of_the_baseline_is_a_step_of_the_package(monkeypatch):
    """On the same batch, up to the order of sums."""
    fixed = torch.arange(16)
    monkeypatch.setattr(loops.torch, "randperm", lambda *_, **__: fixed)
    one = make_data("resnet_tiny", 16, 16, 1, 4, "cpu")
    models, initial_state = [], loops.initial_state
    monkeypatch.setattr(
        loops, "initial_state", lambda *a: (models.append(initial_state(*a)), models[-1])[1]
    )
    for make in (package_epochs, in_memory_epochs):
        epoch = make(one)
        epoch()
        epoch()
    for ours, plain in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4)


def test_a_line_for_every_loop_with_the_package_first():
    prepare_device("cpu")
    case = throughput.Case("resnet_tiny", 16, 8, 2)
    lines = throughput.measure_loops("cpu", rounds=2, cases=[case])
    assert [line.side for line in lines] == [
        "this package", "textbook, 0 workers", "textbook, 2 workers",
        "textbook, MONAI transforms", "one float tensor",
    ]  # fmt: skip
    assert all(line.n == 2 and line.rate > 0 for line in lines)
    assert [line.ratio is None for line in lines] == [True, False, False, False, False]
