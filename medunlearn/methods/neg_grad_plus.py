"""NegGrad+: descend on the retain set and ascend on the forget set at once."""

from torch import Tensor, nn

from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import cross_entropy, train_epoch


@method(
    "NegGrad+",
    "retain, forget",
    "#D55E00 s",
    "Kurmanji et al. 2023, arXiv 2302.09880",
    epochs=(1, 10),
    learning_rate=(1e-3, 0.1),
    alpha=(0.8, 0.999),
)
def neg_grad_plus(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 10,
    learning_rate: float = 0.01,
    alpha: float = 0.95,
) -> nn.Module:
    """Weigh learning the retain set against unlearning the forget set, in every step.

    Minimises alpha CE(D_r) - (1 - alpha) CE(D_f): one step for every *retain* batch, the forget
    batches started again, freshly augmented, when they are used up. The two batches take separate
    forward passes; BatchNorm statistics see both. Does not bound the ascent: at small alpha the
    model is wrecked.

    Source: Kurmanji et al., NeurIPS 2023 (SCRUB), baseline NegGrad+. Differs in the optimiser,
    which there is SGD without momentum and decay (at one rate ours moves about four times as far),
    and in the forget batches, which there repeat the draws of their first pass.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        learning_rate: Constant.
        alpha: Weight of the retain set, 0 to 1.
    """
    student = student_of(model)
    optimizer = task.optimizer(student, learning_rate)
    generator = method_stream("neg_grad_plus", seed)
    forget = task.forget.endless(generator)

    def loss(student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        descend = cross_entropy(student, inputs, labels)
        ascend = cross_entropy(student, *next(forget))
        return alpha * descend - (1 - alpha) * ascend

    for _ in range(epochs):
        train_epoch(student, task.retain, optimizer, generator, loss=loss)
    return student
