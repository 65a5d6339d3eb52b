"""AMUN: learn the original's nearest mistakes about the forget set."""

import torch
from torch import nn

from medunlearn.batches import Batches
from medunlearn.methods._adversarial import WithAttacked, nearest_mistakes
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method(
    "AMUN",
    "retain, forget",
    "#CC3311 *",
    "Ebrahimpour-Boroojeny et al. 2025, arXiv 2503.00917",
    preparation=2,
    epochs=(1, 10),
    learning_rate=(1e-3, 0.1),
)
def amun(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 10,
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
    radius (50) and the epochs (10), for the study caps both together at 20 % of the training's and
    counts the attack as two; in the limit to doublings; in leaving mistakes alone; in augmenting
    attacked images; and in the rate, which there is divided by ten after each epoch.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the three sets together.
        learning_rate: Constant.
        radius: First L2 distance in pixel space.
        steps: At each radius.
        doublings: Of the radius, at most.
    """
    student, forget = student_of(model).eval(), task.forget
    walk = (radius, steps, doublings, forget.images.limits)
    with task.clock("preparation"):
        walks = [
            (inputs, labels, *nearest_mistakes(student, inputs, labels, *walk))
            for inputs, labels in forget.ordered(task.recipe.batch_size)
        ]
    start, labels, walked, answers = (torch.cat(parts) for parts in zip(*walks, strict=True))
    led_astray = (answers != labels) & (walked != start).flatten(1).any(1)
    images = WithAttacked(
        forget.images.pixels,
        torch.cat([forget.images.labels, answers[led_astray]]),
        torch.cat([forget.images.patients, forget.images.patients[forget.rows[led_astray]]]),
        forget.images,
        walked[led_astray],
    )
    added = torch.arange(len(forget.images.labels), len(images.labels), device=labels.device)
    everything = Batches(images, torch.cat([task.retain.rows, forget.rows, added]), task.recipe)
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("amun", seed)
    for _ in range(epochs):
        train_epoch(student, everything, optimizer, generator)
    return student
