"""Networks by name, from MONAI. Their names are known without torch: it is imported when needed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Norm = Literal["batch", "group"]

# Four groups divide every width in use and leave two channels to a group in the narrowest layer.
_NORMS: dict[Norm, Any] = {"batch": "batch", "group": ("group", {"num_groups": 4})}


@dataclass(frozen=True)
class Network:
    """A network of the registry.

    Args:
        build: From (channels, classes, norm) to a module.
        weight_bytes: Of its weights, about: for the check of space.
    """

    build: Callable[[int, int, Norm], "nn.Module"]
    weight_bytes: int

    def __call__(self, channels: int, classes: int, norm: Norm) -> "nn.Module":
        """The network with weights from torch's global generator."""
        return self.build(channels, classes, norm)


def _resnet(layers: list[int], widths: list[int]) -> Callable[[int, int, Norm], "nn.Module"]:
    def build(channels: int, classes: int, norm: Norm) -> "nn.Module":
        from monai.networks.nets import ResNet

        class NormedResNet(ResNet):  # type: ignore[misc]
            """MONAI's ResNet with the norm in every block: its own gives it to the stem alone."""

            def _make_layer(self, *arguments: Any, **settings: Any) -> "nn.Sequential":
                settings["norm"] = _NORMS[norm]
                layer: nn.Sequential = super()._make_layer(*arguments, **settings)
                return layer

        network: nn.Module = NormedResNet(
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


def _densenet121(channels: int, classes: int, norm: Norm) -> "nn.Module":
    from monai.networks.nets import DenseNet

    network: nn.Module = DenseNet(2, channels, classes, norm=_NORMS[norm])
    return network


NETWORKS: dict[str, Network] = {
    "resnet_tiny": Network(_resnet([1, 1, 1, 1], [8, 16, 32, 64]), 400_000),
    "resnet18": Network(_resnet([2, 2, 2, 2], [64, 128, 256, 512]), 45_000_000),
    "densenet121": Network(_densenet121, 28_000_000),
}
"""A new network is one entry here: profiles know it by its name."""


def build_network(
    name: str, *, channels: int, classes: int, seed: int, norm: Norm = "batch"
) -> "nn.Module":
    """A network in its initial state, on the CPU.

    Args:
        name: A key of ``NETWORKS``.
        channels: Channels of the images.
        classes: Number of logits.
        seed: Decides the initial weights alone; the global generator is left as it was.
        norm: Batch norm, or group norm with four groups.

    Returns:
        A module from images (n, channels, height, width) to logits (n, classes).
    """
    # both before the generator is seeded: nothing else may draw from it
    import monai.networks.nets  # noqa: F401
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # no other device's
        network = NETWORKS[name](channels, classes, norm)
    # torch's stubs lack this overload of Module.to
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def save_weights(model: "nn.Module", path: Path) -> None:
    """Write all parameters and buffers as safetensors."""
    from safetensors.torch import save_file

    save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, path)


def load_weights(model: "nn.Module", path: Path) -> "nn.Module":
    """Read parameters and buffers written by ``save_weights`` into the model, in place."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))
    return model
