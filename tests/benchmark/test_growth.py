import math
import shutil

import numpy as np
import pytest

from medunlearn.benchmark import growth
from medunlearn.benchmark.growth import STAGES, measure_images, measure_runs, tell_growth
from medunlearn.benchmark.ledgers import fill_store
from medunlearn.evaluation.predictions import read_predictions
from medunlearn.study.design import all_models, all_timings
from medunlearn.study.store import Store
from medunlearn.study.study import open_study
from medunlearn.study.tables import collect_tables, load_tables


@pytest.fixture
def tiny_study(tiny_profile, drawn, tmp_path):
    """Nothing made yet but the cohort."""
    runs = shutil.copytree(drawn, tmp_path / "runs")
    return open_study("phantom", tiny_profile, runs=str(runs), device="cpu")


def test_the_exponent_of_what_is_linear_is_one_and_memory_has_a_slope():
    found = [{"x": (n / 100, 50 + n / 1000)} for n in (1000, 4000, 16000)]
    told = {
        (line.what, line.side): line.median for line in tell_growth("y", (1000, 4000, 16000), found)
    }
    assert told["4,000 y: x", "time"] == 40
    assert told["y: x", "exponent of time"] == pytest.approx(1)
    assert told["y: x", "memory"] == pytest.approx(1)


def test_what_grows_with_the_square_shows():
    found = [{"x": (n**2, 1.0)} for n in (10, 100, 1000)]
    told = {line.side: line.median for line in tell_growth("y", (10, 100, 1000), found)}
    assert told["exponent of time"] == pytest.approx(2)


def test_images_go_through_every_stage(tmp_path, monkeypatch):
    """In this process, which a stage of the benchmark does not do."""
    monkeypatch.setattr(growth, "STEPS", 2)
    costs = [STAGES[name](160, tmp_path, "cpu") for name in ("make_images", "build_cache")]
    costs.append(STAGES["use_images"](160, tmp_path, "cpu"))
    monkeypatch.setattr(growth, "_run_apart", lambda *_: costs.pop(0))
    costs += costs
    lines = measure_images("cpu", (160, 320))
    stages = {line.what.split(": ")[1] for line in lines}
    assert stages == {
        "build the cache", "libraries", "open", "draw a forget set", "load", "2 training steps",
        "predict all",
    }  # fmt: skip
    assert all(math.isfinite(line.median) for line in lines)
    (cache,) = (tmp_path / "runs" / "cache").glob("*.npy")
    assert np.load(cache, mmap_mode="r").shape == (160, 1, 64, 64)


def test_runs_go_through_every_stage(monkeypatch):
    called = []
    monkeypatch.setattr(
        growth, "_run_apart", lambda name, n, *_: called.append((name, n)) or {name: (1.0, 1.0)}
    )
    measure_runs((10, 20))
    assert called == [
        (name, n) for n in (10, 20) for name in ("make_models", "look", "collect", "load")
    ]


def test_a_filled_store_is_read_like_a_real_one(tiny_study):
    count = fill_store(tiny_study)
    store, specs = Store(tiny_study), all_models(tiny_study.profile)
    assert count == len(specs) + len(all_timings(tiny_study.profile))
    assert store.missing(specs) == []
    collect_tables(tiny_study, store)
    tables = load_tables(tiny_study)
    assert tables.absent == []
    assert tables.logits.shape == (len(specs), len(tiny_study.cohort.table), 4)
    last = read_predictions(store.path(specs[-1]) / "predictions.parquet")
    assert np.array_equal(tables.logits[-1], last)


def test_a_stage_is_over_when_the_device_has_done_it(monkeypatch):
    """Launching a kernel takes no time: whoever stops the clock before it ends measures nothing."""
    now = iter([10.0, 13.0])
    events, costs = [], {}
    monkeypatch.setattr(growth, "wait", lambda device: events.append(f"wait for {device}"))
    monkeypatch.setattr(growth.time, "perf_counter", lambda: (events.append("look"), next(now))[1])
    with growth._costing(costs, "x", "cuda"):
        events.append("launch")
    assert events == ["look", "launch", "wait for cuda", "look"]
    assert costs["x"][0] == 3
