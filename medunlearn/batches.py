"""Images on the device, and the batches that every training is fed with."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medunlearn.models import NetworkName

Batch = tuple[Tensor, Tensor]

# Grey value 0-255 to about -2..2. Fixed numbers, not the training set's mean and deviation: those
# would carry the forget set into the retrained model.
_CENTRE, _SCALE = 127.5, 63.75
LIMITS = (-2.0, 2.0)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training, apart from the images and the seed.

    Rates are those of SGD with momentum; ``learning_rate`` is the peak of the one-cycle schedule.
    ``max_shift`` is in pixels; ``horizontal_flip`` mirrors half of the images. ``image_size`` is
    for networks that must know it; ``weights`` is a file that every training starts from.
    """

    network: NetworkName | Callable[[], nn.Module]
    channels: int
    classes: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    horizontal_flip: bool
    max_shift: int
    image_size: int | None = None
    weights: str = ""

    @property
    def augments(self) -> bool:
        """Whether an image may look different each time it is learnt from."""
        return self.horizontal_flip or self.max_shift > 0

    @property
    def unlearning_epochs(self) -> int:
        """The most that a method may spend, its preparation counted: a fifth of the training's."""
        return max(1, self.epochs // 5)


@dataclass(frozen=True)
class Images:
    """All images of a cohort, held whole on the device.

    Args:
        pixels: uint8, (images, channels, height, width), channels last in memory.
        labels: int64, (images,).
        patients: int64, (images,): whose image it is.
    """

    pixels: Tensor
    labels: Tensor
    patients: Tensor

    @property
    def limits(self) -> tuple[float, float]:
        """Darkest and brightest number that ``inputs`` gives."""
        return LIMITS

    @classmethod
    def load(
        cls,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        patients: NDArray[np.int64],
        device: str,
    ) -> "Images":
        """Take arrays to the device.

        Grey images stay where they are on the CPU: those of a memory-mapped file are then in memory
        once, however many processes use them. Such a tensor cannot be written to.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            given = torch.from_numpy(pixels)
        count, channels, height, width = given.shape
        if channels == 1:  # channels last without a copy
            given = given.view(count, height, width, 1).permute(0, 3, 1, 2)
        held = given.to(device, memory_format=torch.channels_last)
        codes, owners = (
            torch.tensor(x, dtype=torch.int64, device=device) for x in (labels, patients)
        )
        return cls(held, codes, owners)

    def inputs(self, rows: Tensor) -> Tensor:
        """The images of these rows as the network takes them: float32, about -2..2."""
        chosen = self.pixels.index_select(0, rows)
        scaled = chosen.to(torch.float32).sub_(_CENTRE).div_(_SCALE)
        return scaled.contiguous(memory_format=torch.channels_last)


class Batches:
    """A set of images, served in batches by index from the device.

    Args:
        images: The cohort's images.
        rows: Which of them, int64.
        recipe: Its batch size and augmentation hold wherever these images are learnt from.
    """

    def __init__(self, images: Images, rows: NDArray[np.int64] | Tensor, recipe: Recipe) -> None:
        self.images = images
        self.rows = torch.as_tensor(rows, dtype=torch.int64, device=images.labels.device)
        self.recipe = recipe

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    def steps(self, batch_size: int | None = None) -> int:
        """Number of batches in an epoch."""
        return len(choose_bounds(len(self), batch_size or self.recipe.batch_size))

    def epoch(self, generator: torch.Generator, batch_size: int | None = None) -> Iterator[Batch]:
        """Each image once, shuffled and augmented; all is drawn before the first batch.

        Args:
            generator: A CPU generator, so that the draws are the same on every device.
            batch_size: Default: the recipe's.

        Yields:
            Images (n, channels, height, width) and labels (n,).
        """
        order = torch.randperm(len(self), generator=generator)
        flips = torch.rand(len(self), generator=generator) < 0.5
        largest = self.recipe.max_shift
        shifts = torch.randint(-largest, largest + 1, (len(self), 2), generator=generator)
        # a GPU is not waited for: it still works on the epoch before
        order, flips, shifts = (
            drawn.to(self.rows.device, non_blocking=True) for drawn in (order, flips, shifts)
        )
        rows = self.rows[order]
        for first, last in choose_bounds(len(self), batch_size or self.recipe.batch_size):
            inputs = self.images.inputs(rows[first:last])
            if self.recipe.horizontal_flip:
                inputs = torch.where(flips[first:last, None, None, None], inputs.flip(-1), inputs)
            if largest:
                inputs = _shift(inputs, shifts[first:last])
            yield inputs, self.images.labels[rows[first:last]]

    def ordered(self, batch_size: int = 512) -> Iterator[Batch]:
        """Each image once, in the order of the rows, never augmented, in batches of like size."""
        for rows in self.rows.tensor_split(max(1, math.ceil(len(self) / batch_size))):
            yield self.images.inputs(rows), self.images.labels[rows]

    def endless(self, generator: torch.Generator, batch_size: int | None = None) -> Iterator[Batch]:
        """Epoch after epoch, each drawn anew."""
        while True:
            yield from self.epoch(generator, batch_size)


def choose_bounds(count: int, size: int) -> list[tuple[int, int]]:
    """Cut points of an epoch: as many batches as it takes, of like size.

    A last batch of a few images would have poor BatchNorm statistics in every epoch, and how many
    are left over differs between an original and the models retrained without a forget set. A batch
    of one image cannot be normalised at all, once the feature map has shrunk to one pixel.
    """
    batches = max(1, min(math.ceil(count / size), count // 2))
    cuts = [number * count // batches for number in range(batches + 1)]
    return list(pairwise(cuts))


def _shift(inputs: Tensor, shifts: Tensor) -> Tensor:
    """Move each image by its own (rows, columns), repeating the border."""
    height, width = inputs.shape[-2:]
    lines = torch.arange(height, device=inputs.device)[None] - shifts[:, :1]
    columns = torch.arange(width, device=inputs.device)[None] - shifts[:, 1:]
    each = torch.arange(len(inputs), device=inputs.device)[:, None, None]
    moved = inputs.permute(0, 2, 3, 1)[
        each, lines.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    ]
    return moved.permute(0, 3, 1, 2)
