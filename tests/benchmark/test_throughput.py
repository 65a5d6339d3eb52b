from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from medunlearn.benchmark import throughput
from medunlearn.benchmark.throughput import Case, measure_peak, measure_processes


def test_several_processes_train_as_many_images_each(monkeypatch):
    trained = []
    monkeypatch.setattr(throughput, "_train_whole", lambda *given: trained.append(given))
    case = Case("resnet_tiny", 16, 8, 2)
    with ThreadPoolExecutor(6) as pool:
        lines = measure_processes("cpu", rounds=2, jobs=6, case=case, pool=pool)
    counts = [1, 2, 4, 6]
    assert [line.side for line in lines] == ["1 process", *(f"{n} processes" for n in counts[1:])]
    assert len(trained) == 4 * sum(counts)  # two rounds of burn-in
    assert set(trained) == {("cpu", case)}
    for count, line in zip(counts, lines, strict=True):
        assert line.rate * line.median == pytest.approx(count * throughput.EPOCHS * 16)


def test_one_process_is_compared_with_nothing(monkeypatch):
    monkeypatch.setattr(throughput, "_train_whole", lambda *_: None)
    case = Case("resnet_tiny", 16, 8, 2)
    with ThreadPoolExecutor(1) as pool:
        (line,) = measure_processes("cpu", rounds=1, jobs=1, case=case, pool=pool)
    assert line.ratio is None


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


def test_products_in_a_row_count_all(monkeypatch):
    """A peak of five products in the same seconds is five times as high."""
    peaks = []
    for products in (1, 5):
        monkeypatch.setitem(throughput.PRODUCTS, "cpu", products)
        monkeypatch.setattr(throughput, "_steps", lambda _: (lambda: None, 1))
        monkeypatch.setattr(
            throughput, "interleave", lambda *_, **__: {"steps": [1.0], "product": [1.0]}
        )
        peaks.append(measure_peak("cpu", rounds=1, cases=[Case("resnet_tiny", 16, 8, 1)])[1])
    assert peaks[1].median == pytest.approx(5 * peaks[0].median)
