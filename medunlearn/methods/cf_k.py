"""CF-k: catastrophic forgetting in the last k blocks."""

from torch import nn

from medunlearn.methods._blocks import freeze_all_but, tail_names
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method(
    "CF-k", "retain", "#332288 <", "Goel et al. 2022, arXiv 2201.06640",
    k=(1, 10), epochs=(1, 10), learning_rate=(1e-3, 0.1),
)  # fmt: skip
def cf_k(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    k: int = 2,
    epochs: int = 10,
    learning_rate: float = 0.01,
) -> nn.Module:
    """Fine-tune on the retain set the last k blocks and the head; all before them is frozen.

    Minimises CE(D_r) over the tail, from theta_0. Reads the retain set only. Frozen parts end
    bit-identical: their BatchNorm stays in evaluation mode and its statistics do not move; those
    of the tail move with the retain set. Does not unlearn anything held by the frozen part.
    Hardly moves the forget gap at its usual settings: the frozen part keeps what it knows.

    Source: Goel et al., 2022 (CF-k). Differs in the number of epochs (10), which the study caps
    at 20 % of the training's, and counts k in blocks (see ``tail_names``), not in single layers.
    There frozen BatchNorm stays in training mode, and the rate restarts from a peak of .1.

    Args:
        seed: Of the order and augmentation of the batches.
        k: Number of blocks that learn; above the number of blocks, all but the stem.
        epochs: Passes over the retain set.
        learning_rate: Constant.
    """
    student = student_of(model)
    loss = freeze_all_but(student, tail_names(student, task, k))
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("cf_k", seed)
    for _ in range(epochs):
        train_epoch(student, task.retain, optimizer, generator, loss=loss)
    return student.requires_grad_(True)
