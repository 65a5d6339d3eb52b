"""AMUN: learn the original's nearest mistakes about the forget set."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.methods._task import Method, Task, method_stream, student_of
from medunlearn.training import Batches, Images, train_epoch

_UNIT, _DARKEST, _BRIGHTEST = 4.0, -2.0, 2.0  # the range of pixels, 0 to 1, in network inputs


@dataclass(frozen=True)
class _WithAttacked(Images):
    """The cohort's images, then attacked ones: inputs, for whole grey values undo an attack."""

    attacked: Tensor

    def inputs(self, rows: Tensor) -> Tensor:
        known = len(self.pixels)
        added = rows >= known
        inputs = super().inputs(rows.clamp(max=known - 1))
        inputs[added] = self.attacked[rows[added] - known]
        return inputs


def nearest_mistakes(
    model: nn.Module, inputs: Tensor, labels: Tensor, radius: float, steps: int, doublings: int
) -> tuple[Tensor, Tensor]:
    """Walk each image up its own loss until the model (in evaluation mode) errs.

    Returns:
        Inputs like those given, and the model's answers to them; an answer that is still right
        marks an image that no walk of at most radius * 2^doublings led astray.
    """
    walked, answers = inputs.clone(), labels.clone()
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
        reach = _UNIT * radius * 2 ** (turn // steps)
        step = reach / 10 * F.normalize(slope.flatten(1)).view_as(slope)
        way = walked[active] - inputs[active] + step
        way *= (reach / way.flatten(1).norm(dim=1).clamp(min=reach))[:, None, None, None]
        walked[active] = (inputs[active] + way).clamp(_DARKEST, _BRIGHTEST)
    return walked, answers


def amun(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 1,
    learning_rate: float = 0.01,
    radius: float = 0.04,
    steps: int = 10,
    doublings: int = 6,
) -> nn.Module:
    """Train on each forget image also slightly changed, with the wrong label that this earns it.

    Once, on theta_0 in evaluation mode: L2 gradient ascent on CE in pixel space (0 to 1, clamped),
    no random start, steps of radius / 10 inside the ball of that radius, to the first wrong
    answer; after so many steps the radius doubles and the walk goes on. Then CE on D_r + D_f with
    true labels + attacked images with their wrong labels, all augmented alike. BatchNorm
    statistics see all three. Does not attack images that theta_0 gets wrong, and leaves out those
    still right at the last radius. With two classes this is a flip of the label.

    Source: Ebrahimpour-Boroojeny et al., ICML 2025 (AMUN). Differs in the steps at each
    radius (50) and the epochs (10), for the study caps both together at 20 % of the training's; in
    the limit to doublings; and in leaving mistakes alone.

    Args:
        model: The original.
        task: What to unlearn.
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the three sets together.
        learning_rate: Constant.
        radius: First L2 distance in pixel space.
        steps: At each radius.
        doublings: Of the radius, at most.
    """
    student, forget = student_of(model).eval(), task.forget
    with task.clock("preparation"):
        walks = [
            (inputs, labels, *nearest_mistakes(student, inputs, labels, radius, steps, doublings))
            for inputs, labels in forget.ordered(task.recipe.batch_size)
        ]
    start, labels, walked, answers = (torch.cat(parts) for parts in zip(*walks, strict=True))
    led_astray = (answers != labels) & (walked != start).flatten(1).any(1)
    images = _WithAttacked(
        forget.images.pixels,
        torch.cat([forget.images.labels, answers[led_astray]]),
        torch.cat([forget.images.patients, forget.images.patients[forget.rows[led_astray]]]),
        walked[led_astray],
    )
    added = torch.arange(len(forget.images.labels), len(images.labels), device=labels.device)
    everything = Batches(images, torch.cat([task.retain.rows, forget.rows, added]), task.recipe)
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("amun", seed)
    for _ in range(epochs):
        train_epoch(student, everything, optimizer, generator)
    return student


METHOD = Method(
    function=amun,
    label="AMUN",
    reads=frozenset({"retain", "forget"}),
    forgets=True,
    ranges={"epochs": (1, 10), "learning_rate": (1e-3, 0.1)},
    colour="#CC3311",
    marker="*",
)
