"""The epochs that SCRUB and its rewinding variant share."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.methods._distil import divergence
from medunlearn.methods._task import Task, student_of
from medunlearn.training import train_epoch


def scrub_epochs(
    model: nn.Module,
    task: Task,
    generator: torch.Generator,
    *,
    epochs: int,
    msteps: int,
    learning_rate: float,
    alpha: float,
    gamma: float,
    temperature: float,
    milestone: int,
    forget_batch: float,
) -> Iterator[nn.Module]:
    """Yield the student at the end of each epoch; it is one module, changed in place.

    Args:
        model: The original; its copy in evaluation mode is the teacher.
        task: What to unlearn.
        generator: Batches.
        epochs: Passes over the retain set, counted from 1.
        msteps: How many of the first epochs begin with a pass over the forget set.
        learning_rate: Up to and including the epoch of the milestone; a tenth of it later.
        alpha: Weight of the KL on the retain set.
        gamma: Weight of the CE on the retain set.
        temperature: Of both answers in the KL, which is multiplied by its square.
        milestone: An epoch.
        forget_batch: Forget batches as a share of the recipe's batch size.
    """
    teacher, student = student_of(model).eval().requires_grad_(False), student_of(model)
    optimizer = task.optimizer(student, learning_rate)
    forget_size = max(2, round(forget_batch * task.recipe.batch_size))

    def distance(logits: Tensor, inputs: Tensor) -> Tensor:
        return divergence(teacher(inputs), logits, temperature) * temperature**2

    def leave(network: nn.Module, inputs: Tensor, _labels: Tensor) -> Tensor:
        return -distance(network(inputs), inputs)

    def stay(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        logits = network(inputs)
        return gamma * F.cross_entropy(logits, labels) + alpha * distance(logits, inputs)

    for epoch in range(1, epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (0.1 if epoch > milestone else 1)
        if epoch <= msteps:
            train_epoch(
                student, task.forget, optimizer, generator, loss=leave, batch_size=forget_size
            )
        train_epoch(student, task.retain, optimizer, generator, loss=stay)
        yield student
