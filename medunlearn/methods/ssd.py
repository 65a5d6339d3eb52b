"""SSD: damp the weights that matter to the forget set far more than to all images."""

from torch import nn

from medunlearn.batches import Batches
from medunlearn.methods._importance import Importances, batch_importances, dampen, importances
from medunlearn.methods._task import Task, method, student_of


@method(
    "SSD", "retain, forget", "#808000 d", "Foster et al. 2024, arXiv 2308.07707",
    share_scale=(0.1, 10), dampening=(0.1, 1),
)  # fmt: skip
def ssd(
    model: nn.Module,
    task: Task,
    *,
    seed: int,  # noqa: ARG001 - nothing is drawn
    alpha: float | None = None,
    share_scale: float = 1.0,
    dampening: float = 1.0,
    per_batch: bool = False,
) -> nn.Module:
    """Selective synaptic dampening: no training, one pass for importances, one multiplication.

    Where F_f > alpha F_D: theta *= min(lambda F_D / F_f, 1). F is the mean over images of *squared
    per-sample* gradients of CE at the true label; F_D is taken over all of D, forget set included.
    Evaluation mode throughout: BatchNorm statistics do not move, and every weight not selected
    keeps its bits. Does not repair, and on forget sets that resemble the retain set selects next to
    nothing: then it returns nearly the original.
    Hardly moves the forget gap at its usual settings: forget and retain patients are alike, and so
    are the weights that they need.

    F_f / F_D is at most |D| / |D_f|, by arithmetic: 10 where a tenth is forgotten. From there on
    alpha selects nothing. The authors' alpha of 10 is for 100 of 60,000 images, so the usual alpha
    is that of their later rule, a percentile of the ratios; tuning scales the share above it.

    Source: Foster et al., AAAI 2024 (SSD). Differs in F: the authors square the mean gradient of a
    *batch*, which makes small forget sets look important by their size alone. ``per_batch`` does
    as they do, with the recipe's batch size, but cuts forget and retain set into batches apart.

    Args:
        seed: Not used: nothing is drawn.
        alpha: How many times as important to the forget set a weight must be to be damped;
            none: at a percentile of the ratios (see ``dampen``).
        share_scale: Without alpha, times the share of weights that adaptive SSD damps.
        dampening: lambda.
        per_batch: Square the gradients of batches, not of images.
    """
    student = student_of(model)

    def measured(batches: Batches) -> Importances:
        if per_batch:
            return batch_importances(student, batches, task.recipe.batch_size)
        return importances(student, batches)

    dampen(student, task, measured, alpha=alpha, share_scale=share_scale, dampening=dampening)
    return student
