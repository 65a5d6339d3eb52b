import pytest
import torch

from medunlearn.methods._blocks import tail_names
from medunlearn.models import build_network


def tops(names):
    return list(dict.fromkeys(name.split(".")[0] for name in names))


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0, ["fc"]),
        (1, ["layer4", "avgpool", "fc"]),
        (2, ["layer3", "layer4", "avgpool", "fc"]),
        (4, ["layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]),
        (10, ["layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]),  # never the stem
    ],
)
def test_tail_of_a_resnet(k, expected):
    model = build_network("resnet_tiny", channels=1, classes=2, seed=0)
    assert tops(tail_names(model, k)) == expected


def test_a_block_of_a_resnet18_is_a_residual_block():
    with torch.device("meta"):
        model = build_network("resnet18", channels=1, classes=2, seed=0)
    assert {n[:8] for n in tail_names(model, 3)} == {"layer3.1", "layer4.0", "layer4.1", "avgpool",
                                                     "fc"}  # fmt: skip


@pytest.mark.parametrize("k", [0, 1, 17])
def test_a_block_of_a_densenet_is_a_dense_layer(k):
    with torch.device("meta"):
        model = build_network("densenet121", channels=1, classes=2, seed=0)
    names = tail_names(model, k)
    assert sum(name.endswith("conv2") for name in names) == k
    assert ("features.norm5" in names) == (k > 0)  # between the last block and the head
    assert ("features.transition3.conv" in names) == (k > 16)  # the last stage has 16 layers
    assert names[-1] == "class_layers.out"
