"""LoTUS: smooth the original's answers on the forget set until they are no better than held-out."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn
from torch.optim import AdamW

from medunlearn.batches import Batches
from medunlearn.methods._distil import forget_and_some_retain
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@torch.no_grad()
def accuracy(model: nn.Module, batches: Batches) -> float:
    """Share of right answers, in evaluation mode, unaugmented."""
    model.eval()
    right = [model(inputs).argmax(1) == labels for inputs, labels in batches.ordered()]
    return float(torch.cat(right).double().mean())


@method(
    "LoTUS", "retain, forget, holdout", "#661100 +", "Spartalis et al. 2025, arXiv 2503.18314",
    epochs=(1, 10), learning_rate=(3e-5, 1e-2), alpha=(1, 16),
)  # fmt: skip
def lotus(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    alpha: float = 2.0,
    retain_share: float = 0.3,
) -> nn.Module:
    """Learn softened draws of the original's answer on the forget set, plain draws on the rest.

    At the start of each epoch d = accuracy of the student on D_f - accuracy of the teacher
    (theta_0) on held-out images; stop when d <= -0.01. With tau = exp(alpha d) and Gumbel noise
    G minimises CE(target, student) over one shuffled loader: on D_f the target is
    softmax((teacher's logits + G) / tau), on a random 30 % of D_r the one-hot argmax of
    logits + G. The student has no temperature. BatchNorm statistics see both sets. Of the holdout
    it uses the teacher's accuracy alone. Does not push below that accuracy, and reads no label
    but to count right answers.
    Hardly moves the forget gap at its usual settings: smoothed answers keep the first choice.

    Source: Spartalis et al., CVPR 2025. Differs in the epochs (10), which the study caps at 20 %
    of the training's, in alpha, which is 8 for a ResNet on CIFAR-10, and in the rate (1e-4): AdamW
    moves a weight by about the rate in each step, and their epochs have some 130 steps.

    Args:
        seed: Of the noise, the part of D_r, the order and the augmentation.
        epochs: Passes over the mixed loader, at most.
        learning_rate: Of AdamW, whose weight decay is 5e-4.
        alpha: How fast the temperature follows the difference of accuracies.
        retain_share: Of the retain images, drawn once.
    """
    student, generator = student_of(model), method_stream("lotus", seed)
    teacher = student_of(model).eval().requires_grad_(False)
    with task.clock("preparation"):
        aim = accuracy(teacher, task.holdout)
    optimizer = AdamW(student.parameters(), learning_rate, weight_decay=5e-4)
    mixture = forget_and_some_retain(task, retain_share, generator)
    for _ in range(epochs):
        difference = accuracy(student, task.forget) - aim
        if difference <= -0.01:
            break
        temperature = math.exp(alpha * difference)

        def imitate(
            student: nn.Module, inputs: Tensor, is_forget: Tensor, tau: float = temperature
        ) -> Tensor:
            logits = teacher(inputs).float()
            gumbel = -torch.empty(logits.shape).exponential_(generator=generator).log()
            noisy = logits + gumbel.to(logits.device, non_blocking=True)
            drawn = F.one_hot(noisy.argmax(1), noisy.shape[1]).to(noisy.dtype)
            target = torch.where(is_forget[:, None] == 1, F.softmax(noisy / tau, dim=1), drawn)
            return F.cross_entropy(student(inputs), target)

        train_epoch(student, mixture, optimizer, generator, loss=imitate)
    return student
