"""ReGUn: answer on the forget set as the original does on held-out images of the same classes."""

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.methods._distil import divergence
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import cross_entropy, sgd, train_epoch


@torch.no_grad()
def mean_answers(model: nn.Module, batches: Batches, classes: int) -> Tensor:
    """The model's mean softmax over the images of each class, (classes, classes).

    A class without images gets the mean over all of them.
    """
    model.eval()
    pairs = [(F.softmax(model(inputs), dim=1), labels) for inputs, labels in batches.ordered()]
    answers, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    own = [answers[labels == k] for k in range(classes)]
    return torch.stack([(some if len(some) else answers).mean(0) for some in own])


@method(
    "ReGUn", "retain, forget, holdout", "#77AADD ^", "Mirlach et al. 2026, arXiv 2603.11210",
    epochs=(1, 10), learning_rate=(1e-3, 0.1),
)  # fmt: skip
def regun(
    model: nn.Module, task: Task, *, seed: int, epochs: int = 10, learning_rate: float = 0.01
) -> nn.Module:
    """Hold each forget batch to what the original says of images it has never seen.

    Minimises KL(q, student) / 2 on a forget batch + CE / 2 on a retain batch, one step for every
    forget batch, without weight decay; q is theta_0's mean softmax over held-out images in the
    batch's class mix, one answer for the whole batch, worked out from class means in one pass
    over the holdout. BatchNorm statistics see both sets, in separate passes. Does not tell images
    of a batch apart, so a small forget set is drawn to its class frequencies.

    Source: Mirlach, Laguna, Vogt, 2026 (ReGUn, arXiv 2603.11210). Differs in the epochs (10), and
    in q, which is the expectation of the published draw of held-out images.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the *forget* set, as many retain images beside each.
        learning_rate: Constant.
    """
    student, generator = student_of(model), method_stream("regun", seed)
    with task.clock("preparation"):
        means = mean_answers(student_of(model), task.holdout, task.recipe.classes)
    retain = task.retain.endless(generator)

    def loss(student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        target = means[labels].mean(0).clamp(min=1e-30).log().expand(len(labels), -1)
        return (divergence(target, student(inputs)) + cross_entropy(student, *next(retain))) / 2

    optimizer = sgd(student, learning_rate, replace(task.recipe, weight_decay=0.0))
    for _ in range(epochs):
        train_epoch(student, task.forget, optimizer, generator, loss=loss)
    return student
