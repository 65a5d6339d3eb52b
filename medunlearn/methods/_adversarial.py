"""The nearest mistakes of a model, and batches that hold them beside the cohort's images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.batches import LIMITS, Images


@dataclass(frozen=True)
class WithAttacked(Images):
    """The cohort's images, then attacked ones: inputs, for whole grey values undo an attack."""

    source: Images
    attacked: Tensor

    def inputs(self, rows: Tensor) -> Tensor:
        known = len(self.pixels)
        inputs = self.source.inputs(rows.clamp(max=known - 1))
        if not len(self.attacked):
            return inputs
        # both for every row: to count the attacked ones first, a GPU would have to be waited for
        attacked = self.attacked[(rows - known).clamp(min=0)]
        chosen = torch.where((rows >= known)[:, None, None, None], attacked, inputs)
        return chosen.contiguous(memory_format=torch.channels_last)


def nearest_mistakes(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    radius: float,
    steps: int,
    doublings: int,
    limits: tuple[float, float] = LIMITS,
) -> tuple[Tensor, Tensor]:
    """Walk each image up its own loss until the model (in evaluation mode) errs.

    Args:
        model: In evaluation mode.
        inputs: Images as the network takes them.
        labels: int64, (n,).
        radius: Of the first ball.
        steps: In each ball.
        doublings: Of the radius, at most.
        limits: Darkest and brightest number of an input; the radius counts their difference as 1.

    Returns:
        Inputs like those given, and the model's answers to them; an answer that is still right
        marks an image that no walk of at most radius * 2^doublings led astray.
    """
    walked, answers = inputs.clone(), labels.clone()
    unit = limits[1] - limits[0]
    active = torch.arange(len(labels), device=labels.device)
    for turn in range(steps * (doublings + 1) + 1):
        near = walked[active].requires_grad_()
        logits = model(near)
        answers[active] = logits.argmax(1)
        total = F.cross_entropy(logits, labels[active], reduction="sum")
        (slope,) = torch.autograd.grad(total, near)
        right = answers[active] == labels[active]
        active, slope = active[right], slope[right]
        if len(active) == 0 or turn == steps * (doublings + 1):
            break
        reach = unit * radius * 2 ** (turn // steps)
        step = reach / 10 * F.normalize(slope.flatten(1)).view_as(slope)
        way = walked[active] - inputs[active] + step
        way *= (reach / way.flatten(1).norm(dim=1).clamp(min=reach))[:, None, None, None]
        walked[active] = (inputs[active] + way).clamp(*limits)
    return walked, answers
