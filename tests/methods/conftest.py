from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from medunlearn.methods._task import Task
from medunlearn.training import Batches, Images, Recipe, initial_state, prepare_device

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
    ) -> tuple[nn.Module, Task]:
        """An original in its initial state, and what it is to forget."""
        prepare_device("cpu")
        random = np.random.default_rng(seed)
        count = retain + forget + holdout
        labels = np.arange(count) % classes
        pixels = random.integers(0, 120, (count, channels, 16, 16), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[:, 3 * label : 3 * label + 3] += 100
        images = Images.load(pixels, labels, np.arange(count) // 2, "cpu")
        recipe = Recipe(
            "resnet_tiny", channels, classes, norm, epochs=2, batch_size=16, learning_rate=0.05,
            momentum=0.9, weight_decay=5e-4, horizontal_flip=False, max_shift=0,
        )  # fmt: skip
        rows = np.split(np.arange(count), [retain, retain + forget])
        task = Task(*(Batches(images, part, recipe) for part in rows), recipe)
        return initial_state(recipe, seed, "cpu").eval(), task

    torch.manual_seed(0)
    return make
