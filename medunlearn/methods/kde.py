"""KDE: redraw the outermost layers, then learn from the original without the forget set."""

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from medunlearn.methods._distil import divergence
from medunlearn.methods._layers import copy_layers, first_layer, fresh_network, head
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method(
    "KDE", "retain, holdout", "#E7298A 3", "Cadet et al. 2024, arXiv 2410.01276",
    epochs=(1, 3), warm_rate=(3e-4, 0.1), learning_rate=(3e-4, 0.1),
)  # fmt: skip
def kde(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    warm_epochs: int = 3,
    epochs: int = 3,
    warm_rate: float = 9e-4,
    learning_rate: float = 1e-3,
    temperature: float = 5.0,
) -> nn.Module:
    """Forget first and last layer, and let the original teach what it knows of other images.

    First and last layer are drawn anew; phase 1 minimises KL(teacher, student) on held-out
    images, phase 2 CE + 2 KL(teacher, student) on D_r, its rate falling along a cosine once an
    epoch (1, .75, .25 for three). KL is at temperature T without T^2, the teacher in evaluation
    mode. Reads retain set and holdout only, as do the student's BatchNorm statistics. Does not keep
    the forget set's influence on the teacher from its answers.

    Source: an entry of the NeurIPS 2023 unlearning challenge, as examined by Cadet et al., 2024
    (Deep Unlearn). Differs in the epochs (3 and 3), which the study caps together at 20 % of the
    training's, in the batch size (64), which is that of the recipe, and in the new convolution,
    which has the initial state of the recipe's network where theirs has torch's default.

    Args:
        seed: Of the new weights, the order and the augmentation.
        warm_epochs: Passes over the held-out images.
        epochs: Passes over the retain set.
        warm_rate: Constant, in phase 1.
        learning_rate: At the start of phase 2.
        temperature: Divides the logits of teacher and student.
    """
    generator = method_stream("kde", seed)
    teacher = student_of(model).eval().requires_grad_(False)
    student, fresh = student_of(model), fresh_network(task, generator)
    outermost = {first_layer(student, task).name, head(student, task).name}
    copy_layers(student, fresh, outermost)

    def imitate(student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001
        return divergence(teacher(inputs), student(inputs), temperature)

    def imitate_and_learn(student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        logits = student(inputs)
        distance = divergence(teacher(inputs), logits, temperature)
        return F.cross_entropy(logits, labels) + 2 * distance

    optimizer = task.optimizer(student, warm_rate)
    for _ in range(warm_epochs):
        train_epoch(student, task.holdout, optimizer, generator, loss=imitate)
    optimizer = task.optimizer(student, learning_rate)
    schedule = CosineAnnealingLR(optimizer, max(epochs, 1))
    for _ in range(epochs):
        train_epoch(student, task.retain, optimizer, generator, loss=imitate_and_learn)
        schedule.step()
    return student
