"""SCRUB+R: SCRUB, then back to the epoch whose forget error looks as if never seen."""

import copy

import torch
from torch import Tensor, nn

from medunlearn.errors import InputError
from medunlearn.methods._scrub import scrub_epochs
from medunlearn.methods._task import Method, Task, method_stream
from medunlearn.training import Batches


def errors_by_class(model: nn.Module, batches: Batches, classes: int) -> tuple[Tensor, Tensor]:
    """Wrong decisions and images of each class, float64 (classes,); the model in evaluation."""
    model.eval()
    labels = torch.cat([y for _, y in batches.ordered()])
    with torch.inference_mode():
        decided = torch.cat([model(x).argmax(1) for x, _ in batches.ordered()])
    wrong = torch.bincount(labels[decided != labels], minlength=classes)
    return wrong.double(), torch.bincount(labels, minlength=classes).double()


def reference_error(wrong: Tensor, images: Tensor, mix: Tensor) -> float:
    """Error on held-out images as if their classes were mixed like the forget set's.

    Args:
        wrong: Wrong decisions on held-out images, (classes,).
        images: Held-out images, (classes,).
        mix: Forget images, (classes,); a class without held-out images is left out.
    """
    both = (images > 0) & (mix > 0)
    if not both.any():
        raise InputError("unlearning", ["scrub_r: no held-out image has a class of the forget set"])
    return float((wrong[both] / images[both] * mix[both]).sum() / mix[both].sum())


def scrub_r(
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
    """Run SCRUB and return the epoch-end student that is neither too good nor too bad on D_f.

    Reference = error of the *final* student on held-out images, each class weighted by its share of
    the forget set; chosen is the student whose error on D_f is nearest to it, the latest of equals.
    Reads retain and forget set and the held-out images, which are never learnt from. BatchNorm as
    in ``scrub``; a checkpoint carries its statistics. Does not mend an ascent that went wrong: with
    few epochs there is little to choose from. Checkpoints and their errors are preparation.

    Source: Kurmanji et al., NeurIPS 2023 (SCRUB+R). Differs in the number of epochs, as ``scrub``,
    and weights the held-out classes where the authors draw images.

    Args:
        model: The original, the teacher.
        task: What to unlearn.
        seed: Of the order and augmentation of the batches.
        epochs: As this and all below in ``scrub``.
        msteps: Passes over the forget set.
        learning_rate: Up to the milestone.
        alpha: Weight of the KL.
        gamma: Weight of the CE.
        temperature: T.
        milestone: The last epoch at the full rate.
        forget_batch: Share of the recipe's batch size.
    """
    classes, checkpoints = task.recipe.classes, []
    for student in scrub_epochs(
        model,
        task,
        method_stream("scrub_r", seed),
        epochs=epochs,
        msteps=msteps,
        learning_rate=learning_rate,
        alpha=alpha,
        gamma=gamma,
        temperature=temperature,
        milestone=milestone,
        forget_batch=forget_batch,
    ):
        with task.clock("preparation"):
            wrong, mix = errors_by_class(student, task.forget, classes)
            checkpoints.append((float(wrong.sum() / mix.sum()), copy.deepcopy(student)))
    with task.clock("preparation"):
        final = checkpoints[-1][1]
        reference = reference_error(*errors_by_class(final, task.holdout, classes), mix)
        return min(reversed(checkpoints), key=lambda c: abs(c[0] - reference))[1]


METHOD = Method(
    function=scrub_r,
    label="SCRUB+R",
    reads=frozenset({"retain", "forget", "holdout"}),
    forgets=True,
    ranges={
        "epochs": (2, 10),
        "msteps": (1, 5),
        "learning_rate": (1e-4, 0.05),
        "alpha": (0.1, 1),
        "temperature": (1, 8),
    },
    colour="#CC6677",
    marker="H",
)
