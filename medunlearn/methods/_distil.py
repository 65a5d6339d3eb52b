"""Learning from a teacher's answer, shared by the methods that distil."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.methods._task import Task
from medunlearn.training import precision

Answer = Callable[[Tensor, Tensor], Tensor]


def divergence(target: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(target, student) of softened answers, summed over classes, mean over the batch.

    No factor T^2: a method that wants it multiplies.

    Args:
        target: Logits of the teacher, (n, classes).
        student: Logits of the student, (n, classes).
        temperature: Divides both logits.
    """
    # in mixed precision the quotient, too, would be rounded to half
    dtype = torch.promote_types(student.dtype, torch.float32)
    return F.kl_div(
        F.log_softmax(student.to(dtype) / temperature, dim=1),
        F.log_softmax(target.to(dtype) / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )


def forget_and_some_retain(task: Task, share: float, generator: torch.Generator) -> Batches:
    """The forget set and a random share of the retain set, to be shuffled together.

    The batches carry no labels, which teachers replace, but membership: 1 forget, 0 retain.

    Args:
        task: What to unlearn.
        share: Of the retain images, drawn once, 0 to 1.
        generator: A CPU generator.
    """
    forget, retain = task.forget.rows, task.retain.rows
    drawn = torch.randperm(len(retain), generator=generator)[: round(share * len(retain))]
    images = task.forget.images
    membership = torch.zeros_like(images.labels).index_fill_(0, forget, 1)
    rows = torch.cat([forget, retain[drawn.to(retain.device)]])
    return Batches(replace(images, labels=membership), rows, task.recipe)


def numbered(batches: Batches) -> Batches:
    """The same images, each with its row in place of its label."""
    images = batches.images
    rows = torch.arange(len(images.labels), device=images.labels.device)
    return Batches(replace(images, labels=rows), batches.rows, batches.recipe)


@torch.no_grad()
def answers(teacher: nn.Module, *sets: Batches) -> Answer:
    """A teacher's logits for images of these sets, from (images, their rows).

    Where nothing is augmented they are computed once, here, and kept on the device; else the
    teacher is asked each time and sees the augmented image.

    Args:
        teacher: Frozen, in evaluation mode.
        sets: Of one cohort.
    """
    if sets[0].recipe.augments:
        return lambda inputs, _rows: teacher(inputs)
    with precision(sets[0].rows.device):
        logits = torch.cat([teacher(inputs) for part in sets for inputs, _ in part.ordered()])
    known = logits.new_full((len(sets[0].images.labels), logits.shape[1]), torch.nan)
    known[torch.cat([part.rows for part in sets])] = logits
    return lambda _inputs, rows: known[rows]
