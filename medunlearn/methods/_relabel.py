"""Training on wrong labels, shared by random labels and SalUn."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from medunlearn.methods._task import Task
from medunlearn.training import cross_entropy, train_epoch


def other_labels(labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """For each label another one, uniform over the other classes (with two classes: a flip).

    Args:
        labels: int64, (n,).
        classes: Number of classes, at least 2.
        generator: A CPU generator.
    """
    steps = torch.randint(1, classes, labels.shape, generator=generator)
    return (labels + steps.to(labels.device, non_blocking=True)) % classes


def relabel_and_repair(
    student: nn.Module,
    task: Task,
    generator: torch.Generator,
    epochs: int,
    learning_rate: float,
    after_step: Callable[[torch.optim.Optimizer], None] = lambda _: None,
) -> None:
    """Each epoch: one pass over the forget set with labels drawn anew, one over the retain set.

    Args:
        student: Changed in place.
        task: What to unlearn.
        generator: Batches and labels.
        epochs: Number of such pairs of passes.
        learning_rate: Constant, the same for both passes.
        after_step: Called with the optimiser after every update.
    """
    optimizer = task.optimizer(student, learning_rate)

    def put_back() -> None:
        after_step(optimizer)

    def wrong(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model, inputs, other_labels(labels, task.recipe.classes, generator))

    for _ in range(epochs):
        train_epoch(student, task.forget, optimizer, generator, loss=wrong, after_step=put_back)
        train_epoch(student, task.retain, optimizer, generator, after_step=put_back)
