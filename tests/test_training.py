from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medunlearn.batches import Batches, Images, Recipe, choose_bounds
from medunlearn.training import (
    initial_state,
    prepare_device,
    reestimate_statistics,
    sgd,
    torch_stream,
    train,
    train_epoch,
)

RECIPE = Recipe("resnet_tiny", 1, 3, 2, 16, 0.05, 0.9, 5e-4, False, 0)


@pytest.fixture
def images():
    prepare_device("cpu")
    pixels = np.arange(40 * 16 * 16, dtype=np.uint32).reshape(40, 1, 16, 16).astype(np.uint8)
    pixels[:, 0, 0, 0] = np.arange(40)  # each image tells its own number
    return Images.load(pixels, np.arange(40) % 3, np.arange(40), "cpu")


def numbers(batches):
    """The images that were served, by the number in their corner."""
    return [(x[:, 0, 0, 0] * 63.75 + 127.5).round().int().tolist() for x, _ in batches]


def test_an_epoch_serves_every_image_once_with_its_own_label(images):
    batches = Batches(images, np.arange(5, 38), RECIPE)
    served = list(batches.epoch(torch_stream("test", 0)))
    flat = [n for batch in numbers(served) for n in batch]
    assert sorted(flat) == list(range(5, 38))
    assert flat != sorted(flat)
    labels = torch.cat([y for _, y in served])
    assert labels.tolist() == [n % 3 for n in flat]


def test_the_stream_decides_the_order(images):
    batches = Batches(images, np.arange(40), RECIPE)
    one, same, other = (numbers(batches.epoch(torch_stream("test", seed))) for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize(
    ("count", "expected"),
    [(33, [11, 11, 11]), (32, [16, 16]), (34, [11, 11, 12]), (1, [1]), (3, [3]), (17, [8, 9])],
)
def test_the_batches_of_an_epoch_are_of_like_size(count, expected):
    assert [last - first for first, last in choose_bounds(count, 16)] == expected


def test_grey_values_are_scaled_by_fixed_numbers(images):
    inputs = images.inputs(torch.arange(2))
    assert inputs.dtype == torch.float32
    assert inputs[0, 0, 0, 0] == pytest.approx((0 - 127.5) / 63.75)


def test_flips_mirror_about_half_of_the_images(images):
    flipping = Batches(images, np.arange(40), replace(RECIPE, horizontal_flip=True, batch_size=40))
    [(inputs, _)] = flipping.epoch(torch_stream("test", 0))
    plain = images.inputs(torch.randperm(40, generator=torch_stream("test", 0)))
    same, mirrored = ((inputs == x).flatten(1).all(dim=1) for x in (plain, plain.flip(-1)))
    assert bool((same | mirrored).all())
    assert 8 <= int(mirrored.sum()) <= 32


def test_shifts_move_each_image_within_bounds(images):
    moving = Batches(images, np.arange(40), replace(RECIPE, max_shift=2, batch_size=40))
    [(moved, _)] = moving.epoch(torch_stream("test", 0))
    plain = images.inputs(torch.randperm(40, generator=torch_stream("test", 0)))
    way = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    inner = (slice(4, -4), slice(4, -4))
    found = [[torch.equal(x[0][inner], y[0].roll(each, (0, 1))[inner]) for each in way]
             for x, y in zip(moved, plain, strict=True)]  # fmt: skip
    assert all(map(any, found))
    assert len({row.index(True) for row in found}) > 5


@pytest.mark.parametrize(("channels", "copied"), [(1, False), (3, True)])
def test_grey_images_of_a_mapped_file_are_not_copied(tmp_path, recwarn, channels, copied):
    shape = (5, channels, 4, 4)
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    held = Images.load(mapped, np.arange(5), np.arange(5), "cpu").pixels
    assert (held.data_ptr() != mapped.ctypes.data) == copied
    assert held.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(held.numpy(), pixels)
    assert not recwarn.list


def test_endless_batches_start_again_with_a_new_order(images):
    source = Batches(images, np.arange(20), RECIPE).endless(torch_stream("test", 0))
    first, second = ([next(source) for _ in range(2)] for _ in range(2))
    orders = [[n for batch in numbers(half) for n in batch] for half in (first, second)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1]


def test_training_learns_and_is_the_same_bytes_again(images):
    batches = Batches(images, np.arange(40), RECIPE)
    one, again, other = (train(batches, RECIPE, seed=seed) for seed in (0, 0, 1))
    states = [model.state_dict() for model in (one, again, other)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not torch.equal(states[0]["conv1.weight"], states[2]["conv1.weight"])
    assert not one.training


def test_the_schedule_is_stepped_with_every_batch_and_rescaled_to_the_set(images, monkeypatch):
    totals = []
    monkeypatch.setattr(
        "medunlearn.training.OneCycleLR",
        lambda optimizer, rate, total_steps, **options: (
            totals.append(total_steps)
            or torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps, **options)
        ),
    )
    train(Batches(images, np.arange(40), RECIPE), RECIPE, seed=0)
    train(Batches(images, np.arange(20), RECIPE), RECIPE, seed=0)
    assert totals == [2 * 3, 2 * 2]


def test_frozen_parameters_are_not_in_the_optimiser():
    model = initial_state(RECIPE, 0, "cpu")
    model.conv1.weight.requires_grad_(False)
    held = {id(p) for group in sgd(model, 0.1, RECIPE).param_groups for p in group["params"]}
    assert id(model.conv1.weight) not in held
    assert id(model.fc.weight) in held


def test_one_step_of_the_loop_is_one_step_of_sgd(images):
    """On a linear model, worked by hand: momentum starts at the gradient, decay is added to it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 3, bias=False))
    batches = Batches(images, np.arange(16), RECIPE)
    weight = model[1].weight.detach().clone().requires_grad_()
    inputs, labels = next(batches.epoch(torch_stream("test", 0)))
    nn.functional.cross_entropy(inputs.flatten(1) @ weight.T, labels).backward()
    expected = weight.detach() - 0.01 * (weight.grad + 5e-4 * weight.detach())
    train_epoch(model, batches, sgd(model, 0.01, RECIPE), torch_stream("test", 0))
    torch.testing.assert_close(model[1].weight.detach(), expected, rtol=0, atol=1e-6)


def statistics_of(batches):
    """Of the first BatchNorm layer, re-estimated over these images, from a model left elsewhere."""
    model = initial_state(batches.recipe, 0, "cpu").eval()
    model.bn1.running_mean.fill_(7)
    weights = {name: value.clone() for name, value in model.named_parameters()}
    reestimate_statistics(model, batches)
    assert all(torch.equal(weights[name], value) for name, value in model.named_parameters())
    assert not model.training
    assert model.bn1.momentum == pytest.approx(0.1)
    return torch.stack([model.bn1.running_mean, model.bn1.running_var])


def test_statistics_are_those_of_the_images_themselves_all_of_them_and_no_other(images):
    """By hand: at the first layer, where no other layer has normalised before."""
    kept = np.arange(5, 38)
    found = statistics_of(Batches(images, kept, RECIPE))
    maps = initial_state(RECIPE, 0, "cpu").conv1(images.inputs(torch.tensor(kept))).detach()
    expected = torch.stack([maps.mean((0, 2, 3)), maps.var((0, 2, 3))])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for other in (np.arange(40), np.arange(5, 37)):
        assert not torch.allclose(statistics_of(Batches(images, other, RECIPE)), found, rtol=1e-4)


def test_statistics_see_no_augmented_image_and_are_the_same_bytes_again(images):
    recipes = RECIPE, RECIPE, replace(RECIPE, horizontal_flip=True, max_shift=3)
    plain, again, other = (statistics_of(Batches(images, np.arange(40), r)) for r in recipes)
    assert torch.equal(plain, again)
    assert torch.equal(plain, other)


def test_each_batch_counts_alike_for_the_statistics_in_whatever_order(images, monkeypatch):
    """A moving average would remember the last batches best."""
    batches, real = Batches(images, np.arange(40), RECIPE), Batches.ordered
    monkeypatch.setattr(Batches, "ordered", lambda self: list(real(self, 8)))
    forwards = statistics_of(batches)
    monkeypatch.setattr(Batches, "ordered", lambda self: list(real(self, 8))[::-1])
    torch.testing.assert_close(statistics_of(batches), forwards, rtol=1e-5, atol=1e-6)


def test_a_sorted_cohort_is_shuffled_before_its_statistics_are_taken(images, monkeypatch):
    served, real = [], Batches.ordered
    monkeypatch.setattr(
        Batches, "ordered", lambda self: (served.append(self.rows.tolist()), real(self))[1]
    )
    statistics_of(Batches(images, np.arange(40), RECIPE))
    assert sorted(served[0]) == list(range(40)) != served[0]


def test_a_network_without_batch_norm_stays_as_it_is(images):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.LazyLinear(3))
    model(images.inputs(images.labels[:2]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reestimate_statistics(model, Batches(images, np.arange(40), RECIPE))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_no_batch_of_one_is_left_over_in_an_ordered_pass(images, count):
    served = numbers(Batches(images, np.arange(count), RECIPE).ordered(4))
    assert [n for batch in served for n in batch] == list(range(count))
    sizes = [len(batch) for batch in served]
    assert max(sizes) <= 4
    assert max(sizes) - min(sizes) <= 1


def test_asking_for_cuda_without_one_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(RuntimeError, match="no CUDA device"):
        prepare_device("cuda")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_same_draws_on_cuda():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 1, 16, 16), dtype=np.uint8)
    orders = []
    for device in ("cpu", "cuda"):
        held = Images.load(pixels, np.arange(40) % 3, np.arange(40), device)
        batches = Batches(held, np.arange(40), RECIPE)
        orders.append(torch.cat([x.cpu() for x, _ in batches.epoch(torch_stream("t", 0))]))
    torch.testing.assert_close(orders[0], orders[1])


def test_the_allocator_is_told_to_keep_what_is_freed_where_it_can_be_told(monkeypatch):
    """Whether it would give memory back without being told is chance, so that none is measured."""
    told = []
    for allocator in (SimpleNamespace(mallopt=lambda *given: told.append(given)), object()):
        monkeypatch.setattr("medunlearn.training.ctypes.CDLL", lambda _, it=allocator: it)
        assert prepare_device("cpu") == "cpu"
    assert told == [(-3, 32 * 2**20), (-1, 512 * 2**20)]
