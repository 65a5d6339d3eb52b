"""Fisher forgetting: noise on the weights that the retain set does not need."""

import torch
from torch import Tensor, nn

from medunlearn.methods._importance import importances, label_loss
from medunlearn.methods._layers import head
from medunlearn.methods._task import Task, method, method_stream, student_of


def fisher_information(model: nn.Module, task: Task) -> list[Tensor]:
    """Mean over D_r of sum_y p(y given x) (gradient of CE(x, y))^2, one tensor for each parameter.

    Args:
        model: Put into evaluation mode.
        task: Its retain set is read once for each class, unaugmented; its labels are not used.
    """

    def weighted(label: int) -> list[Tensor]:
        def score(logits: Tensor, own: Tensor) -> Tensor:
            # the root, as a constant, so that the square of its gradient carries p once
            root = logits.detach().softmax(0)[label].sqrt()
            return root * label_loss(logits, torch.full_like(own, label))

        return importances(model, task.retain, score).mean

    classes = (weighted(label) for label in range(task.recipe.classes))
    return [torch.stack(each).sum(0) for each in zip(*classes, strict=True)]


@method(
    "Fisher", "retain", "#AA4499 P", "Golatkar et al. 2020, arXiv 1911.04933", alpha=(1e-8, 1e-4)
)
def fisher(model: nn.Module, task: Task, *, seed: int, alpha: float = 1e-6) -> nn.Module:
    """Blur each weight by as much as the retain set tolerates.

    theta += sqrt(v) N(0, 1), where v starts as alpha min(1 / (F + 1e-8), 1e3), the cap 1e2 for the
    head. F is the diagonal of the Fisher information on D_r (see ``fisher_information``). In every
    matrix and kernel v is then averaged over dimension 1, the inputs of a unit. In the head and in
    every one-dimensional parameter it is multiplied by 10. It is 1/F that is capped, not theta.
    Reads the retain set only. Evaluation mode: BatchNorm statistics do not move. Does not train
    and does not look at the forget set; what it forgets is bought with accuracy everywhere. Its
    preparation is one backward pass of the retain set for each class.
    Hardly moves the forget gap at its usual alpha: the noise is small beside the weights.

    Source: Golatkar et al., CVPR 2020 (Fisher forgetting), with the averages and factors of their
    code.

    Args:
        seed: Of the noise.
        alpha: Scale of the noise's variance.
    """
    student = student_of(model)
    with task.clock("preparation"):
        information = fisher_information(student, task)
    of_head = {id(p) for p in head(student, task).module.parameters()}
    generator = method_stream("fisher", seed)
    with torch.no_grad():
        for weight, needed in zip(student.parameters(), information, strict=True):
            in_head = id(weight) in of_head
            variance = alpha * (1 / (needed + 1e-8)).clamp(max=1e2 if in_head else 1e3)
            if weight.ndim > 1:
                variance = variance.mean(1, keepdim=True)
            if in_head or weight.ndim == 1:
                variance = 10 * variance
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            weight.add_(variance.sqrt() * noise)
    return student
