"""NoT: turn the sign of the first layer, then fine-tune on the retain set."""

import torch
from torch import nn

from medunlearn.methods._layers import first_layer
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method(
    "NoT", "retain", "#A6761D 4", "Khalil et al. 2025, arXiv 2503.05657",
    epochs=(1, 10), learning_rate=(1e-3, 0.1),
)  # fmt: skip
def negate_layers(
    model: nn.Module, task: Task, *, seed: int, epochs: int = 10, learning_rate: float = 0.01
) -> nn.Module:
    """Break what all later layers rely on, and let the retain set alone repair it.

    The weights of the first layer times -1, then CE(D_r). Reads the retain set only. BatchNorm
    keeps its weights and statistics at the negation; the statistics then follow the retain set.
    Does not negate a bias, nor any later layer, nor look at the forget set.

    Source: Khalil et al., CVPR 2025 (NoT), whose code was not read. Differs in the number of
    epochs, which the study caps at 20 % of the training's.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        learning_rate: Constant.
    """
    student = student_of(model)
    with torch.no_grad():
        for weight in first_layer(student, task).module.parameters():
            if weight.ndim > 1:  # no bias
                weight.neg_()
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("negate_layers", seed)
    for _ in range(epochs):
        train_epoch(student, task.retain, optimizer, generator)
    return student
