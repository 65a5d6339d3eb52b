"""MUNBa: retain and forget set bargain over every step."""

import torch
from torch import Tensor, nn

from medunlearn.methods._relabel import other_labels
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import cross_entropy, precision, step


def bargain(retain: list[Tensor], forget: list[Tensor]) -> Tensor:
    """The weights (a_r, a_u) of two gradients in the Nash bargaining solution.

    With G = (g_r, g_u) they solve G^T G a = 1 / a: both losses fall by the same share. In closed
    form, s = |g_r| |g_u| and a_i = sqrt(s / (|g_i|^2 (s + g_r . g_u))). Where there is no bargain,
    because one gradient is 0 or they are opposite, the weights are 1 and 0.1.

    Args:
        retain: Gradients of all parameters on the retain set.
        forget: The same on the forget set.

    Returns:
        Two numbers, on the gradients' device.
    """
    pairs = ((retain, retain), (retain, forget), (forget, forget))
    g1, g2, g3 = (
        torch.stack([(a * b).sum() for a, b in zip(*x, strict=True)]).sum() for x in pairs
    )
    size = (g1 * g3).sqrt()
    weights = (size / (torch.stack([g1, g3]) * (size + g2))).sqrt()
    # so near to opposite gradients, rounding alone would decide the direction
    succeeds = weights.isfinite().all() & (size + g2 > 1e-4 * size)
    return torch.where(succeeds, weights, weights.new_tensor([1.0, 0.1]))


@method(
    "MUNBa", "retain, forget", "#EE3377 X", "Wu and Harandi 2024, arXiv 2411.15537",
    epochs=(1, 10), learning_rate=(1e-3, 0.1),
)  # fmt: skip
def munba(
    model: nn.Module, task: Task, *, seed: int, epochs: int = 10, learning_rate: float = 0.01
) -> nn.Module:
    """Take the steps that serve keeping and forgetting by the same share.

    Each epoch pairs retain batches with forget batches until these are used up. A pair takes a step
    along a_r g_r + a_u g_u, clipped at norm 1: g_r is the gradient of CE(D_r), g_u that of CE(D_f,
    y') with y' drawn anew as in ``random_labels``; for the weights see ``bargain``. As long as the
    bargain succeeds the sum has the norm sqrt(2), so its step has the length of the rate. The other
    retain batches take a plain step on CE(D_r). BatchNorm statistics see both sets, in separate
    passes. Does not bound how far the forget loss rises, and repairs only in its plain steps.

    Source: Wu and Harandi, 2024 (MUNBa). Differs in the epochs (10), which the study caps at 20 %
    of the training's, in the draw of y', which there includes the true label, and in the closed
    form, which is theirs with |g_r| |g_u| - g_r . g_u cancelled.

    Args:
        seed: Of the labels, the order and the augmentation.
        epochs: Passes over the retain set.
        learning_rate: Constant.
    """
    student, generator = student_of(model).train(), method_stream("munba", seed)
    parameters = list(student.parameters())
    optimizer = task.optimizer(student, learning_rate)

    def gradient(inputs: Tensor, labels: Tensor) -> list[Tensor]:
        with precision(inputs.device):
            loss = cross_entropy(student, inputs, labels)
        return list(torch.autograd.grad(loss, parameters, materialize_grads=True))

    def bargained_step(retain: tuple[Tensor, Tensor], forget: tuple[Tensor, Tensor]) -> None:
        wrong = other_labels(forget[1], task.recipe.classes, generator)
        ours, theirs = gradient(*retain), gradient(forget[0], wrong)
        weights = bargain(ours, theirs)
        for parameter, g_r, g_u in zip(parameters, ours, theirs, strict=True):
            parameter.grad = weights[0] * g_r + weights[1] * g_u
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    def plain_step(inputs: Tensor, labels: Tensor) -> None:
        step(student, optimizer, lambda: cross_entropy(student, inputs, labels))

    for _ in range(epochs):
        forget = task.forget.epoch(generator)
        for batch in task.retain.epoch(generator):
            other = next(forget, None)
            if other is None:
                plain_step(*batch)
            else:
                bargained_step(batch, other)
    return student
