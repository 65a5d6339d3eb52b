"""SCRUB: a student that leaves its teacher on the forget set and stays with it elsewhere."""

from torch import nn

from medunlearn.methods._scrub import RANGES, scrub_epochs
from medunlearn.methods._task import OfPeak, Task, method, method_stream


@method("SCRUB", "retain, forget", "#6A3D9A h", "Kurmanji et al. 2023, arXiv 2302.09880", **RANGES)
def scrub(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 10,
    msteps: int = 2,
    learning_rate: float = OfPeak(0.1),
    alpha: float = 0.5,
    temperature: float = 4.0,
    milestone: int = 3,
    optimizer: str = "sgd",
) -> nn.Module:
    """Maximise the divergence from the original on the forget set, minimise it on the retain set.

    In epoch e = 1, 2, ...: if e <= msteps, first a whole pass minimising -KL over D_f, in batches
    of half the size; then one minimising CE + alpha KL over D_r. KL = KL(teacher, student) T^2,
    summed over classes, mean over the batch; one optimiser throughout. The teacher is in evaluation
    mode; the student's BatchNorm statistics see both sets. Does not bound the divergence, nor look
    whether the forget error overshoots (``scrub_r`` does). While the student equals its teacher
    the KL has no slope: without BatchNorm the first forget batch moves nothing.

    Source: Kurmanji et al., NeurIPS 2023 (SCRUB). Differs in the epochs (5 to 10), which the study
    caps at 20 % of the training's, and in the rate: their 5e-4 acts in about 1,250 steps an epoch.
    A tenth of the peak rate is what ReGUn's authors give SCRUB on a network trained from scratch.
    On small data the authors take ``optimizer="adam"``, whose weight decay is .1, with
    ``learning_rate=5e-4, temperature=2, msteps=3, epochs=10``.

    Args:
        seed: Of the order and augmentation of the batches.
        epochs: Passes over the retain set.
        msteps: How many of the first epochs begin with a pass over the forget set.
        learning_rate: Falls to a tenth after the milestone.
        alpha: Weight of the KL on the retain set.
        temperature: T, which divides all logits in the KL.
        milestone: The last epoch, counted from 1, at the full rate.
        optimizer: ``sgd``, or ``adam`` with a weight decay of .1.
    """
    stream = method_stream("scrub", seed)
    *_, student = scrub_epochs(
        model, task, stream, epochs, msteps, learning_rate, alpha, temperature, milestone, optimizer
    )
    return student
