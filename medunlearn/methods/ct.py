"""Convolution transpose (CT): swap the axes of every kernel, then fine-tune."""

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from medunlearn.methods._layers import convolutions
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@torch.no_grad()
def swap_kernel_axes(model: nn.Module) -> None:
    """Swap height and width of every square convolution kernel, in place; twice is nothing."""
    for layer in convolutions(model):
        if layer.kernel_size[0] == layer.kernel_size[1]:
            layer.weight.copy_(layer.weight.transpose(2, 3).clone())


@method(
    "CT", "retain", "#66A61E 2", "Cadet et al. 2024, arXiv 2410.01276",
    epochs=(1, 10), learning_rate=(3e-4, 0.1),
)  # fmt: skip
def ct(
    model: nn.Module, task: Task, *, seed: int, epochs: int = 3, learning_rate: float = 1e-3
) -> nn.Module:
    """Disturb the features without losing the weights' sizes, and repair on the retain set.

    w[o, i, y, x] becomes w[o, i, x, y]; then CE(D_r), the rate falling along a cosine once an epoch
    (1, .75, .25 for three). Reads the retain set only, and so do BatchNorm's statistics. Does not
    touch kernels of 1 x 1, and disturbs little where kernels are symmetric about the diagonal.

    Source: an entry of the NeurIPS 2023 unlearning challenge, as examined by Cadet et al., 2024
    (Deep Unlearn). Differs in the batch size (64), which is that of the recipe.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        learning_rate: At the start.
    """
    student = student_of(model)
    swap_kernel_axes(student)
    optimizer = task.optimizer(student, learning_rate)
    schedule = CosineAnnealingLR(optimizer, max(epochs, 1))
    generator = method_stream("ct", seed)
    for _ in range(epochs):
        train_epoch(student, task.retain, optimizer, generator)
        schedule.step()
    return student
