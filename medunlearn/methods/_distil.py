"""Learning from a teacher's answer, shared by the methods that distil."""

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor


def divergence(target: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(target, student) of softened answers, summed over classes, mean over the batch.

    No factor T^2: a method that wants it multiplies.

    Args:
        target: Logits of the teacher, (n, classes).
        student: Logits of the student, (n, classes).
        temperature: Divides both logits.
    """
    return F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(target / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )
