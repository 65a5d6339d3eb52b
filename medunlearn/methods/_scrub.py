"""The epochs that SCRUB and its rewinding variant share."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from medunlearn.errors import InputError
from medunlearn.methods._distil import answers, divergence, numbered
from medunlearn.methods._task import Task, student_of
from medunlearn.training import train_epoch

RANGES: dict[str, Any] = {
    "epochs": (1, 10),
    "msteps": (1, 5),
    "learning_rate": (1e-4, 0.05),
    "alpha": (0.1, 1),
    "temperature": (1, 8),
}
"""The usual range of each setting, for tuning."""


def scrub_epochs(
    model: nn.Module,
    task: Task,
    generator: torch.Generator,
    epochs: int,
    msteps: int,
    learning_rate: float,
    alpha: float,
    temperature: float,
    milestone: int,
    optimizer: str,
) -> Iterator[nn.Module]:
    """Yield the student, one module changed in place, at the end of each epoch.

    The settings are those of ``scrub``; epochs are counted from 1.
    """
    teacher, student = student_of(model).eval().requires_grad_(False), student_of(model)
    makers: dict[str, Callable[[], Optimizer]] = {
        "sgd": lambda: task.optimizer(student, learning_rate),
        "adam": lambda: Adam(student.parameters(), learning_rate, weight_decay=0.1),
    }
    if optimizer not in makers:
        raise InputError("unlearning", [f"scrub: optimizer {optimizer!r}; choose from sgd, adam"])
    steps = makers[optimizer]()
    # smaller than the retain batches, as the authors have it; batch norm needs two images
    size = max(2, task.recipe.batch_size // 2)

    answer, labels = answers(teacher, task.retain, task.forget), task.retain.images.labels
    retain, forget = numbered(task.retain), numbered(task.forget)

    def distance(logits: Tensor, inputs: Tensor, rows: Tensor) -> Tensor:
        return divergence(answer(inputs, rows), logits, temperature) * temperature**2

    def leave(network: nn.Module, inputs: Tensor, rows: Tensor) -> Tensor:
        return -distance(network(inputs), inputs, rows)

    def stay(network: nn.Module, inputs: Tensor, rows: Tensor) -> Tensor:
        logits = network(inputs)
        return F.cross_entropy(logits, labels[rows]) + alpha * distance(logits, inputs, rows)

    for epoch in range(1, epochs + 1):
        for group in steps.param_groups:
            group["lr"] = learning_rate * (0.1 if epoch > milestone else 1)
        if epoch <= msteps:
            train_epoch(student, forget, steps, generator, loss=leave, batch_size=size)
        train_epoch(student, retain, steps, generator, loss=stay)
        yield student
