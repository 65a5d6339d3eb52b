import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from medunlearn.batches import Images
from medunlearn.evaluation.predictions import predict, read_predictions, write_predictions
from medunlearn.models import build_network


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 255, (21, 1, 16, 16), dtype=np.uint8)
    return Images.load(pixels, np.zeros(21, int), np.arange(21), "cpu")


def test_one_pass_in_evaluation_mode_whatever_the_batch_size(images):
    model = build_network("resnet_tiny", channels=1, classes=3, seed=0).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    whole, parts = predict(model, images), predict(model, images, batch_size=4)
    assert whole.shape == (21, 3)
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    assert model.training
    some = np.array([20, 3, 11])
    np.testing.assert_allclose(predict(model, images, samples=some), whole[some], atol=1e-5)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_logits_come_back_by_sample(tmp_path):
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    write_predictions(tmp_path / "p.parquet", "abc", logits)
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.parquet"), logits)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["model_key", "sample", "logits"]
    assert table["sample"].to_pylist() == list(range(5))
    write_predictions(tmp_path / "some.parquet", "abc", logits, np.array([4, 9, 2, 7, 5]))
    np.testing.assert_array_equal(read_predictions(tmp_path / "some.parquet"), logits)
    assert pq.read_table(tmp_path / "some.parquet")["sample"].to_pylist() == [4, 9, 2, 7, 5]
    assert str(table.schema.field("logits").type) == "fixed_size_list<element: float>[3]"
