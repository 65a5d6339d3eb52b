"""Networks by name, most from MONAI. Names are known without torch: it is imported when needed."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medunlearn.errors import InputError
from medunlearn.sources import source_of

if TYPE_CHECKING:
    from torch import nn


def _resnet(layers: list[int], widths: list[int]) -> Callable[[int, int], "nn.Module"]:
    def build(channels: int, classes: int) -> "nn.Module":
        from monai.networks.nets import ResNet

        network: nn.Module = ResNet(
            "basic",
            layers,
            widths,
            spatial_dims=2,
            n_input_channels=channels,
            # Images have 32 to 224 px: a 3 px stem with stride 1, then pooling, keeps small
            # findings visible where the ImageNet stem would shrink 32 px to 8 px at once.
            conv1_t_size=3,
            num_classes=classes,
        )
        return network

    return build


def _densenet121(channels: int, classes: int) -> "nn.Module":
    from monai.networks.nets import DenseNet

    network: nn.Module = DenseNet(2, channels, classes)
    return network


NETWORKS: dict[str, Callable[[int, int], "nn.Module"]] = {
    "resnet_tiny": _resnet([1, 1, 1, 1], [8, 16, 32, 64]),
    "resnet18": _resnet([2, 2, 2, 2], [64, 128, 256, 512]),
    "densenet121": _densenet121,
}
"""From (channels, classes) to a module; profiles know a new entry by its name."""

NetworkName = str | Mapping[str, Any]
"""Of a profile: a short name, or what to call for a network.

That is ``monai.networks.nets.ViT`` or ``package.module:function``, or a mapping of which
``_target_`` is one of these (as in bundles of MONAI) and all else are its arguments.
"""

TARGET = "_target_"


def target_of(name: NetworkName) -> tuple[str, str]:
    """Module and name of what is called for a network that has no short name."""
    given = name if isinstance(name, str) else str(name.get(TARGET, ""))
    module, _, function = given.replace(":", ".").rpartition(".")
    return module, function


def is_short(name: NetworkName) -> bool:
    """Whether it is a key of ``NETWORKS``."""
    return isinstance(name, str) and name in NETWORKS


def fault_of_network(name: NetworkName) -> str:
    """What is wrong with the name of a network, found without importing anything; else empty."""
    module, function = target_of(name)
    ways = "a class such as monai.networks.nets.ViT, or package.module:function"
    if not module:
        asked = f"expected one of {', '.join(NETWORKS)}, {ways}"
        return asked if isinstance(name, str) else f"expected {TARGET!r} among its fields: {ways}"
    source = source_of(module)
    if source is None:
        return f"no module {module!r} is found here: put its folder on PYTHONPATH, or install it"
    known = re.search(rf"\b{re.escape(function)}\b", source.read_text(encoding="utf-8"))
    if not (function and known):
        return f"{module} defines no {function!r}; give a name that it defines"
    return ""


def _call(name: NetworkName, channels: int, classes: int, image_size: int | None) -> "nn.Module":
    """A network that has no short name; arguments that nobody gave have the study's values."""
    import torch
    from torch import nn

    from medunlearn.adapters import as_classifier, set_aside, unused_parameters

    given = {} if isinstance(name, str) else {k: v for k, v in name.items() if k != TARGET}
    known = {
        "spatial_dims": 2,
        "classification": True,
        **dict.fromkeys(("in_channels", "n_input_channels"), channels),
        **dict.fromkeys(("num_classes", "out_channels", "classes"), classes),
        **dict.fromkeys(("img_size", "image_size"), image_size),
    }
    told, arguments = f"network: {'.'.join(target_of(name))}", given
    try:
        make = pkgutil.resolve_name(":".join(target_of(name)))
        asked = inspect.signature(make).parameters
        arguments = {key: value for key, value in known.items() if key in asked} | given
        network = make(**arguments)
    except (TypeError, ValueError, AttributeError, KeyError, ImportError) as error:
        why = f"{', '.join(f'{k}={v!r}' for k, v in arguments.items())} ({error})".partition("\n")[
            0
        ]
        raise InputError("profile", [f"{told} fails with {why}: correct its arguments"]) from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise InputError("profile", [f"{told} gives {kind}; expected a torch.nn.Module"])
    as_classifier(network, classes)
    if image_size:
        images = torch.zeros(2, channels, image_size, image_size)
        set_aside(network, unused_parameters(network, images))
    return network.train()


def build_network(
    name: "NetworkName | Callable[[], nn.Module]",
    *,
    channels: int,
    classes: int,
    seed: int,
    image_size: int | None = None,
    weights: str = "",
) -> "nn.Module":
    """A network in its initial state, on the CPU.

    Args:
        name: Of the network (see ``NetworkName``); or a function that makes one.
        channels: Channels of the images.
        classes: Number of logits.
        seed: Decides the initial weights alone; the global generator is left as it was.
        image_size: Height and width of the images, for networks that must know it.
        weights: A file of weights to start from; default: none.

    Returns:
        A module from images (n, channels, height, width) to logits (n, classes).

    Raises:
        InputError: The network cannot be made, or the file holds no weights of it.
    """
    # both before the generator is seeded: nothing else may draw from it
    import monai.networks.nets  # noqa: F401
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # no other device's
        if callable(name):
            network = name()
        elif isinstance(name, str) and name in NETWORKS:
            network = NETWORKS[name](channels, classes)
            # torch's stubs lack this overload of Module.to
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        else:
            network = _call(name, channels, classes, image_size)
    if weights:
        from medunlearn.adapters import start_from

        start_from(network, Path(weights))
    return network


def save_weights(model: "nn.Module", path: Path) -> None:
    """Write all parameters and buffers as safetensors."""
    from safetensors.torch import save_file

    state = model.state_dict().items()  # cloned: tied weights are written twice
    save_file({k: v.detach().cpu().clone().contiguous() for k, v in state}, path)


def load_weights(model: "nn.Module", path: Path) -> "nn.Module":
    """Read parameters and buffers written by ``save_weights`` into the model, in place."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))
    return model
