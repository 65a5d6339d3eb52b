"""SalUn: random labels, learnt only by the weights that matter to the forget set."""

import torch
from torch import Tensor, nn

from medunlearn.methods._relabel import relabel_and_repair
from medunlearn.methods._task import Method, Task, method_stream, student_of
from medunlearn.training import cross_entropy


def saliency_mask(model: nn.Module, task: Task, share: float) -> list[Tensor]:
    """The weights with the largest gradient on the forget set, ranked over the whole network.

    Args:
        model: In evaluation mode here, so that no BatchNorm statistic moves; its gradients are
            used and cleared.
        task: Its forget set is read once, unaugmented.
        share: Of all weights that may move, 0 to 1.

    Returns:
        One bool tensor for each parameter, true where it may move.
    """
    model.eval()
    model.zero_grad(set_to_none=True)
    for inputs, labels in task.forget.ordered(task.recipe.batch_size):
        cross_entropy(model, inputs, labels).backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    saliency = torch.cat([g.abs().flatten() for g in gradients])
    frozen = round((1 - share) * len(saliency))
    if frozen == 0:
        return [torch.ones_like(g, dtype=torch.bool) for g in gradients]
    # one selection instead of two sorts of the whole network
    threshold = saliency.kthvalue(frozen).values
    return [g.abs() > threshold for g in gradients]


def salun(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 3,
    learning_rate: float = 0.013,
    share: float = 0.5,
) -> nn.Module:
    """Random labels on the half of the weights that the forget set pulls at most.

    The mask is |sum over forget batches of grad CE(D_f)| above its median over all parameters,
    found once, in evaluation mode. After every step the weights outside the mask *and* their
    momentum are put back, so neither weight decay nor momentum moves them: they end bit-identical
    to the original's. BatchNorm's running statistics are not weights; they move with both sets.
    Does not mask by layer, and ties at the threshold stay frozen.

    Source: Fan et al., ICLR 2024 (SalUn).

    Args:
        model: The original.
        task: What to unlearn.
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

    relabel_and_repair(
        student,
        task,
        method_stream("salun", seed),
        epochs=epochs,
        learning_rate=learning_rate,
        after_step=put_back,
    )
    return student


METHOD = Method(
    function=salun,
    label="SalUn",
    reads=frozenset({"retain", "forget"}),
    forgets=True,
    ranges={"epochs": (1, 10), "learning_rate": (3e-3, 0.1), "share": (0.1, 0.9)},
    colour="#CC79A7",
    marker="D",
)
