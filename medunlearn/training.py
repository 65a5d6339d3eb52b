"""One training loop for originals, retrained models and the inner epochs of every method."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from medunlearn.models import Norm, build_network
from medunlearn.randomness import stream

Batch = tuple[Tensor, Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

# Grey value 0-255 to about -2..2. Fixed numbers, not the training set's mean and deviation: those
# would carry the forget set into the retrained model.
_CENTRE, _SCALE = 127.5, 63.75


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training, apart from the images and the seed.

    Rates are those of SGD with momentum; ``learning_rate`` is the peak of the one-cycle schedule.
    ``max_shift`` is in pixels; ``horizontal_flip`` mirrors half of the images.
    """

    network: str
    channels: int
    classes: int
    norm: Norm
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    horizontal_flip: bool
    max_shift: int


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

    @classmethod
    def load(
        cls,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        patients: NDArray[np.int64],
        device: str,
    ) -> "Images":
        """Copy arrays to the device."""
        held = torch.from_numpy(np.array(pixels)).to(device, memory_format=torch.channels_last)
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
        device = self.rows.device
        rows = self.rows[torch.randperm(len(self), generator=generator).to(device)]
        flips = (torch.rand(len(self), generator=generator) < 0.5).to(device)
        largest = self.recipe.max_shift
        shifts = torch.randint(-largest, largest + 1, (len(self), 2), generator=generator)
        shifts = shifts.to(device)
        for first, last in choose_bounds(len(self), batch_size or self.recipe.batch_size):
            inputs = self.images.inputs(rows[first:last])
            if self.recipe.horizontal_flip:
                inputs = torch.where(flips[first:last, None, None, None], inputs.flip(-1), inputs)
            if largest:
                inputs = _shift(inputs, shifts[first:last])
            yield inputs, self.images.labels[rows[first:last]]

    def ordered(self, batch_size: int = 512) -> Iterator[Batch]:
        """Each image once, in the order of the rows, never augmented."""
        for rows in self.rows.split(batch_size):
            yield self.images.inputs(rows), self.images.labels[rows]

    def endless(self, generator: torch.Generator, batch_size: int | None = None) -> Iterator[Batch]:
        """Epoch after epoch, each drawn anew."""
        while True:
            yield from self.epoch(generator, batch_size)


def choose_bounds(count: int, size: int) -> list[tuple[int, int]]:
    """Cut points of an epoch; a last batch of one image joins the batch before it.

    Batch norm cannot normalise a single image once the feature map has shrunk to one pixel.
    """
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], count], strict=True))


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


def torch_stream(*names: str | int) -> torch.Generator:
    """A CPU generator of its own for the thing named (see ``randomness.stream``)."""
    return torch.Generator().manual_seed(_seed(*names))


def _seed(*names: str | int) -> int:
    return int(stream(*names).integers(2**63 - 1))


def prepare_device(device: str) -> str:
    """Settle what decides bytes and speed, once per process, before the first model.

    One CPU thread: the same bytes whatever else runs, and two such jobs beat one with two threads.

    Args:
        device: ``cpu`` or ``cuda`` (``cuda:1`` ...).

    Raises:
        RuntimeError: CUDA is asked for and torch sees none.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError("device 'cuda': torch sees no CUDA device here; use DEVICE=cpu")
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return device


def initial_state(recipe: Recipe, seed: int, device: str) -> nn.Module:
    """The untrained network that an original and its retrained models share."""
    network = build_network(
        recipe.network,
        channels=recipe.channels,
        classes=recipe.classes,
        norm=recipe.norm,
        seed=_seed("init", seed),
    )
    return network.to(device)


def sgd(model: nn.Module, learning_rate: float, recipe: Recipe) -> SGD:
    """Fused SGD over the parameters that are not frozen, with the recipe's momentum and decay."""
    free = [p for p in model.parameters() if p.requires_grad]
    return SGD(
        free,
        lr=learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def cross_entropy(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of a batch."""
    return F.cross_entropy(model(inputs), labels)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    """One update of the model; mixed precision (bfloat16) on CUDA devices that have it."""
    device = next(model.parameters()).device.type
    mixed = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=mixed):
        value = loss()
    value.backward()
    optimizer.step()


def train_epoch(
    model: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    *,
    loss: Loss = cross_entropy,
    batch_size: int | None = None,
    schedule: LRScheduler | None = None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """One pass over the batches in training mode, an update for each of them.

    Args:
        model: Changed in place.
        batches: What is learnt from.
        optimizer: Holds the parameters of this very model.
        generator: Order and augmentation.
        loss: From (model, images, labels) to the scalar that is minimised.
        batch_size: Default: the recipe's.
        schedule: Stepped after every update.
        after_step: Called after every update, for methods that put weights back.
    """
    model.train()
    for inputs, labels in batches.epoch(generator, batch_size):
        step(model, optimizer, lambda x=inputs, y=labels: loss(model, x, y))  # type: ignore[misc]
        if schedule:
            schedule.step()
        if after_step:
            after_step()


def fit(
    model: nn.Module,
    batches: Batches,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    loss: Loss = cross_entropy,
) -> None:
    """Take a network, in place, through the recipe's whole schedule.

    A smaller set of images takes fewer steps an epoch; the one-cycle schedule is rescaled to them.
    """
    optimizer = sgd(model, recipe.learning_rate, recipe)
    schedule = OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * batches.steps()
    )
    for _ in range(recipe.epochs):
        train_epoch(model, batches, optimizer, generator, loss=loss, schedule=schedule)


def train(batches: Batches, recipe: Recipe, *, seed: int) -> nn.Module:
    """Train a network from its initial state: an original, or a retrained model.

    The same seed gives the same initial state and the same stream of batches.

    Args:
        batches: The training images, (or the retain set alone).
        recipe: Network, epochs, schedule, augmentation.
        seed: Of the initial state and of the batches.

    Returns:
        The trained network in evaluation mode, on the device of the images.
    """
    model = initial_state(recipe, seed, str(batches.rows.device))
    fit(model, batches, recipe, torch_stream("batches", seed))
    return model.eval()
