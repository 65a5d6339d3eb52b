"""SCRUB+R: SCRUB, then back to the epoch whose forget error looks as if never seen."""

import copy

import torch
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.errors import InputError
from medunlearn.methods._scrub import RANGES, scrub_epochs
from medunlearn.methods._task import OfPeak, Task, method, method_stream


def count_errors(model: nn.Module, batches: Batches, classes: int) -> tuple[Tensor, Tensor]:
    """Wrong decisions and images of each class, (classes,), the model in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        answers = [(model(inputs).argmax(1) != y, y) for inputs, y in batches.ordered()]
    wrong, labels = (torch.cat(parts) for parts in zip(*answers, strict=True))
    return labels[wrong].bincount(minlength=classes), labels.bincount(minlength=classes)


def reference_error(wrong: Tensor, images: Tensor, mix: Tensor) -> float:
    """Error on held-out images if their classes were mixed like the forget set's.

    Args:
        wrong: Wrong decisions on held-out images, (classes,).
        images: Held-out images, (classes,).
        mix: Forget images, (classes,); a class without held-out images is left out.
    """
    both = (images > 0) & (mix > 0)
    if not both.any():
        raise InputError("unlearning", ["scrub_r: no held-out image has a class of the forget set"])
    return float((wrong[both] / images[both] * mix[both]).sum() / mix[both].sum())


@method(
    "SCRUB+R", "retain, forget, holdout", "#CC6677 H", "Kurmanji et al. 2023, arXiv 2302.09880",
    **{**RANGES, "epochs": (2, 10)},
)  # fmt: skip
def scrub_r(
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
    """Run SCRUB, and return the epoch-end student that is neither too good nor too bad on D_f.

    Reference: the error of the *final* student on held-out images, each class weighted by its share
    of the forget set. Chosen: the student whose error on D_f is nearest to it, the latest of
    equals. Settings and BatchNorm as in ``scrub``; a checkpoint carries its statistics. Reads both
    sets, and the held-out images without learning from them. Checkpoints and their errors are
    billed as preparation. Does not mend an ascent that went wrong; few epochs offer little choice.

    Source: Kurmanji et al., NeurIPS 2023 (SCRUB+R). Differs as ``scrub`` does, and in weighting
    the held-out classes where the authors draw images. Their candidates
    include the original, and they take the first of equals.
    """
    stream, classes, ends = method_stream("scrub_r", seed), task.recipe.classes, []
    for student in scrub_epochs(
        model, task, stream, epochs, msteps, learning_rate, alpha, temperature, milestone, optimizer
    ):
        with task.clock("preparation"):
            wrong, mix = count_errors(student, task.forget, classes)
            ends.append((float(wrong.sum() / mix.sum()), copy.deepcopy(student)))
    with task.clock("preparation"):
        reference = reference_error(*count_errors(ends[-1][1], task.holdout, classes), mix)
        return min(reversed(ends), key=lambda end: abs(end[0] - reference))[1]
