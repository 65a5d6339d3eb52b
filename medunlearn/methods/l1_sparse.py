"""l1-sparse: fine-tuning on the retain set while the weights are pulled to zero."""

from torch import Tensor, nn

from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import cross_entropy, train_epoch


@method(
    "l1-sparse", "retain", "#56B4E9 p", "Jia et al. 2023, arXiv 2304.04934",
    epochs=(1, 10), learning_rate=(1e-3, 0.1), alpha=(5e-5, 1e-3),
)  # fmt: skip
def l1_sparse(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 10,
    learning_rate: float = 0.01,
    alpha: float = 2e-4,
) -> nn.Module:
    """Fine-tune under a penalty on absolute weights that fades from epoch to epoch.

    Minimises CE(D_r) + a_t |theta|_1 with a_t = alpha (1 - t / epochs) in epoch t = 0, 1, ...;
    |theta|_1 sums over *all* parameters, norms and biases too. Reads the retain set only.
    BatchNorm statistics move with it. Does not prune: few weights end at exactly zero.

    Source: Jia et al., NeurIPS 2023 (l1-sparse MU). Differs in the number of epochs (10), which
    the study caps at 20 % of the training's.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        learning_rate: Constant.
        alpha: Weight of the penalty in the first epoch.
    """
    student = student_of(model)
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("l1_sparse", seed)
    for epoch in range(epochs):
        weight = alpha * (1 - epoch / epochs)

        def loss(network: nn.Module, x: Tensor, y: Tensor, weight: float = weight) -> Tensor:
            penalty = sum(p.abs().sum() for p in network.parameters())
            return cross_entropy(network, x, y) + weight * penalty

        train_epoch(student, task.retain, optimizer, generator, loss=loss)
    return student
