"""The blocks of a network in order, and training that touches only its last ones."""

from monai.networks.nets.densenet import _DenseLayer
from monai.networks.nets.resnet import ResNetBlock, ResNetBottleneck
from torch import Tensor, nn

from medunlearn.methods._layers import head
from medunlearn.training import Loss, cross_entropy

_BLOCKS = (ResNetBlock, ResNetBottleneck, _DenseLayer)


def tail_names(model: nn.Module, k: int) -> list[str]:
    """Names of the modules without children from the first of the last k blocks to the head.

    A block is a residual block of a ResNet or a dense layer of a DenseNet; the head is the last
    linear layer. What lies between (transitions, the last norm) belongs to the tail as well. With
    k = 0 the tail is the head; with more blocks than there are it is all but the stem.
    """
    # registration order is the order of the forward pass in the networks of this study
    named = list(model.named_modules())
    blocks = [i for i, (_, module) in enumerate(named) if isinstance(module, _BLOCKS)]
    last = [module for _, module in named].index(head(model))
    first = blocks[max(len(blocks) - k, 0)] if k and blocks else last
    return [name for name, module in named[first:] if not any(module.children())]


def freeze_all_but(model: nn.Module, tail: list[str]) -> Loss:
    """Freeze the rest of the network; its BatchNorm neither learns nor counts.

    Returns:
        CE that holds the frozen part in evaluation mode, for ``train_epoch``.
    """
    inner = [(name, m) for name, m in model.named_modules() if not any(m.children())]
    frozen = [module.requires_grad_(False) for name, module in inner if name not in tail]

    def loss(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        for module in frozen:  # the epoch loop puts the whole network into training mode
            module.eval()
        return cross_entropy(network, inputs, labels)

    return loss
