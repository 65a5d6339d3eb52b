import pytest
import torch

from medunlearn.models import NETWORKS, build_network, load_weights, save_weights


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_any_channels_and_classes(name, norm):
    for channels, classes in ((1, 2), (3, 5)):
        network = build_network(name, channels=channels, classes=classes, seed=0, norm=norm)
        assert network.eval()(torch.zeros(2, channels, 32, 32)).shape == (2, classes)


def test_group_norm_networks_hold_no_batch_statistics():
    network = build_network("resnet_tiny", channels=1, classes=2, seed=0, norm="group")
    assert not [name for name, _ in network.named_buffers()]


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
