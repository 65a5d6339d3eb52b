from types import SimpleNamespace

import pytest
import torch
from torch import nn

from medunlearn.errors import InputError
from medunlearn.methods._blocks import tail_names
from medunlearn.methods._layers import first_layer, head
from medunlearn.models import build_network
from tests.unlearning.networks import Plain, ResNet50


def read(classes=2, device="cpu"):
    """A task of which one image is all that is looked at."""
    images = SimpleNamespace(inputs=lambda rows: torch.zeros(len(rows), 1, 32, 32, device=device))
    return SimpleNamespace(
        retain=SimpleNamespace(images=images, rows=torch.arange(1)),
        recipe=SimpleNamespace(classes=classes),
        head="",
    )


def tops(names):
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0, {"fc"}),
        (1, {"layer4", "avgpool", "fc"}),
        (2, {"layer3", "layer4", "avgpool", "fc"}),
        (4, {"layer1", "layer2", "layer3", "layer4", "avgpool", "fc"}),
        (10, {"layer1", "layer2", "layer3", "layer4", "avgpool", "fc"}),  # never the stem
    ],
)
def test_tail_of_a_resnet(k, expected):
    model = build_network("resnet_tiny", channels=1, classes=2, seed=0)
    assert tops(tail_names(model, read(), k)) == expected


def test_a_block_of_a_resnet18_is_a_residual_block():
    with torch.device("meta"):
        model = build_network("resnet18", channels=1, classes=2, seed=0)
    found = {n[:8] for n in tail_names(model, read(device="meta"), 3)}
    assert found - {"layer4"} == {"layer3.1", "layer4.0", "layer4.1", "avgpool", "fc"}


@pytest.mark.parametrize("k", [0, 1, 17])
def test_a_block_of_a_densenet_is_a_dense_layer(k):
    with torch.device("meta"):
        model = build_network("densenet121", channels=1, classes=2, seed=0)
    names = tail_names(model, read(device="meta"), k)
    assert sum(name.endswith("conv2") for name in names) == k
    assert ("features.norm5" in names) == (k > 0)  # between the last block and the head
    assert ("features.transition3.conv" in names) == (k > 16)  # the last stage has 16 layers
    assert "class_layers.out" in names


def test_blocks_of_another_network_are_what_it_repeats():
    names = tail_names(ResNet50(), read(), 2)
    assert {n for n in names if n.endswith("conv3")} == {"layer2.0.conv3", "layer2.1.conv3"}
    assert "layer1.1.conv3" not in names


def test_layers_count_in_the_order_of_the_forward_pass():
    """Registered in another order; the head is a convolution; each layer is a block."""
    task = read(classes=3)
    assert first_layer(Plain(), task).name == "first"
    assert head(Plain(), task).name == "classifier"
    assert tail_names(Plain(), task, 1) == {"second", "norm", "dropout", "classifier"}


def test_a_head_that_cannot_be_found_is_asked_for():
    pooled = [nn.Unflatten(1, (2, 2)), nn.Flatten(2), nn.AdaptiveMaxPool1d(1), nn.Flatten()]
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 4), *pooled)
    with pytest.raises(InputError, match="the 2 logits; the last one reached, '1', does not: name"):
        head(model, read())
    task = read()
    task.head = "1"
    assert head(model, task).name == "1"
