from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from medunlearn.benchmark import throughput
from medunlearn.benchmark.throughput import Case, measure_peak, measure_processes


def test_several_processes_train_as_many_images_each(monkeypatch):
    trained = []
    monkeypatch.setattr(throughput, "_train_whole", lambda *given: trained.append(given))
    case = Case("resnet_tiny", 16, 8, 2)
    with ThreadPoolExecutor(3) as pool:
        one, three = measure_processes("cpu", rounds=2, jobs=3, case=case, pool=pool)
    assert len(trained) == 4 * (1 + 3)  # two rounds of burn-in
    assert set(trained) == {("cpu", case)}
    assert one.rate * one.median == pytest.approx(15 * 16)
    assert three.rate * three.median == pytest.approx(3 * 15 * 16)


def test_operations_are_those_of_forward_and_backward(monkeypatch):
    """A product of (8 x 64) and (64 x 4): forward, and the gradient of the weights."""
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4, bias=False))
    monkeypatch.setattr(throughput, "initial_state", lambda *_: linear)
    data = throughput.make_data("none", 8, 8, 3, 1, "cpu")
    _, flops = throughput._steps(data)
    assert flops == 3 * 2 * (2 * 8 * 64 * 4)


def test_the_share_of_the_peak_is_paired_with_the_product(monkeypatch):
    monkeypatch.setattr(throughput, "_steps", lambda _: (lambda: None, 2 * 1024**3))
    told = {"steps": [2.0, 4.0], "product": [1.0, 2.0]}
    monkeypatch.setattr(throughput, "interleave", lambda *_, **__: told)
    share, peak = measure_peak("cpu", rounds=2, cases=[Case("resnet_tiny", 16, 8, 1)])
    assert (share.minimum, share.median, share.unit) == (50, 50, "%")
    assert peak.minimum == pytest.approx(2 * 1024**3 / 2 / 1e9)
