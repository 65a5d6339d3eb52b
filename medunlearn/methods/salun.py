"""SalUn: random labels, learnt only by the weights that matter to the forget set."""

import torch
from torch import nn

from medunlearn.methods._masks import saliency_mask
from medunlearn.methods._relabel import relabel_and_repair
from medunlearn.methods._task import Task, method, method_stream, student_of


@method(
    "SalUn",
    "retain, forget",
    "#CC79A7 D",
    "Fan et al. 2024, arXiv 2310.12508",
    epochs=(1, 10),
    learning_rate=(3e-3, 0.1),
    share=(0.1, 0.9),
)
def salun(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 10,
    learning_rate: float = 0.013,
    share: float = 0.5,
) -> nn.Module:
    """Random labels on the half of the weights that the forget set pulls at most.

    The mask is |sum over forget batches of grad CE(D_f)| above its median over all parameters,
    found once, in evaluation mode. After every step the weights outside the mask *and* their
    momentum are put back, so neither weight decay nor momentum moves them: they end bit-identical
    to the original's. BatchNorm's running statistics are not weights; they move with both sets.
    Does not mask by layer, and ties at the threshold stay frozen. Labels are drawn as in
    ``random_labels``: anew in each epoch, never the true one.

    Source: Fan et al., ICLR 2024 (SalUn).

    Args:
        seed: Of the labels, the order and the augmentation.
        epochs: Pairs of passes, over the forget and the retain set.
        learning_rate: Constant.
        share: Of the weights that may move, 0 to 1.
    """
    student = student_of(model)
    with task.clock("preparation"):
        masks = saliency_mask(student, task, share)
    parameters = list(student.parameters())
    kept = [p.detach().clone() for p in parameters]

    def put_back(optimizer: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            for parameter, mask, old in zip(parameters, masks, kept, strict=True):
                parameter.copy_(torch.where(mask, parameter, old))
                optimizer.state[parameter]["momentum_buffer"].mul_(mask)

    generator = method_stream("salun", seed)
    relabel_and_repair(student, task, generator, epochs, learning_rate, after_step=put_back)
    return student
