"""Fine-tuning on the retain set."""

from torch import nn

from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method(
    "fine-tuning", "retain", "#0072B2 o", "Golatkar et al. 2020, arXiv 1911.04933",
    epochs=(1, 10), learning_rate=(1e-3, 0.1),
)  # fmt: skip
def finetune(
    model: nn.Module, task: Task, *, seed: int, epochs: int = 10, learning_rate: float = 0.01
) -> nn.Module:
    """Go on training on the retain set alone, in the hope that the rest is forgotten on the way.

    Minimises CE(D_r) from theta_0. Reads the retain set only. BatchNorm statistics move with the
    retain set. Does not touch the forget set, and forgets nothing when the rate is too small. At a
    constant rate BatchNorm's running statistics may lag behind the weights: single models then
    fail in evaluation though their training loss is low.

    Source: the baseline of nearly all unlearning work, for example Golatkar et al., CVPR 2020.
    Differs from common settings in the number of epochs (10), which the study caps at 20 % of the
    training's, and in the batch size, which is that of the recipe.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        learning_rate: Constant.
    """
    student = student_of(model)
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("finetune", seed)
    for _ in range(epochs):
        train_epoch(student, task.retain, optimizer, generator)
    return student
