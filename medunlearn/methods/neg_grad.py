"""NegGrad: ascend on the forget set."""

from torch import Tensor, nn

from medunlearn.methods._task import OfPeak, Task, method, method_stream, student_of
from medunlearn.training import cross_entropy, train_epoch


@method(
    "NegGrad", "forget", "#E69F00 v", "Golatkar et al. 2020, arXiv 1911.04933",
    epochs=(1, 10), learning_rate=(1e-5, 1e-2),
)  # fmt: skip
def neg_grad(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 5,
    learning_rate: float = OfPeak(0.01),
) -> nn.Module:
    """Undo the learning of the forget set by walking up its loss.

    Minimises -CE(D_f) from theta_0. Reads the forget set only. BatchNorm statistics move with the
    forget set. Does not repair and has no bound: one epoch too many, and the model is wrecked.
    Hardly moves the forget gap at its usual rate: a small forget set has few steps.

    Source: the baseline of Golatkar et al., CVPR 2020, and of most later work. Differs from the
    usual setting in the number of epochs (5), which the study caps at 20 % of the training's, and
    in the rate (1e-4), which there acts in 90 to 175 steps: here a forget set has a few batches.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the forget set.
        learning_rate: Constant.
    """
    student = student_of(model)
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("neg_grad", seed)

    def ascend(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return -cross_entropy(network, inputs, labels)

    for _ in range(epochs):
        train_epoch(student, task.forget, optimizer, generator, loss=ascend)
    return student
