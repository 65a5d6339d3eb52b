"""Networks and starting weights that a profile brings along."""

import shutil
import sys

import numpy as np
import pytest
import torch
import yaml

from medunlearn.errors import InputError
from medunlearn.evaluation.predictions import read_predictions
from medunlearn.models import build_network, save_weights
from medunlearn.study.builder import PREDICTIONS, Builder
from medunlearn.study.cells import middle_cell
from medunlearn.study.design import original, retrained, unlearned
from medunlearn.study.profile import load_profile
from medunlearn.study.status import check
from medunlearn.study.store import Store
from medunlearn.study.study import open_study
from tests.conftest import TINY
from tests.test_models import DENSENET

VIT = {
    "_target_": "monai.networks.nets.ViT", "patch_size": 4, "hidden_size": 8, "mlp_dim": 16,
    "num_layers": 2, "num_heads": 2, "post_activation": None,
}  # fmt: skip


@pytest.fixture
def open_with(drawn, tmp_path):
    """A tiny study whose profile has these fields."""

    def open_(**fields):
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, **fields}))
        if not (tmp_path / "runs").exists():
            shutil.copytree(drawn, tmp_path / "runs")
        path = str(tmp_path / "tiny.yaml")
        return open_study("phantom", path, runs=str(tmp_path / "runs"), device="cpu")

    return open_


@pytest.mark.parametrize("network", [DENSENET, VIT], ids=["densenet", "vit"])
def test_a_study_trains_and_unlearns_any_network(open_with, network):
    if network is VIT:
        pytest.importorskip("einops", reason="MONAI's ViT needs it")
    methods = {"salun": {"epochs": 1}, "uam": {"epochs": 1}, "cf_k": {"epochs": 1}}
    study = open_with(network=network, methods=methods, confirmatory=["salun"])
    builder, cell = Builder(study), middle_cell(study.profile)
    specs = [original(0), retrained(cell, 0), *(unlearned(name, cell, 0) for name in methods)]
    builder.train(specs[:2])
    builder.unlearn(specs[2:])
    for spec in specs:
        logits = read_predictions(builder.store.file(spec, PREDICTIONS))
        assert logits.shape == (len(study.cohort.table), len(study.cohort.classes))
        assert np.isfinite(logits).all()
    assert not np.allclose(builder.logits(specs[0]), builder.logits(specs[2]))


@pytest.fixture
def pretrained(tmp_path):
    """Weights of a network of the same kind beside the profile, of which the study has more."""
    network = build_network("resnet_tiny", channels=1, classes=5, seed=77)
    save_weights(network, tmp_path / "pretrained.safetensors")
    return network.state_dict()


@pytest.mark.filterwarnings("ignore:.* weights are taken")
def test_originals_and_retrained_models_start_from_pretrained_weights(open_with, pretrained):
    still = TINY["training"] | {"learning_rate": 1e-12, "weight_decay": 0.0}  # the start is kept
    study = open_with(weights="pretrained.safetensors", training=still)
    builder, cell = Builder(study), middle_cell(study.profile)
    builder.train([original(0), original(1), retrained(cell, 0)])
    models = [builder.trained(s) for s in (original(0), original(1), retrained(cell, 0))]
    for model in models:
        torch.testing.assert_close(model.conv1.weight, pretrained["conv1.weight"])
    first, second, again = (model.fc.weight for model in models)  # for the study's classes: fresh
    assert first.shape[0] == len(study.cohort.classes)
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, second)


@pytest.mark.usefixtures("pretrained")
def test_content_and_not_place_of_the_weights_makes_models_stale(open_with, tmp_path):
    path, spec = tmp_path / "pretrained.safetensors", original(0)
    plain = Store(open_with()).entry(spec).key
    before = Store(open_with(weights=path.name)).entry(spec).key
    path.rename(tmp_path / "moved.safetensors")
    moved = Store(open_with(weights=str(tmp_path / "moved.safetensors"))).entry(spec).key
    save_weights(build_network("resnet_tiny", channels=1, classes=5, seed=78), path)
    changed = Store(open_with(weights=path.name)).entry(spec).key
    assert before == moved
    assert len({plain, before, changed}) == 3


def test_an_edit_of_ones_own_network_makes_its_models_stale(open_with, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    source = tmp_path / "mine.py"  # beside the profile: nobody has to tell Python of it
    source.write_text("def net(): ...\n")
    before = Store(open_with(network="mine:net")).entry(original(0)).key
    source.write_text("def net(): pass\n")
    assert Store(open_with(network="mine:net")).entry(original(0)).key != before


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"network": "nowhere:net"},
            "network: given 'nowhere:net'; no module 'nowhere' .*beside the profile",
        ),
        ({"network": {"patch_size": 4}}, "expected '_target_' among its fields"),
        ({"norm": "group"}, "norm: is no field here; remove it"),
        ({"weights": "absent.pt"}, "absent.pt'; expected a file that is there; a profile names it"),
    ],
)
def test_a_profile_without_such_a_network_or_file_is_refused(tmp_path, fields, said):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**TINY, **fields}))
    with pytest.raises(InputError, match=said):
        load_profile(str(tmp_path / "own.yaml"))


@pytest.mark.usefixtures("pretrained")
def test_check_tells_which_weights_are_taken(open_with, tmp_path):
    open_with(weights="pretrained.safetensors")
    lines = check("phantom", "", str(tmp_path / "tiny.yaml"), str(tmp_path / "runs"))
    (said,) = [line for line in lines if "weights are taken from pretrained.safetensors" in line]
    assert "of another shape: fc.weight, fc.bias" in said
