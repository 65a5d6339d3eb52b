"""One loader over both sets, shared by the methods that give each set a teacher of its own."""

from dataclasses import replace

import torch

from medunlearn.methods._task import Task
from medunlearn.training import Batches


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
