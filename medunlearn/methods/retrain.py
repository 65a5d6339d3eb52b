"""Retraining: the same training without the forgotten patients. Exact, and the yardstick."""

from torch import nn

from medunlearn.methods._task import Task, method
from medunlearn.training import train


@method("retrained", "retain", "#000000 *")
def retrain(model: nn.Module, task: Task, *, seed: int) -> nn.Module:  # noqa: ARG001
    """Train a fresh network on the retain set with the original's recipe and seed.

    The initial state is the one that the original of this seed started from; nothing of the
    original's trained weights is read. BatchNorm statistics see the retain set alone.
    """
    return train(task.retain, task.recipe, seed=seed)
