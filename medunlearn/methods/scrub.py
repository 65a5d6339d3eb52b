"""SCRUB: a student that leaves its teacher on the forget set and stays with it elsewhere."""

from torch import nn

from medunlearn.methods._scrub import scrub_epochs
from medunlearn.methods._task import Method, Task, method_stream


def scrub(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 3,
    msteps: int = 2,
    learning_rate: float = 5e-4,
    alpha: float = 0.5,
    gamma: float = 1.0,
    temperature: float = 4.0,
    milestone: int = 3,
    forget_batch: float = 0.5,
) -> nn.Module:
    """Maximise the divergence from the original on the forget set, minimise it on the retain set.

    In epoch e = 1, 2, ...: if e <= msteps, first a whole pass minimising -KL over D_f; then a pass
    minimising gamma CE + alpha KL over D_r. KL = KL(teacher, student) T^2, summed over classes,
    mean over the batch; one optimiser throughout. The teacher is in evaluation mode; the student's
    BatchNorm statistics see both sets. Does not bound the divergence, nor look whether the forget
    error overshoots (``scrub_r`` does). Where the student still equals its teacher the KL has no
    slope: without BatchNorm the first step over D_f moves nothing but weight decay.

    Source: Kurmanji et al., NeurIPS 2023 (SCRUB). Differs in the number of epochs (5 to 10), which
    the study caps at 20 % of the training's; the rate then never passes its milestone.

    Args:
        model: The original, the teacher.
        task: What to unlearn.
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        msteps: How many of the first epochs begin with a pass over the forget set.
        learning_rate: A tenth of it in epochs after the milestone.
        alpha: Weight of the KL on the retain set.
        gamma: Weight of the CE on the retain set.
        temperature: T.
        milestone: The last epoch, counted from 1, at the full rate.
        forget_batch: Forget batches as a share of the recipe's batch size; at least two images.
    """
    (*_, student) = scrub_epochs(
        model,
        task,
        method_stream("scrub", seed),
        epochs=epochs,
        msteps=msteps,
        learning_rate=learning_rate,
        alpha=alpha,
        gamma=gamma,
        temperature=temperature,
        milestone=milestone,
        forget_batch=forget_batch,
    )
    return student


METHOD = Method(
    function=scrub,
    label="SCRUB",
    reads=frozenset({"retain", "forget"}),
    forgets=True,
    ranges={
        "epochs": (1, 10),
        "msteps": (1, 5),
        "learning_rate": (1e-4, 0.05),
        "alpha": (0.1, 1),
        "temperature": (1, 8),
    },
    colour="#882255",
    marker="h",
)
