"""One training loop for originals, retrained models and the inner epochs of every method."""

import copy
import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import update_bn

from medunlearn.batches import Batches, Recipe
from medunlearn.models import build_network
from medunlearn.randomness import stream

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def torch_stream(*names: str | int) -> torch.Generator:
    """A CPU generator of its own for the thing named (see ``randomness.stream``)."""
    return torch.Generator().manual_seed(_seed(*names))


def _seed(*names: str | int) -> int:
    return int(stream(*names).integers(2**63 - 1))


def prepare_device(device: str) -> str:
    """Settle what decides bytes and speed, once per process, before the first model.

    One CPU thread: the same bytes whatever else runs, and two such jobs beat one with two threads.

    Freed memory is kept for the next step: given back to the system, it would have to be asked for
    again, page by page; by chance some processes did so in every step. On CUDA, what is not in
    mixed precision is in full single precision: no TF32.

    Args:
        device: ``cpu`` or ``cuda``: which of several GPUs, CUDA_VISIBLE_DEVICES decides.

    Raises:
        RuntimeError: CUDA is asked for and torch sees none.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError("device 'cuda': torch sees no CUDA device here; use DEVICE=cpu")
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    _keep_freed_memory()
    return device


def _keep_freed_memory() -> None:
    """Tell the allocator (glibc's alone knows how) to hold on to what is freed."""
    trim_threshold, mmap_threshold = -1, -3  # names in malloc.h
    with suppress(OSError, AttributeError, TypeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(mmap_threshold, 32 << 20)  # the most it accepts
        allocator.mallopt(trim_threshold, 512 << 20)


def initial_state(recipe: Recipe, seed: int, device: str) -> nn.Module:
    """The untrained network that an original and its retrained models share."""
    network = build_network(
        recipe.network,
        channels=recipe.channels,
        classes=recipe.classes,
        seed=_seed("init", seed),
        image_size=recipe.image_size,
        weights=recipe.weights,
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


def precision(device: torch.device) -> torch.autocast:
    """What a training step computes in: bfloat16 on CUDA devices that have it, else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=_is_mixed(device))


@cache
def _is_mixed(device: torch.device) -> bool:
    """Asked once: the answer costs more than a small kernel."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    """One update of the model; mixed precision (bfloat16) on CUDA devices that have it."""
    optimizer.zero_grad(set_to_none=True)
    with precision(next(model.parameters()).device):
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
    first_epoch: int = 0,
    checkpoint: Callable[[nn.Module], None] | None = None,
) -> None:
    """Take a network, in place, through the recipe's schedule.

    A smaller set of images takes fewer steps an epoch; the one-cycle schedule is rescaled to them.

    Args:
        model: Changed in place.
        batches: What is learnt from.
        recipe: Epochs and schedule.
        generator: Order and augmentation.
        loss: What is minimised.
        first_epoch: Where in the schedule to begin, counted from 0; momentum begins at zero.
        checkpoint: Called with a copy of the model before the last ``recipe.unlearning_epochs``.
    """
    optimizer = sgd(model, recipe.learning_rate, recipe)

    def one_cycle(steps_done: int) -> OneCycleLR:
        total = recipe.epochs * batches.steps()
        return OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=total, last_epoch=steps_done - 1
        )

    schedule = one_cycle(0)
    if first_epoch:  # the schedule from its start has set the bounds that this one needs
        schedule = one_cycle(first_epoch * batches.steps())
    for epoch in range(first_epoch, recipe.epochs):
        if checkpoint and epoch == recipe.epochs - recipe.unlearning_epochs:
            checkpoint(copy.deepcopy(model))
        train_epoch(model, batches, optimizer, generator, loss=loss, schedule=schedule)


def train(
    batches: Batches,
    recipe: Recipe,
    *,
    seed: int,
    checkpoint: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    """Train a network from its initial state: an original, or a retrained model.

    The same seed gives the same initial state and the same stream of batches.

    Args:
        batches: The training images, (or the retain set alone).
        recipe: Network, epochs, schedule, augmentation.
        seed: Of the initial state and of the batches.
        checkpoint: Called with a copy of the model before the last ``recipe.unlearning_epochs``.

    Returns:
        The trained network in evaluation mode, on the device of the images.
    """
    model = initial_state(recipe, seed, str(batches.rows.device))
    fit(model, batches, recipe, torch_stream("batches", seed), checkpoint=checkpoint)
    return model.eval()


def reestimate_statistics(model: nn.Module, batches: Batches) -> None:
    """Set the BatchNorm statistics of a model, in place, to those of its images under its weights.

    A moving average lags behind weights that change until the last step, as they do in unlearning.
    One pass over the images replaces it: every image once, not augmented, mean and variance of the
    batches averaged with equal weights. The images are shuffled, in the same way each time: cohorts
    are sorted, and a batch of one class would have the statistics of that class. Weights and mode
    stay as they are. A model without BatchNorm is not touched. A model with dropout would be seen
    with dropout on; none of ``models.NETWORKS`` has it.

    Source: ``torch.optim.swa_utils.update_bn``; Izmailov et al., UAI 2018, sec. 3.2.

    Args:
        model: On the device of the images.
        batches: All that the model may know: training set of an original, else the retain set.
    """
    order = torch.randperm(len(batches), generator=torch_stream("statistics"))
    shuffled = Batches(batches.images, batches.rows[order.to(batches.rows.device)], batches.recipe)
    update_bn(shuffled.ordered(), model)
