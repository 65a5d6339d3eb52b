"""Retraining: the same training without the forgotten patients. Exact, and the yardstick."""

from torch import nn

from medunlearn.methods._task import Method, Task
from medunlearn.training import train


def retrain(model: nn.Module, task: Task, *, seed: int) -> nn.Module:  # noqa: ARG001
    """Train a fresh network on the retain set with the original's recipe and seed.

    The initial state is the one that the original of this seed started from; nothing of the
    original's trained weights is read. BatchNorm statistics see the retain set alone.
    """
    return train(task.retain, task.recipe, seed=seed)


METHOD = Method(
    function=retrain,
    label="retrained",
    reads=frozenset({"retain"}),
    forgets=True,
    ranges={},
    colour="#000000",
    marker="*",
)
