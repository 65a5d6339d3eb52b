"""LFSSD: selective synaptic dampening without labels."""

import torch
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.methods._importance import Importances, dampen, importances
from medunlearn.methods._task import Task, method, student_of


def squared_norm(logits: Tensor, _label: Tensor) -> Tensor:
    """|logits|^2 of one image, (classes,)."""
    return logits.square().sum()


@method(
    "LFSSD", "retain, forget", "#BBCC33 8", "Foster et al. 2024, arXiv 2402.19308",
    share_scale=(0.1, 10), dampening=(0.1, 1),
)  # fmt: skip
def lfssd(
    model: nn.Module,
    task: Task,
    *,
    seed: int,  # noqa: ARG001 - nothing is drawn
    alpha: float | None = None,
    share_scale: float = 1.0,
    dampening: float = 1.0,
) -> nn.Module:
    """Dampen as SSD does, by how strongly each weight moves the output, whatever the label.

    Where I_f > alpha I_D: theta *= min(lambda I_D / I_f, 1). I is the mean over images of the
    *absolute* gradients of |logits|^2, per sample; I_D is taken over all of D. Evaluation mode
    throughout: BatchNorm statistics do not move, and every weight not selected keeps its bits.
    Reads no label. Does not repair. Ratios of absolute gradients live on another scale than those
    of squares: a fixed alpha is about the square root of SSD's. I_f / I_D is at most |D| / |D_f|,
    so the usual alpha is a percentile of these ratios, for the reasons given in ``ssd``.
    Hardly moves the forget gap at its usual settings: forget and retain patients are alike.

    Source: Foster et al., 2024 (loss-free SSD). Differs in I: the authors take the gradients of
    batches, not of single images.

    Args:
        seed: Not used: nothing is drawn.
        alpha: How many times as important to the forget set a weight must be to be damped;
            none: at a percentile of the ratios (see ``dampen``).
        share_scale: Without alpha, times the share of weights that adaptive SSD damps.
        dampening: lambda.
    """
    student = student_of(model)

    def measured(batches: Batches) -> Importances:
        return importances(student, batches, squared_norm, torch.abs)

    dampen(student, task, measured, alpha=alpha, share_scale=share_scale, dampening=dampening)
    return student
