"""Networks by name, from MONAI."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from monai.networks.nets import DenseNet, ResNet
from safetensors.torch import load_file, save_file
from torch import nn

Norm = Literal["batch", "group"]

# Four groups divide every width in use and leave two channels to a group in the narrowest layer.
_NORMS: dict[Norm, Any] = {"batch": "batch", "group": ("group", {"num_groups": 4})}


class _ResNet(ResNet):  # type: ignore[misc]
    """MONAI's ResNet with the norm in every block: its own gives it to the stem alone."""

    def __init__(self, *arguments: Any, norm: Any, **settings: Any) -> None:
        self._block_norm = norm
        super().__init__(*arguments, norm=norm, **settings)

    def _make_layer(self, *arguments: Any, **settings: Any) -> nn.Sequential:
        layer: nn.Sequential = super()._make_layer(
            *arguments, **{**settings, "norm": self._block_norm}
        )
        return layer


def _resnet(layers: list[int], widths: list[int]) -> Callable[..., nn.Module]:
    def build(channels: int, classes: int, norm: Norm) -> nn.Module:
        network: nn.Module = _ResNet(
            "basic",
            layers,
            widths,
            spatial_dims=2,
            n_input_channels=channels,
            # Images have 32 to 224 px: a 3 px stem with stride 1, then pooling, keeps small
            # findings visible where the ImageNet stem would shrink 32 px to 8 px at once.
            conv1_t_size=3,
            num_classes=classes,
            norm=_NORMS[norm],
        )
        return network

    return build


def _densenet121(channels: int, classes: int, norm: Norm) -> nn.Module:
    network: nn.Module = DenseNet(2, channels, classes, norm=_NORMS[norm])
    return network


NETWORKS: dict[str, Callable[[int, int, Norm], nn.Module]] = {
    "resnet_tiny": _resnet([1, 1, 1, 1], [8, 16, 32, 64]),
    "resnet18": _resnet([2, 2, 2, 2], [64, 128, 256, 512]),
    "densenet121": _densenet121,
}


def build_network(
    name: str, *, channels: int, classes: int, seed: int, norm: Norm = "batch"
) -> nn.Module:
    """A network in its initial state, on the CPU.

    Args:
        name: A key of ``NETWORKS``.
        channels: Channels of the images.
        classes: Number of logits.
        seed: Decides the initial weights alone; the global generator is left as it was.
        norm: Batch norm, or group norm with eight groups.

    Returns:
        A module from images (n, channels, height, width) to logits (n, classes).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # no other device's
        network = NETWORKS[name](channels, classes, norm)
    # torch's stubs lack this overload of Module.to
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def save_weights(model: nn.Module, path: Path) -> None:
    """Write all parameters and buffers as safetensors."""
    save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, path)


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Read parameters and buffers written by ``save_weights`` into the model, in place."""
    model.load_state_dict(load_file(path))
    return model
