from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from monai.networks.nets import DenseNet
from torch import Tensor, nn

from medunlearn.adapters import as_classifier
from medunlearn.batches import Batches, Images, Recipe
from medunlearn.methods._task import Task
from medunlearn.training import initial_state, prepare_device, train

MakeTask = Callable[..., tuple[nn.Module, Task]]


@pytest.fixture(scope="session")
def make_task() -> MakeTask:
    """A small problem that can be learnt: bright bars at a place that tells the class."""

    def make(
        *,
        classes: int = 3,
        channels: int = 1,
        norm: str = "batch",
        retain: int = 65,  # with batches of 16 the last one holds a single image
        forget: int = 9,
        holdout: int = 24,
        seed: int = 9000,
        device: str = "cpu",
    ) -> tuple[nn.Module, Task]:
        """An original in its initial state, and what it is to forget."""
        prepare_device(device)
        random = np.random.default_rng(seed)
        count = retain + forget + holdout
        labels = np.arange(count) % classes
        pixels = random.integers(0, 120, (count, channels, 16, 16), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[:, 3 * label : 3 * label + 3] += 100
        images = Images.load(pixels, labels, np.arange(count) // 2, device)
        small, groups = (2, channels, classes, 8, 8, (1, 1)), ("group", {"num_groups": 4})

        def group_normed() -> nn.Module:
            return as_classifier(DenseNet(*small, norm=groups))

        networks = {"batch": "resnet_tiny", "group": group_normed}
        recipe = Recipe(
            networks[norm], channels, classes, epochs=2, batch_size=16, learning_rate=0.05,
            momentum=0.9, weight_decay=5e-4, horizontal_flip=False, max_shift=0,
        )  # fmt: skip
        rows = np.split(np.arange(count), [retain, retain + forget])
        parts = (Batches(images, part, recipe) for part in rows)
        task = Task(*parts, recipe, checkpoint=initial_state(recipe, seed, device))
        return initial_state(recipe, seed, device).eval(), task

    torch.manual_seed(0)
    return make


@pytest.fixture(scope="session")
def trained(make_task: MakeTask) -> tuple[nn.Module, Task]:
    """An original that has learnt retain and forget set, and what it is to forget."""
    _, task = make_task()
    rows = np.arange(len(task.retain) + len(task.forget))
    both = Batches(task.retain.images, rows, task.recipe)
    return train(both, replace(task.recipe, epochs=2), seed=0), task


class Vectors(Images):
    """Images whose pixels are the network's inputs as they are, of any shape and precision."""

    def inputs(self, rows: Tensor) -> Tensor:
        return self.pixels[rows]


@pytest.fixture
def make_linear() -> MakeTask:
    """A linear model without bias, small enough to work its steps by hand."""

    def make(
        weight: Tensor,
        retain: tuple[Tensor, list[int]],
        forget: tuple[Tensor, list[int]],
        holdout: tuple[Tensor, list[int]] | None = None,
        *,
        batch_size: int = 64,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> tuple[nn.Linear, Task]:
        """Sets are (inputs, labels); the weight is (classes, features)."""
        prepare_device("cpu")
        sets = (retain, forget, holdout or retain)
        labels = torch.tensor([label for _, given in sets for label in given])
        images = Vectors(torch.cat([x for x, _ in sets]), labels, torch.arange(len(labels)))
        recipe = Recipe(
            "none", 1, len(weight), epochs=1, batch_size=batch_size, learning_rate=0.1,
            momentum=momentum, weight_decay=weight_decay, horizontal_flip=False, max_shift=0,
        )  # fmt: skip
        cuts = np.cumsum([len(x) for x, _ in sets])[:-1]
        parts = [Batches(images, rows, recipe) for rows in np.split(np.arange(len(labels)), cuts)]
        model = nn.Linear(weight.shape[1], len(weight), bias=False)
        model.weight = nn.Parameter(weight.clone())
        return model, Task(*parts, recipe)

    return make


@pytest.fixture
def measure_loss() -> Callable[[nn.Module, Batches], float]:
    """Mean cross-entropy over a set, in evaluation mode."""

    def measure(model: nn.Module, batches: Batches) -> float:
        ((inputs, labels),) = batches.ordered()
        with torch.no_grad():
            return float(F.cross_entropy(model.eval()(inputs), labels))

    return measure
