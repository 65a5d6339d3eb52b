"""UAM: fine-tune on the retain set at the place where the forget set is worst."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import cross_entropy, train_epoch


@method(
    "UAM", "retain, forget", "#7B68EE s", "Kim et al. 2025, NeurIPS",
    epochs=(1, 10), learning_rate=(1e-3, 0.1), rho=(0.01, 1.0),
)  # fmt: skip
def uam(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 10,
    learning_rate: float = 0.01,
    rho: float = 0.05,
) -> nn.Module:
    """Look for weights where the retain loss is low although the forget loss is high.

    For every retain batch theta' = theta + rho_t g_f / |g_f|, with g_f = grad CE of a forget batch
    at theta (batches drawn anew when used up) and the norm over all weights; then theta takes the
    SGD step that grad CE of the retain batch *at theta'* asks for. rho_t = rho (1 + cos(pi t / N))
    / 2 over the N steps. Forget and retain batch pass BatchNorm together for g_f, the retain batch
    alone for the step. Does not ascend: theta itself never takes a step up the forget loss.

    Source: Kim et al., NeurIPS 2025 (unlearning-aware minimisation). Differs in the number of
    epochs, which the study caps at 20 % of the training's, though each costs two passes.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        learning_rate: Constant.
        rho: Length of the first perturbation.
    """
    student, generator = student_of(model), method_stream("uam", seed)
    optimizer = task.optimizer(student, learning_rate)
    forget = task.forget.endless(generator)
    parameters = list(student.parameters())
    home = [p.detach().clone() for p in parameters]
    steps = epochs * task.retain.steps()
    lengths = (rho * (1 + math.cos(math.pi * t / steps)) / 2 for t in range(steps))

    def perturbed_loss(student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        forget_inputs, forget_labels = next(forget)
        together = student(torch.cat([forget_inputs, inputs]))
        worse = F.cross_entropy(together[: len(forget_labels)], forget_labels)
        gradients = torch.autograd.grad(worse, parameters)
        norm, length = torch.stack([g.norm() for g in gradients]).norm(), next(lengths)
        with torch.no_grad():
            for parameter, old, gradient in zip(parameters, home, gradients, strict=True):
                old.copy_(parameter)
                parameter.add_(length * gradient / norm.clamp(min=1e-12))
        torch.clear_autocast_cache()  # it holds the unperturbed weights
        return cross_entropy(student, inputs, labels)

    def go_home(*_: object) -> None:
        with torch.no_grad():
            for parameter, old in zip(parameters, home, strict=True):
                parameter.copy_(old)

    optimizer.register_step_pre_hook(go_home)
    for _ in range(epochs):
        train_epoch(student, task.retain, optimizer, generator, loss=perturbed_loss)
    return student
