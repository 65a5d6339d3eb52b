"""The layers that methods name, and weights that have seen no image."""

import torch
from torch import nn

from medunlearn.methods._task import Task
from medunlearn.training import initial_state


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """All convolutions, the one that reads the image first."""
    return [m for m in model.modules() if isinstance(m, nn.Conv2d)]


def head(model: nn.Module) -> nn.Linear:
    """The last linear layer, which gives the logits."""
    return [m for m in model.modules() if isinstance(m, nn.Linear)][-1]


def fresh_network(task: Task, generator: torch.Generator) -> nn.Module:
    """The recipe's network in an initial state that no other training starts from."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return initial_state(task.recipe, seed, str(task.retain.rows.device))
