"""The layers that methods name, and weights that have seen no image."""

from typing import NamedTuple

import torch
from torch import Size, Tensor, nn

from medunlearn.errors import InputError
from medunlearn.methods._task import Task
from medunlearn.training import initial_state


class Call(NamedTuple):
    """A module in a forward pass: its name, itself, and the shape of its answer to one image."""

    name: str
    module: nn.Module
    shape: Size

    @property
    def is_layer(self) -> bool:
        """Whether it multiplies by weights of its own: a linear layer, a convolution, or alike."""
        own = self.module.parameters(recurse=False)
        return not any(self.module.children()) and any(weight.ndim > 1 for weight in own)


@torch.no_grad()
def forward_calls(model: nn.Module, task: Task) -> list[Call]:
    """Modules in the order in which a forward pass of one retain image first reaches them.

    Args:
        model: Put into evaluation mode; nothing else of it changes.
        task: What to unlearn.
    """
    names = {module: name for name, module in model.named_modules()}
    shapes: dict[nn.Module, Size] = {}

    def reach(module: nn.Module, _inputs: object) -> None:
        shapes.setdefault(module, Size())

    def leave(module: nn.Module, _inputs: object, output: object) -> None:
        shapes[module] = output.shape if isinstance(output, Tensor) else Size()

    hooks = [module.register_forward_pre_hook(reach) for module in names]
    hooks += [module.register_forward_hook(leave) for module in names]
    model.eval()(task.retain.images.inputs(task.retain.rows[:1]))
    for hook in hooks:
        hook.remove()
    return [Call(names[module], module, shape) for module, shape in shapes.items()]


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """All convolutions, the one that reads the image first.

    Raises:
        InputError: There is none.
    """
    found = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    if not found:
        fault = "this method changes convolutions (Conv2d), and the network has none"
        raise InputError("unlearning", [f"{fault}; choose another method"])
    return found


def first_layer(model: nn.Module, task: Task) -> Call:
    """The layer that reads the image: a convolution, or else a linear layer."""
    return next(call for call in forward_calls(model, task) if call.is_layer)


def head(model: nn.Module, task: Task) -> Call:
    """The layer that gives the logits: the last one reached, or the one that the task names.

    It may be linear or a convolution whose answers are pooled.

    Raises:
        InputError: The last layer does not give as many numbers as there are logits.
    """
    calls = forward_calls(model, task)
    if task.head:
        return next(call for call in calls if call.name == task.head)
    last = [call for call in calls if call.is_layer][-1]
    logits = task.recipe.classes
    # a network of one logit answers with two: the other is 0
    if not {logits, 1 if logits == 2 else logits} & set(last.shape[1:]):
        fault = f"this method needs the layer that gives the {logits} logits; the last one reached"
        raise InputError("unlearning", [f"{fault}, {last.name!r}, does not: name it with head="])
    return last


def fresh_network(task: Task, generator: torch.Generator) -> nn.Module:
    """The recipe's network in an initial state that no other training starts from."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return initial_state(task.recipe, seed, str(task.retain.rows.device))


def copy_layers(target: nn.Module, source: nn.Module, names: set[str]) -> None:
    """Give modules of these names the parameters and buffers of another network of the kind."""
    held = source.state_dict()
    chosen = {key: held[key] for key in held if key.rpartition(".")[0] in names}
    target.load_state_dict(target.state_dict() | chosen)
