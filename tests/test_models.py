import warnings

import pytest
import torch
from torch import nn

from medunlearn.errors import InputError
from medunlearn.models import (
    NETWORKS,
    build_network,
    fault_of_network,
    load_weights,
    save_weights,
)

DENSENET = {
    "_target_": "monai.networks.nets.DenseNet",
    "init_features": 4,
    "growth_rate": 4,
    "block_config": [1, 1],
}
TINY = {"channels": 1, "classes": 2, "seed": 0}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_any_channels_and_classes(name):
    for channels, classes in ((1, 2), (3, 5)):
        network = build_network(name, channels=channels, classes=classes, seed=0)
        assert network.eval()(torch.zeros(2, channels, 32, 32)).shape == (2, classes)


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    one, same, other = (
        build_network("resnet_tiny", channels=1, classes=2, seed=s).state_dict() for s in (0, 0, 1)
    )
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])
    assert torch.equal(before, torch.get_rng_state())


def test_weights_come_back_bit_for_bit(tmp_path):
    network, fresh = (build_network("resnet_tiny", channels=1, classes=2, seed=s) for s in (0, 1))
    save_weights(network, tmp_path / "w.safetensors")
    load_weights(fresh, tmp_path / "w.safetensors")
    pairs = zip(network.state_dict().values(), fresh.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's module with two ways to make a network."""
    (tmp_path / "own_networks.py").write_text(
        "from torch import nn  # told, and not defined\n"
        "def flat(image_size, in_channels, num_classes=9, width=4):\n"
        "    inputs = in_channels * image_size**2\n"
        "    network = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.Linear(width, "
        "num_classes))\n"
        "    network[0].spare = nn.Linear(2, 2)\n"
        "    return network\n"
        "def nothing():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_a_network_of_monai_takes_the_studys_values_and_ones_own_arguments():
    network = build_network(DENSENET, **TINY | {"channels": 3}, image_size=32)
    assert type(network).__name__ == "DenseNet"
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 2)
    assert network.features.conv0.weight.shape == (4, 3, 7, 7)


def test_a_vit_gives_logits_and_what_it_does_not_use_is_no_parameter():
    pytest.importorskip("einops", reason="MONAI's ViT needs it")
    vit = {
        "_target_": "monai.networks.nets.ViT", "patch_size": 8, "hidden_size": 8, "mlp_dim": 8,
        "num_layers": 1, "num_heads": 1, "post_activation": None,
    }  # fmt: skip
    network = build_network(vit, **TINY, image_size=32)
    logits = network(torch.zeros(2, 1, 32, 32))
    assert logits.shape == (2, 2)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.usefixtures("own_module")
def test_a_function_of_ones_own_makes_the_network():
    name = {"_target_": "own_networks:flat", "width": 5}
    assert fault_of_network(name) == ""
    network = build_network(name, **TINY, image_size=4)
    assert [p.shape[0] for p in network.parameters() if p.ndim == 2] == [5, 2]
    assert {"0.spare.weight", "0.spare.bias"} <= network.state_dict().keys()
    assert torch.equal(network[1].weight, build_network(name, **TINY, image_size=4)[1].weight)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vgg", "expected one of resnet_tiny, resnet18, densenet121, a class such as monai"),
        ({"width": 3}, "expected '_target_' among its fields"),
        ("nowhere.at.all:net", "no module 'nowhere.at.all' is found here: put its folder on"),
        ("monai.networks.nets.Vit", "monai.networks.nets defines no 'Vit'; give a name"),
        ("own_networks:flatt", "own_networks defines no 'flatt'"),
        ("own_networks:", "own_networks defines no ''"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_what_is_wrong_with_a_name_is_told_before_anything_is_imported(name, said):
    assert said in fault_of_network(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (DENSENET | {"growth": 4}, "DenseNet fails with .*growth=4 .*unexpected keyword"),
        (DENSENET | {"out_channels": 3}, "gives 3 logits; expected 2"),
        ("own_networks:told", "told fails with .*no attribute 'told'"),
        ("own_networks:nothing", "nothing gives int; expected a torch.nn.Module"),
        ("monai.networks.nets.UNet", "UNet fails with .*missing 2 required"),
        ("monai.networks.nets.BasicUNet", r"gives \(2, 2, 32, 32\); expected one tensor of logits"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_a_network_that_cannot_be_used_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        build_network(name, **TINY, image_size=32)


def started(network, path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = build_network(network, **TINY, image_size=32, weights=str(path))
    return made, [str(w.message) for w in caught]


@pytest.mark.parametrize("kind", ["safetensors", "torch", "nested"])
def test_weights_of_a_file_are_the_initial_state(tmp_path, kind):
    pretrained = build_network("resnet_tiny", **TINY | {"seed": 7}).state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_weights(build_network("resnet_tiny", **TINY | {"seed": 7}), path)
    else:
        parallel = {f"module.{key}": value for key, value in pretrained.items()}
        torch.save(pretrained if kind == "torch" else {"state_dict": parallel, "epoch": 3}, path)
    network, said = started("resnet_tiny", path)
    assert said == []
    assert all(torch.equal(value, pretrained[key]) for key, value in network.state_dict().items())


def test_missing_unexpected_and_misshapen_weights_are_told(tmp_path):
    pretrained = build_network("resnet_tiny", channels=1, classes=5, seed=7).state_dict()
    pretrained["old.head"] = pretrained.pop("bn1.bias")
    torch.save(pretrained, tmp_path / "w.pt")
    network, (said,) = started("resnet_tiny", tmp_path / "w.pt")
    for told in ("missing or of another shape: bn1.bias, fc.", "unexpected: old.head"):
        assert told in said
    fresh = build_network("resnet_tiny", **TINY)
    assert torch.equal(network.conv1.weight, pretrained["conv1.weight"])
    assert torch.equal(network.fc.weight, fresh.fc.weight)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.zeros(2, 2)}, "no weight fits the network; missing or of another shape: "),
        (nn.Linear(1, 1), "holds no weights .*save a state_dict"),
        (None, "holds no weights that can be read"),
    ],
)
def test_files_without_weights_of_the_network_are_refused(tmp_path, content, said):
    path = tmp_path / "w.pt"
    torch.save(content, path) if content is not None else path.write_bytes(b"")
    with pytest.raises(InputError, match=said):
        started("resnet_tiny", path)
