"""The blocks of a network in order, and training that touches only its last ones."""

from torch import Tensor, nn

from medunlearn.methods._layers import Call, forward_calls, head
from medunlearn.methods._task import Task
from medunlearn.training import Loss, cross_entropy

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def block_names(model: nn.Module, calls: list[Call]) -> list[str]:
    """Names of the blocks, in the order in which a forward pass reaches them.

    A block is what a network repeats: a member of a sequence, a list or a dictionary of modules
    that is no sequence itself and has parts with weights, such as a residual block of a ResNet, a
    dense layer of a DenseNet, or a transformer block. Inside a block there may be a smaller one,
    which does not count; what holds several blocks is a part of the network and none. A network
    without any has its layers for blocks.
    """
    modules = dict(model.named_modules())

    def is_block(name: str, module: nn.Module) -> bool:
        inside = isinstance(modules[name.rpartition(".")[0]], _CONTAINERS)
        parts = any(True for part in module.children() for _ in part.parameters())
        return inside and parts and not isinstance(module, _CONTAINERS)

    found = [call.name for call in calls if call.name and is_block(call.name, call.module)]
    within = {name: [x for x in found if x.startswith(f"{name}.")] for name in found}
    found = [name for name in found if len(within[name]) < 2]
    inner = {small for name in found for small in within[name]}
    layers = [call.name for call in calls if call.is_layer][:-1]
    return [name for name in found if name not in inner] or layers


def tail_names(model: nn.Module, task: Task, k: int) -> set[str]:
    """Names of the modules that a forward pass reaches from the first of the last k blocks on.

    What lies between blocks and head (transitions, the last norm) belongs to the tail as well.
    With k = 0 the tail is the head; with more blocks than there are it is all but the stem.
    """
    calls = forward_calls(model, task)
    blocks = block_names(model, calls)
    first = blocks[max(len(blocks) - k, 0)] if k and blocks else head(model, task).name
    names = [call.name for call in calls]
    return set(names[names.index(first) :])


def freeze_all_but(model: nn.Module, tail: set[str]) -> Loss:
    """Freeze the rest of the network; its BatchNorm neither learns nor counts.

    Returns:
        CE that holds the frozen part in evaluation mode, for ``train_epoch``.
    """
    learning = {module for name, module in model.named_modules() if name in tail}
    others = [module for module in model.modules() if module not in learning]
    for module in others:
        for weight in module.parameters(recurse=False):
            weight.requires_grad_(False)
    frozen = [module for module in others if learning.isdisjoint(module.modules())]

    def loss(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        for module in frozen:  # the epoch loop puts the whole network into training mode
            module.training = False
        return cross_entropy(network, inputs, labels)

    return loss
