"""What every unlearning method is given, and the record that describes a method."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from medunlearn.batches import Batches, Recipe
from medunlearn.cost import Clock
from medunlearn.errors import InputError
from medunlearn.training import sgd, torch_stream


class OfPeak(float):
    """A usual learning rate as a share of the peak rate that the original was trained at."""

    def __repr__(self) -> str:
        return f"{float(self):g} x peak"


@dataclass(frozen=True)
class Task:
    """What is to be unlearned, and all that a method may read.

    Args:
        retain: Training images of the patients who stay.
        forget: Training images of the patients to be forgotten.
        holdout: Images of the partition ``validation_method``; never a test image.
        recipe: How the original was trained: network, augmentation, batch size, decay.
        clock: Where a method bills its preparation (``with task.clock("preparation")``).
        checkpoint: The original as it was ``recipe.unlearning_epochs`` before the end of its
            training, if that was kept.
        head: Name of the layer that gives the logits, where it is not the last one reached.
    """

    retain: Batches
    forget: Batches
    holdout: Batches
    recipe: Recipe
    clock: Clock = field(default_factory=Clock)
    checkpoint: nn.Module | None = None
    head: str = ""

    def optimizer(self, model: nn.Module, learning_rate: float) -> SGD:
        """SGD over this very model, with the recipe's momentum and weight decay."""
        return sgd(model, learning_rate, self.recipe)


@dataclass(frozen=True)
class Method:
    """One method as grid, notebooks and figures know it; made by the decorator ``method``.

    A method takes ``(model, task, *, seed, **settings)``: the original, what to unlearn, a seed and
    its settings. It returns a new model; the one given stays as it is, bit for bit.

    Args:
        function: The method itself; its keyword defaults are the authors' settings (see ``usual``).
        label: Name in tables and figures.
        paper: Where it was published, with its arXiv number where there is one.
        reads: Which parts of the task it may read; tests hold it to that.
        ranges: For each setting that is tuned the usual (lowest, highest).
        colour: Fixed in every figure.
        marker: Fixed in every figure, so that no figure depends on colour alone.
        forgets: Whether it claims to forget.
        own_training: Whether it trains originals of its own, and pays for them.
        preparation: Epochs that its preparation costs, about, before the first one of learning.
    """

    function: Callable[..., nn.Module]
    label: str
    paper: str
    reads: frozenset[str]
    ranges: Mapping[str, tuple[float, float]]
    colour: str
    marker: str
    forgets: bool
    own_training: bool
    preparation: int

    @property
    def settings(self) -> dict[str, object]:
        """The authors' settings: the function's keyword defaults."""
        return dict(self.function.__kwdefaults__ or {})

    def usual(self, recipe: Recipe) -> dict[str, object]:
        """The usual settings for an original of this recipe: the authors', by two rules.

        Epochs are the authors' or the most that the study allows, whichever is less; several kinds
        of epochs share what preparation leaves of them. Rates told as ``OfPeak`` are multiplied.
        """
        defaults: dict[str, Any] = self.function.__kwdefaults__ or {}
        found = dict(defaults)
        left = recipe.unlearning_epochs - self.preparation
        counts = [name for name in found if name.endswith("epochs")]
        for number, name in enumerate(counts):
            most = max(1, left // (len(counts) - number))
            found[name] = min(defaults[name], most)
            left -= most
        for name, value in found.items():
            if isinstance(value, OfPeak):
                # rounded, for settings are shown: .1 x .1 is not 0.010000000000000002
                found[name] = float(f"{value * recipe.learning_rate:.12g}")
        return found

    def __call__(self, model: nn.Module, task: Task, *, seed: int, **settings: object) -> nn.Module:
        """Unlearn, with the clock on; the result is in evaluation mode.

        Raises:
            InputError: The forget or the retain set is empty, or a setting is not known.
        """
        name, known = self.function.__name__, self.usual(task.recipe)
        faults = [
            f"{name}: the {part} set holds no image; draw at least one patient into it"
            for part in ("forget", "retain")
            if len(getattr(task, part)) == 0
        ]
        faults += [
            f"{name}: setting {given!r} is not known; choose from {sorted(known)}"
            for given in settings
            if given not in known
        ]
        if faults:
            raise InputError("unlearning", faults)
        with task.clock("unlearning"):
            return self.function(model, task, seed=seed, **(known | settings)).eval()


def method(
    label: str,
    reads: str,
    style: str,
    paper: str = "",
    *,
    forgets: bool = True,
    own_training: bool = False,
    preparation: int = 0,
    **ranges: tuple[float, float],
) -> Callable[[Callable[..., nn.Module]], Method]:
    """Make an unlearning function a ``Method``, which the registry finds by the module's name.

    Args:
        label: Name in tables and figures.
        reads: Parts of the task, for example ``"retain, forget"``.
        style: Colour and marker in every figure, for example ``"#0072B2 o"``.
        paper: Where it was published, for example ``"Foster et al. 2024, arXiv 2308.07707"``.
        forgets: Whether it claims to forget.
        own_training: Whether it trains originals of its own.
        preparation: Epochs that its preparation costs, about.
        ranges: For each setting that is tuned the usual (lowest, highest).
    """
    parts = frozenset(part for part in reads.split(", ") if part)
    colour, marker = style.split()

    def make(function: Callable[..., nn.Module]) -> Method:
        flags = forgets, own_training, preparation
        return Method(function, label, paper, parts, ranges, colour, marker, *flags)

    return make


def student_of(model: nn.Module) -> nn.Module:
    """A copy that shares no tensor with the model, ready to be trained."""
    return copy.deepcopy(model).requires_grad_(True)


def method_stream(name: str, seed: int) -> torch.Generator:
    """The method's own random numbers."""
    return torch_stream("method", name, seed)
