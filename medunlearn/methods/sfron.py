"""SFRon: ascend now and then on the weights that the forget set needs most, descend always."""

import math

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from medunlearn.methods._importance import importances
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import cross_entropy, step


def balanced_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of c_i CE_i with constant c_i ~ CE_i^-1/2 of mean 1: what is forgotten pushes less."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    coefficients = losses.detach().clamp(min=1e-8).rsqrt()  # CE is 0 where p_y rounds to 1
    return (coefficients / coefficients.mean() * losses).mean()


@method(
    "SFRon", "retain, forget", "#DDCC77 X", "Huang et al. 2024, arXiv 2409.19732",
    preparation=1, epochs=(1, 10), learning_rate=(1e-3, 0.1), strength=(1, 50),
)  # fmt: skip
def sfron(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 5,
    learning_rate: float = 0.01,
    strength: float = 25.0,
) -> nn.Module:
    """Forget in the saliency of the forget set, on the retain set's manifold.

    Iterations t = 0, ..., N - 1, one for each retain batch of all epochs. Every fifth first takes a
    step on -w_t mean(c_i CE_i) of a forget batch, c_i ~ detached CE_i^-1/2 with batch mean 1 and
    w_t = strength (1 + cos(pi t / N)) / 2, its gradient masked to the weights with F_f >= F_r and
    clipped at norm 7. Every iteration then takes a plain step on CE(D_r) that may move all weights.
    F: mean of squared per-sample gradients, once, from theta_0 in evaluation mode. One optimiser,
    cosine rate. BatchNorm statistics see both sets. Does not keep the weights outside the mask:
    momentum and weight decay move them even in the ascent.

    Source: Huang et al., NeurIPS 2024 (SFRon). Differs in N, 1,500 there, about five epochs: the
    study caps them and the pass for the mask at 20 % of the training's epochs. There F squares the
    mean gradient of a batch, and nothing keeps CE_i above 0.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set, the mask's pass not counted.
        learning_rate: Falls to 0 along half a cosine.
        strength: w_0.
    """
    student = student_of(model)
    with task.clock("preparation"):
        needs = [importances(student, part).mean for part in (task.forget, task.retain)]
        masks = [forget >= retain for forget, retain in zip(*needs, strict=True)]
    optimizer = task.optimizer(student.train(), learning_rate)
    iterations = epochs * task.retain.steps()
    schedule = CosineAnnealingLR(optimizer, iterations)
    generator = method_stream("sfron", seed)
    forget, retain = task.forget.endless(generator), task.retain.endless(generator)

    def restrict(*_: object) -> None:
        for weight, mask in zip(student.parameters(), masks, strict=True):
            weight.grad = None if weight.grad is None else weight.grad * mask
        nn.utils.clip_grad_norm_(student.parameters(), 7.0)

    def ascend(t: int, inputs: Tensor, labels: Tensor) -> None:
        weight = strength * (1 + math.cos(math.pi * t / iterations)) / 2
        handle = optimizer.register_step_pre_hook(restrict)
        step(student, optimizer, lambda: -weight * balanced_loss(student(inputs), labels))
        handle.remove()

    def descend(inputs: Tensor, labels: Tensor) -> None:
        step(student, optimizer, lambda: cross_entropy(student, inputs, labels))

    for t in range(iterations):
        if t % 5 == 0:
            ascend(t, *next(forget))
        descend(*next(retain))
        schedule.step()
    return student
