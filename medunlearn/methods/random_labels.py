"""Random labels (RL): teach wrong labels on the forget set, then repair on the retain set."""

from torch import nn

from medunlearn.methods._relabel import relabel_and_repair
from medunlearn.methods._task import Task, method, method_stream, student_of


@method(
    "random labels",
    "retain, forget",
    "#009E73 ^",
    "Golatkar et al. 2020, arXiv 1911.04933",
    epochs=(1, 10),
    learning_rate=(3e-3, 0.1),
)
def random_labels(
    model: nn.Module, task: Task, *, seed: int, epochs: int = 10, learning_rate: float = 0.01
) -> nn.Module:
    """Overwrite what was learnt of the forget set with labels drawn at random.

    Each epoch minimises CE(D_f, y') with y' uniform over the classes other than the true one,
    drawn anew for every image and epoch, then CE(D_r). BatchNorm statistics see both sets.
    Does not aim at the retrained model's answer on the forget set: it may fall below it.

    Source: Golatkar et al., CVPR 2020; Fan et al., ICLR 2024 (baseline RL). Published variants
    draw the true label too, or mix both sets into one pass.

    Args:
        seed: Of the labels, the order and the augmentation.
        epochs: Pairs of passes.
        learning_rate: Constant.
    """
    student, generator = student_of(model), method_stream("random_labels", seed)
    relabel_and_repair(student, task, generator, epochs, learning_rate)
    return student
