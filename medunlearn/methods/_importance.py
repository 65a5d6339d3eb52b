"""How much each weight matters to a set of images, shared by the methods that mask or damp."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from medunlearn.batches import Batches
from medunlearn.methods._masks import largest
from medunlearn.methods._task import Task
from medunlearn.training import cross_entropy

_MAX_NUMBERS = 2**28  # per-sample gradients held at once: 1 GiB


class Importances(NamedTuple):
    """Sums over images (or batches), one tensor for each parameter, and how many were summed."""

    sums: list[Tensor]
    number: int

    @property
    def mean(self) -> list[Tensor]:
        """The importance of each weight."""
        return [total / self.number for total in self.sums]


def label_loss(logits: Tensor, label: Tensor) -> Tensor:
    """CE of one image: logits (classes,), its label ()."""
    return F.cross_entropy(logits, label)


def importances(
    model: nn.Module,
    batches: Batches,
    score: Callable[[Tensor, Tensor], Tensor] = label_loss,
    measure: Callable[[Tensor], Tensor] = torch.square,
) -> Importances:
    """Sum over images of measure(gradient of the score of *this image*), in evaluation mode.

    Args:
        model: Put into evaluation mode; its weights, statistics and gradients stay.
        batches: Read once, unaugmented.
        score: From logits (classes,) and label () of one image to a scalar.
        measure: From gradients to importances of the same shape; default: the square.
    """
    model.eval()
    # channels first: pooling to one pixel has no batched kernel for channels last
    weights = {name: p.detach().contiguous() for name, p in model.named_parameters()}

    def scored(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return score(functional_call(model, parameters, (image[None].contiguous(),))[0], label)

    each = vmap(grad(scored), in_dims=(None, 0, 0))
    sums = [torch.zeros_like(p) for p in weights.values()]
    at_once = min(64, max(1, _MAX_NUMBERS // sum(p.numel() for p in sums)))
    for inputs, labels in batches.ordered(at_once):
        for total, gradients in zip(sums, each(weights, inputs, labels).values(), strict=True):
            total += measure(gradients).sum(0)
    return Importances(sums, len(batches))


def batch_importances(model: nn.Module, batches: Batches, batch_size: int) -> Importances:
    """Sum over batches of (gradient of the batch's mean CE)^2, for comparison with public code.

    A mean over n images squared falls with n, so a set smaller than a batch looks important.
    """
    model.eval()
    weights = list(model.parameters())
    sums, count = [torch.zeros_like(p) for p in weights], 0
    for inputs, labels in batches.ordered(batch_size):
        gradients = torch.autograd.grad(cross_entropy(model, inputs, labels), weights)
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient.square()
        count += 1
    return Importances(sums, count)


def dampen(
    model: nn.Module,
    task: Task,
    measured: Callable[[Batches], Importances],
    *,
    alpha: float | None,
    share_scale: float,
    dampening: float,
) -> None:
    """Shrink, in place, the weights that matter to the forget set far more than to all images.

    Where F_f > alpha F_D: theta *= min(dampening F_D / F_f, 1), with F_D over *all* of D. Other
    weights, and BatchNorm's statistics, keep their bits.

    Without alpha the weights with the largest F_f / F_D are chosen: share_scale times
    ln(1 + 100 |D_f| / |D|) percent of all, which is alpha at a percentile of these ratios.

    Source: Schoepf et al. 2024 (adaptive SSD, arXiv 2402.10098).
    """
    with task.clock("preparation"):
        forget, retain = measured(task.forget), measured(task.retain)
        everything = Importances(
            [f + r for f, r in zip(forget.sums, retain.sums, strict=True)],
            forget.number + retain.number,
        )
    # what no image needs has the ratio 0 / 0
    pairs = list(zip(forget.mean, everything.mean, strict=True))
    if alpha is None:
        forgotten = len(task.forget) / (len(task.forget) + len(task.retain))
        share = min(1.0, share_scale * math.log1p(100 * forgotten) / 100)
        chosen = largest([(f / d).nan_to_num(0.0) for f, d in pairs], share)
    else:
        chosen = [f > alpha * d for f, d in pairs]
    with torch.no_grad():
        for weight, (f, d), mask in zip(model.parameters(), pairs, chosen, strict=True):
            factor = (dampening * d / f).clamp(max=1)
            weight.mul_(torch.where(mask, factor, torch.ones_like(f)))
