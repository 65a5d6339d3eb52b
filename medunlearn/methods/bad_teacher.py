"""Bad teacher: learn ignorance of the forget set from a random network."""

import torch
from torch import Tensor, nn
from torch.optim import Adam

from medunlearn.methods._distil import divergence, forget_and_some_retain
from medunlearn.methods._layers import fresh_network
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method(
    "bad teacher", "retain, forget", "#8C510A D", "Chundawat et al. 2023, arXiv 2205.08096",
    epochs=(1, 5), learning_rate=(3e-5, 1e-2), retain_share=(0.1, 1.0),
)  # fmt: skip
def bad_teacher(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 5,
    learning_rate: float = 1e-3,
    retain_share: float = 0.3,
) -> nn.Module:
    """Imitate an untrained network on the forget set and the original on the rest.

    Minimises KL(target, student) at T = 1 from theta_0 over one shuffled loader of D_f and a
    random 30 % of D_r; target is the random network on D_f, theta_0 on D_r, both in evaluation
    mode. BatchNorm statistics see both sets. Does not aim at the retrained model's answer on the
    forget set, which knows more than a random network, and reads no label.

    Source: Chundawat et al., AAAI 2023, whose KL is averaged over classes too (ours is summed).
    Differs in the batch size (256), which is that of the recipe, in the rate (1e-4) and the epochs
    (1): Adam moves a weight by about the rate in each step, and their epoch has some 55 steps. Five
    epochs at 1e-3 go as far with the fewer steps of a small cohort.

    Args:
        seed: Of the random network, the part of D_r, the order and the augmentation.
        epochs: Passes over the mixed loader.
        learning_rate: Of Adam.
        retain_share: Of the retain images, drawn once.
    """
    generator = method_stream("bad_teacher", seed)
    good, bad = student_of(model).eval(), fresh_network(task, generator).eval()
    for teacher in (good, bad):
        teacher.requires_grad_(False)

    def imitate(student: nn.Module, inputs: Tensor, is_forget: Tensor) -> Tensor:
        target = torch.where(is_forget[:, None] == 1, bad(inputs), good(inputs))
        return divergence(target, student(inputs))

    student = student_of(model)
    optimizer = Adam(student.parameters(), learning_rate)
    mixture = forget_and_some_retain(task, retain_share, generator)
    for _ in range(epochs):
        train_epoch(student, mixture, optimizer, generator, loss=imitate)
    return student
