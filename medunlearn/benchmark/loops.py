"""Three training loops over the same images: the package's, a textbook's, and one in memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from monai.transforms import Compose, EnsureType, ScaleIntensityRange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from medunlearn.batches import Batches, Images, Recipe
from medunlearn.training import initial_state, precision, sgd, torch_stream, train_epoch

Epoch = Callable[[], list[Tensor]]
"""Trains for one epoch and gives the loss of each step, still on the device."""


@dataclass(frozen=True)
class Data:
    """What all loops learn from, and how.

    Args:
        pixels: uint8, (images, channels, height, width).
        labels: int64, (images,).
        recipe: Without augmentation. Its epochs are those that the schedule is made for.
        device: Where the network is.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    recipe: Recipe
    device: str

    @property
    def steps(self) -> int:
        """Batches in an epoch; the number of images is a multiple of the batch size."""
        return len(self.labels) // self.recipe.batch_size


def make_data(
    network: str, size: int, batch_size: int, batches: int, epochs: int, device: str
) -> Data:
    """Noisy images of four classes, each with a bright bar at a place of its own.

    The recipe is that of the laptop profile, but for what is given.
    """
    random, count = np.random.default_rng(0), batches * batch_size
    labels = np.arange(count) % 4
    pixels = random.integers(0, 120, (count, 1, size, size), dtype=np.uint8)
    width = size // 4
    for image, label in zip(pixels, labels, strict=True):
        image[:, label * width : (label + 1) * width] += 100
    recipe = Recipe(network, 1, 4, "batch", epochs, batch_size, 0.1, 0.9, 5e-4, False, 0)
    return Data(pixels, labels, recipe, device)


def package_epochs(data: Data) -> Epoch:
    """The loop of every model of a study: ``train_epoch``."""
    owners = np.arange(len(data.labels))
    images = Images.load(data.pixels, data.labels, owners, data.device)
    batches = Batches(images, owners, data.recipe)
    model = initial_state(data.recipe, 0, data.device)
    optimizer = sgd(model, data.recipe.learning_rate, data.recipe)
    schedule, generator = _one_cycle(optimizer, data), torch_stream("batches", 0)

    def epoch() -> list[Tensor]:
        losses = []

        def loss(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            value = F.cross_entropy(network(inputs), labels)
            losses.append(value.detach())
            return value

        train_epoch(model, batches, optimizer, generator, loss=loss, schedule=schedule)
        return losses

    return epoch


class DecodedImages(Dataset[tuple[Tensor, int]]):
    """Decoded images held in memory, each transformed when it is asked for."""

    def __init__(self, data: Data, transform: Callable[[NDArray[np.uint8]], Tensor]) -> None:
        self.pixels, self.labels, self.transform = data.pixels, data.labels.tolist(), transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image, float32 of about -2 to 2, and its label."""
        return self.transform(self.pixels[index]), self.labels[index]


def scale(image: NDArray[np.uint8]) -> Tensor:
    """An image as the network takes it, by torch operations."""
    return torch.from_numpy(image).float().sub_(127.5).div_(63.75)


def scale_with_monai() -> Callable[[NDArray[np.uint8]], Tensor]:
    """The same by MONAI's transforms."""
    transform: Callable[[NDArray[np.uint8]], Tensor] = Compose(
        [EnsureType(dtype=torch.float32, track_meta=False), ScaleIntensityRange(0, 255, -2, 2)]
    )
    return transform


def textbook_epochs(
    data: Data, transform: Callable[[NDArray[np.uint8]], Tensor], workers: int
) -> Epoch:
    """As in a tutorial: a DataLoader, batches moved to the device, zero_grad, backward, step."""
    loader = DataLoader(
        DecodedImages(data, transform),
        batch_size=data.recipe.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=data.device.startswith("cuda"),
        generator=torch_stream("textbook", 0),
    )
    train_step = _plain_step(data)

    def epoch() -> list[Tensor]:
        return [
            train_step(
                inputs.to(data.device, non_blocking=True),
                labels.to(data.device, non_blocking=True),
            )
            for inputs, labels in loader
        ]

    return epoch


def in_memory_epochs(data: Data) -> Epoch:
    """One float tensor with all images on the device, indexed by a random order."""
    inputs = torch.from_numpy(data.pixels).to(data.device).float().sub_(127.5).div_(63.75)
    labels = torch.from_numpy(data.labels).to(data.device)
    train_step, generator = _plain_step(data), torch_stream("in memory", 0)

    def epoch() -> list[Tensor]:
        order = torch.randperm(len(labels), generator=generator).to(data.device)
        return [
            train_step(inputs[rows], labels[rows]) for rows in order.split(data.recipe.batch_size)
        ]

    return epoch


def _plain_step(data: Data) -> Callable[[Tensor, Tensor], Tensor]:
    """A step as tutorials write it: contiguous weights, SGD as it comes; precision as ours."""
    recipe = data.recipe
    model = initial_state(recipe, 0, data.device)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimizer = SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    schedule, device = _one_cycle(optimizer, data), torch.device(data.device)
    model.train()

    def train_step(inputs: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        with precision(device):
            loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.detach()

    return train_step


def _one_cycle(optimizer: torch.optim.Optimizer, data: Data) -> OneCycleLR:
    total = data.recipe.epochs * data.steps
    return OneCycleLR(optimizer, data.recipe.learning_rate, total_steps=total)
