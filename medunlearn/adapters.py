"""Networks from elsewhere: what they answer made logits, and weights of a file to start from."""

import warnings
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medunlearn.errors import InputError

SHOWN = 5


def as_classifier(network: nn.Module, classes: int | None = None) -> nn.Module:
    """Let a network, in place, answer with one tensor of logits; no parameter changes its name.

    A tuple, list or mapping must hold one tensor of logits (MONAI's ViT adds a list of hidden
    states). A single logit z becomes (0, z), whose softmax is the sigmoid of z. Weights and images
    are channels first in memory: many networks reshape by ``view``, and torch 2.13 crashes in the
    backward pass of a GroupNorm in channels last behind frozen layers.

    Args:
        network: From images (n, channels, height, width) to logits.
        classes: Number of logits that is asked for; default: any.
    """
    # torch's stubs lack this overload of Module.to
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.register_forward_pre_hook(_contiguous)
    network.register_forward_hook(partial(_find_logits, classes))
    return network


def _contiguous(_network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(given.contiguous() for given in inputs)


def _find_logits(
    classes: int | None, network: nn.Module, inputs: tuple[Tensor, ...], output: Any
) -> Tensor:
    """A forward hook: the logits (n, classes) among what the network returns.

    Raises:
        InputError: There is no such tensor, there are several, or the classes are not as many.
    """
    parts = output.values() if isinstance(output, Mapping) else output
    tensors = (
        [output] if isinstance(output, Tensor) else [x for x in parts if isinstance(x, Tensor)]
    )
    subject, count = type(network).__name__, len(inputs[0])
    shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
    if len(tensors) != 1 or tensors[0].ndim > 2 or len(tensors[0]) != count:
        asked = f"one tensor of logits, ({count}, classes)"
        remedy = "wrap it in a module whose forward returns the logits alone"
        raise InputError(subject, [f"gives {shapes or 'no tensor'}; expected {asked}: {remedy}"])
    logits = tensors[0].view(count, -1)
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if classes not in {None, logits.shape[1]}:
        fault = f"gives {logits.shape[1]} logits; expected {classes}, one for each class"
        raise InputError(subject, [f"{fault}: set the number of its outputs"])
    return logits


def set_aside(network: nn.Module, names: Collection[str]) -> None:
    """Make buffers, in place, of parameters of these names: no method reads or moves them then."""
    for path, module in network.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if (f"{path}.{name}" if path else name) in names:
                delattr(module, name)
                module.register_buffer(name, parameter.detach())


def unused_parameters(network: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the parameters that the logits of these inputs do not depend on.

    Args:
        network: In evaluation mode here; gradients and statistics stay.
        inputs: (n, channels, height, width).
    """
    named = list(network.named_parameters(remove_duplicate=False))
    total = network.eval()(inputs).sum()
    found = torch.autograd.grad(total, [p for _, p in named], allow_unused=True)
    return [name for (name, _), slope in zip(named, found, strict=True) if slope is None]


def start_from(network: nn.Module, path: Path) -> nn.Module:
    """Give a network, in place, the weights of a file, as far as names and shapes agree.

    Missing, unexpected and misshapen weights are told in a warning; there the network keeps its
    own, such as those of a head for other classes.

    Args:
        network: In its initial state.
        path: A ``.safetensors`` file, or a torch file, of which only tensors are read. A
            ``state_dict`` or ``model`` inside it, and a prefix ``module.``, are looked through.

    Raises:
        InputError: The file cannot be read, or no matrix or kernel of it fits.
    """
    given, own = _read_weights(path), network.state_dict()
    fitting = {k: v for k, v in given.items() if k not in own or own[k].shape == v.shape}
    missing, unexpected = network.load_state_dict(fitting, strict=False)
    told = {"missing or of another shape": missing, "unexpected": unexpected}
    other = "; ".join(f"{what}: {', '.join(told[what][:SHOWN])}" for what in told if told[what])
    if all(weight.ndim < 2 or key in missing for key, weight in own.items()):
        remedy = "give the weights of this very network"
        raise InputError(str(path), [f"no weight fits the network; {other}: {remedy}"])
    if other:
        fits = f"{len(own) - len(missing)} of {len(own)} weights are taken from {path.name}"
        warnings.warn(f"{fits}; {other}", stacklevel=2)
    return network


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # that of torch tells how to read it unsafely: its kind will do
        fault = f"holds no weights that can be read ({type(error).__name__})"
        remedy = "save a state_dict() alone, as safetensors or with torch.save"
        raise InputError(str(path), [f"{fault}: {remedy}"]) from None
    for inner in ("state_dict", "model"):
        content = content.get(inner, content)
    return {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}
