"""Which weights a method touches, found from gradients once, before it starts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.methods._layers import convolutions
from medunlearn.methods._task import Task
from medunlearn.training import cross_entropy


def saliency_mask(model: nn.Module, task: Task, share: float) -> list[Tensor]:
    """The weights with the largest gradient on the forget set, ranked over the whole network.

    Args:
        model: In evaluation mode here, so that no BatchNorm statistic moves; its gradients are
            used and cleared.
        task: Its forget set is read once, unaugmented.
        share: Of all weights that may move, 0 to 1.

    Returns:
        One bool tensor for each parameter, true where it may move.
    """
    model.eval()
    model.zero_grad(set_to_none=True)
    for inputs, labels in task.forget.ordered(task.recipe.batch_size):
        cross_entropy(model, inputs, labels).backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    return largest(gradients, share)


def largest(gradients: Sequence[Tensor], share: float) -> list[Tensor]:
    """Where the magnitude is among the largest, over all tensors; ties at the threshold are not.

    Args:
        gradients: Of any shapes.
        share: Of all numbers that are chosen, 0 to 1.

    Returns:
        One bool tensor for each.
    """
    magnitude = torch.cat([g.abs().flatten() for g in gradients])
    frozen = round((1 - share) * len(magnitude))
    if frozen == 0:
        return [torch.ones_like(g, dtype=torch.bool) for g in gradients]
    threshold = _smallest(magnitude, frozen)
    return [g.abs() > threshold for g in gradients]


def _smallest(values: Tensor, rank: int) -> Tensor:
    """The number of this rank, from 1, of a vector: one selection, not two sorts."""
    if values.is_cuda:  # there one block alone would select; all of them sort
        return values.sort().values[rank - 1]
    return values.kthvalue(rank).values


def indifferent_weights(
    model: nn.Module, task: Task, share: float, generator: torch.Generator
) -> list[Tensor]:
    """In each convolution the share of weights with the smallest |g|, as bool masks.

    g = grad CE(part of D_r as large as D_f) - grad CE(D_f), means over images, unaugmented.
    """
    model.eval()
    count = min(len(task.forget), len(task.retain))
    drawn = torch.randperm(len(task.retain), generator=generator)[:count]
    rows = task.retain.rows[drawn.to(task.retain.rows.device)]
    part = Batches(task.retain.images, rows, task.recipe)
    model.zero_grad(set_to_none=True)
    for sign, batches in ((1, part), (-1, task.forget)):
        for inputs, labels in batches.ordered(task.recipe.batch_size):
            total = F.cross_entropy(model(inputs), labels, reduction="sum")
            (sign * total / len(batches)).backward()
    masks = []
    for layer in convolutions(model):
        assert layer.weight.grad is not None
        # stable, so that ties (dead filters) fall the same way everywhere
        order = layer.weight.grad.abs().flatten().argsort(stable=True)
        mask = torch.zeros_like(order, dtype=torch.bool)
        mask[order[: round(share * len(order))]] = True
        masks.append(mask.view(layer.weight.shape))
    model.zero_grad(set_to_none=True)
    return masks
