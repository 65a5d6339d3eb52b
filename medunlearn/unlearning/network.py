"""A user's network on loan: a copy that methods may train, fresh copies, and the way back."""

import copy
from collections.abc import Callable

from torch import nn

from medunlearn.adapters import as_classifier, set_aside
from medunlearn.errors import InputError

SHOWN = 5


def borrow(model: nn.Module, device: str) -> nn.Module:
    """A copy that answers with logits, and in which what is frozen cannot be trained.

    Frozen parameters become buffers: no method then reads, moves or draws them anew.

    Args:
        model: Stays as it is.
        device: Where the copy lies.

    Raises:
        InputError: Every parameter is frozen.
    """
    borrowed = copy.deepcopy(model).to(device)
    borrowed.zero_grad(set_to_none=True)
    set_aside(borrowed, frozen_names(model))
    if not any(True for _ in borrowed.parameters()):
        fault = "every parameter is frozen: set requires_grad of those that may change"
        raise InputError("model", [fault])
    return as_classifier(borrowed)


def frozen_names(model: nn.Module) -> set[str]:
    """Names of the parameters that a user has frozen."""
    named = model.named_parameters(remove_duplicate=False)
    return {name for name, parameter in named if not parameter.requires_grad}


def give_back(unlearned: nn.Module, model: nn.Module) -> nn.Module:
    """A copy of the user's network, on its device, with what was unlearned; in evaluation mode."""
    result = copy.deepcopy(model)
    result.zero_grad(set_to_none=True)
    result.load_state_dict(unlearned.state_dict())
    return result.eval()


def fresh_copies(
    model: nn.Module, factory: Callable[[], nn.Module] | None
) -> Callable[[], nn.Module]:
    """A function that makes an untrained network of the same kind, on the CPU.

    It draws from torch's global generator. Frozen parameters are the original's.

    Args:
        model: The user's network.
        factory: Makes one; default: every layer of a copy is asked to reset itself.

    Returns:
        The function. It raises an ``InputError`` if a module with parameters cannot reset itself,
        or if the factory makes another network.
    """

    def make() -> nn.Module:
        network, frozen = copy.deepcopy(model).cpu(), frozen_names(model)
        if factory:
            made = factory()
            check_alike(made, model, "factory")
            state = {k: v for k, v in made.state_dict().items() if k not in frozen}
            network.load_state_dict(state, strict=False)
        else:
            _reset(network, frozen)
            kept = {k: v for k, v in model.state_dict().items() if k in frozen}
            network.load_state_dict(kept, strict=False)
        return borrow(network, "cpu")

    return make


def _reset(network: nn.Module, frozen: set[str]) -> None:
    """Draw all parameters anew, in place, as the layers' own classes do."""
    lasting = []
    for path, module in network.named_modules():
        reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        if reset is not None:
            reset()
        else:
            names = (
                f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)
            )
            lasting += [name for name in names if name not in frozen]
    if lasting:
        fault = f"an untrained copy cannot be made, for nothing resets {', '.join(lasting[:SHOWN])}"
        remedy = "give factory=, a function without arguments that makes your untrained network"
        raise InputError("model", [f"{fault}: {remedy}"])


def check_network(given: object, subject: str) -> None:
    """Refuse what is no network, such as the weights of one."""
    if not isinstance(given, nn.Module):
        fault = f"given {type(given).__name__}; expected a torch.nn.Module"
        remedy = "of a state dict: build your network, then network.load_state_dict(state)"
        raise InputError(subject, [f"{fault}: {remedy}"])


def check_alike(given: nn.Module, model: nn.Module, subject: str) -> None:
    """Refuse what is no network, or has other weights than the model, by name or shape.

    Args:
        given: Another network of the user's.
        model: The user's network.
        subject: The argument that it was given by.
    """
    check_network(given, subject)
    shapes = [{k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (given, model)]
    if shapes[0] != shapes[1]:
        other = sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
        fault = f"is another network: {', '.join(other[:SHOWN])} differ in name or shape"
        raise InputError(subject, [f"{fault}; expected the model's"])
