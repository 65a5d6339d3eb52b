"""What holds for every method of the registry, those added later included."""

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medunlearn.batches import Batches
from medunlearn.errors import InputError
from medunlearn.methods import METHOD_NAMES, get_method
from medunlearn.methods._task import Task

SETS = ("retain", "forget", "holdout")
PARTS = (*SETS, "checkpoint")
DRAWS_NOTHING = {"original", "ssd", "lfssd"}
# A long attack only takes time here.
SETTINGS: dict[str, dict[str, float]] = {"amun": {"steps": 2, "doublings": 2}}

every_method = pytest.mark.parametrize("name", METHOD_NAMES)


def quick_settings(name) -> dict[str, float]:
    """One epoch wherever a method counts epochs."""
    epochs = {k: 1 for k in get_method(name).settings if k.endswith("epochs")}
    return epochs | SETTINGS.get(name, {})


def unlearn(name: str, model: nn.Module, task: Task, *, seed: int = 0) -> nn.Module:
    return get_method(name)(model, task, seed=seed, **quick_settings(name))


def state_bytes(model: nn.Module) -> bytes:
    return b"".join(v.cpu().numpy().tobytes() for v in model.state_dict().values())


def storages(model: nn.Module) -> set[int]:
    return {v.untyped_storage().data_ptr() for v in model.state_dict().values()}


class Closed(Batches):
    """A set of which a method may know the size and nothing else."""

    def __init__(self, batches: Batches) -> None:
        self._size = len(batches)

    def __len__(self) -> int:
        return self._size

    def _refuse(self, *_: object, **__: object) -> Any:
        raise PermissionError("this part must not be read")

    steps = epoch = ordered = endless = _refuse
    images = rows = recipe = property(_refuse)


class ClosedModel(nn.Module):
    """A checkpoint of which a method may know nothing: it cannot be copied."""

    def __deepcopy__(self, _: object) -> Any:
        raise PermissionError("this part must not be read")


def close(task: Task, parts: Iterable[str]) -> Task:
    """The task with these parts closed."""
    closed = {part: Closed(getattr(task, part)) for part in parts if part != "checkpoint"}
    if "checkpoint" in parts:
        closed["checkpoint"] = ClosedModel()
    return dataclasses.replace(task, **closed)


def global_state() -> list[object]:
    """Generators and flags that belong to the process, not to a method."""
    kind, keys, *position = np.random.get_state()  # noqa: NPY002 - the global one is watched
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    return [
        torch.get_rng_state().numpy().tobytes(),
        (kind, keys.tobytes(), *position),
        random.getstate(),
        (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    ]


@pytest.fixture(autouse=True)
def keep_global_generators() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


@every_method
@pytest.mark.parametrize(
    ("classes", "norm", "channels"), [*itertools.product((2, 5), ("batch", "group"), (1, 3))]
)
def test_gives_finite_logits(make_task, name, classes, norm, channels):
    # batches of 16: the forget set is smaller, the retain set's last batch is one image
    model, task = make_task(
        classes=classes, channels=channels, norm=norm, retain=33, forget=5, holdout=10
    )
    inputs, _ = next(task.holdout.ordered())
    logits = unlearn(name, model, task)(inputs)
    assert logits.shape == (10, classes)
    assert logits.isfinite().all()


def everything(model: nn.Module, task: Task) -> list[bytes]:
    """All that a method is given."""
    images, states = task.retain.images, (model.state_dict(), task.checkpoint.state_dict())
    rows = [getattr(task, part).rows for part in SETS]
    given = [*states[0].values(), *states[1].values(), images.pixels, images.labels, *rows]
    return [tensor.numpy().tobytes() for tensor in given]


@pytest.fixture(scope="module", params=METHOD_NAMES)
def ran(request, make_task) -> SimpleNamespace:
    """One run of each method, and how the world was before and after it."""
    model, task = make_task(retain=33)
    model.train()  # a mode is part of the model too
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        seen = [(everything(model, task), global_state())]
        unlearned = unlearn(request.param, model, task)
        seen.append((everything(model, task), global_state()))
    return SimpleNamespace(
        name=request.param, model=model, task=task, unlearned=unlearned, before=seen[0],
        after=seen[1], bytes=state_bytes(unlearned),
    )  # fmt: skip


def test_leaves_what_it_was_given_untouched_and_changes_no_global_state(ran):
    assert ran.after == ran.before
    assert all(module.training for module in ran.model.modules())
    assert all(p.requires_grad and p.grad is None for p in ran.model.parameters())


def test_returns_new_model_ready_for_use(ran):
    assert storages(ran.model).isdisjoint(storages(ran.unlearned))
    assert not any(module.training for module in ran.unlearned.modules())
    # relearning fine-tunes it: nothing may have stayed frozen
    assert all(p.requires_grad for p in ran.unlearned.parameters())
    old, new = (b"".join(p.detach().numpy().tobytes() for p in m.parameters())
                for m in (ran.model, ran.unlearned))  # fmt: skip
    assert (old == new) == (ran.name == "original")


def test_bills_unlearning(ran):
    assert ran.task.clock.regions["unlearning"].seconds > 0
    assert set(ran.task.clock.regions) <= {"preparation", "unlearning", "training"}


def test_reads_only_what_its_record_names(ran, make_task):
    model, task = make_task(retain=33)
    unread = [part for part in PARTS if part not in get_method(ran.name).reads]
    assert state_bytes(unlearn(ran.name, model, close(task, unread))) == ran.bytes


def test_seed_decides_every_byte(ran, make_task):
    model, task = make_task(retain=33)
    torch.manual_seed(2)  # a method that draws from the global generator is found out
    assert state_bytes(unlearn(ran.name, model, task, seed=0)) == ran.bytes
    again = state_bytes(unlearn(ran.name, model, task, seed=1))
    assert (again == ran.bytes) == (ran.name in DRAWS_NOTHING)


@every_method
@pytest.mark.parametrize("part", ["forget", "retain"])
def test_empty_set_is_refused(make_task, name, part):
    model, task = make_task(**{part: 0})
    with pytest.raises(InputError, match=f"{name}: the {part} set holds no image"):
        unlearn(name, model, task)


@every_method
def test_unknown_setting_is_refused(make_task, name):
    model, task = make_task()
    with pytest.raises(InputError, match=f"{name}: setting 'epoch_number' is not known"):
        get_method(name)(model, task, seed=0, epoch_number=1)


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for name in METHOD_NAMES for part in sorted(get_method(name).reads)],
)
def test_reads_all_that_its_record_names(make_task, name, part):
    model, task = make_task(retain=33)
    with pytest.raises(PermissionError, match="must not be read"):
        unlearn(name, model, close(task, [part]))


def test_task_holds_no_test_partition():
    assert {f.name for f in dataclasses.fields(Task)} == {
        *PARTS,
        "recipe",
        "clock",
        "head",
        "checkpoint",
    }


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@every_method
def test_on_a_gpu_it_stays_there_and_the_seed_decides(make_task, name):
    model, task = make_task(retain=33, device="cuda")
    before, (inputs, _) = state_bytes(model), next(task.holdout.ordered())
    first = unlearn(name, model, task)
    logits = first(inputs)
    assert logits.device.type == "cuda"
    assert logits.isfinite().all()
    assert all(tensor.is_cuda for tensor in first.state_dict().values())
    assert state_bytes(model) == before
    second = unlearn(name, model, task)
    torch.testing.assert_close(second(inputs), logits, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in METHOD_NAMES
        if "retain" in get_method(name).reads and "learning_rate" in get_method(name).settings
    ],
)
def test_repairs_by_learning(make_task, measure_loss, name):
    """From an untrained model; at rate 0 only BatchNorm's statistics come to fit."""
    model, task = make_task()
    settings = SETTINGS.get(name, {})
    still, repaired = (
        get_method(name)(model, task, seed=0, **settings, learning_rate=rate) for rate in (0, 0.01)
    )
    assert measure_loss(repaired, task.retain) < measure_loss(still, task.retain)
