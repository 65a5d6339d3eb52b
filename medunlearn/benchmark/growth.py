"""Time and memory against the number of images and of models, each stage in a fresh process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medunlearn.benchmark.measure import Line, figure, wait
from medunlearn.cohort.build import Cohort, build_cohort
from medunlearn.cohort.forget_sets import draw_forget_set
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.partition import TRAIN
from medunlearn.cost import host_peak_bytes
from medunlearn.study.study import Study, open_study

IMAGES = (12_500, 50_000, 200_000)
MODELS = (100, 400, 1600)
SIZE, STEPS = 64, 50

Costs = dict[str, tuple[float, float]]
"""Seconds of each stage and the highest memory of its process (the host's) so far, in MiB."""


def measure_images(device: str, counts: Sequence[int] = IMAGES) -> list[Line]:
    """From a file of images to trained network and predictions, for each number of images."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="medunlearn-bench-") as folder:
            stages = ("make_images", "build_cache", "use_images")
            costs = [_run_apart(stage, count, folder, device) for stage in stages]
            found.append(costs[1] | costs[2])
    return tell_growth(f"images of {SIZE} px", counts, found)


def measure_runs(counts: Sequence[int] = MODELS) -> list[Line]:
    """Status and tables of a study, for each number of models."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="medunlearn-bench-") as folder:
            costs: Costs = {}
            for stage in ("make_models", "look", "collect", "load"):
                costs |= _run_apart(stage, count, folder, "cpu")
            found.append(costs)
    return tell_growth("models", counts, found)


def tell_growth(of: str, counts: Sequence[int], found: Sequence[Costs]) -> list[Line]:
    """A line for each stage and count, then the exponent: 1 is linear, less is better.

    Args:
        of: What is counted.
        counts: How many there were.
        found: For each of them the costs by stage.
    """
    lines = []
    for stage in found[0]:
        for count, costs in zip(counts, found, strict=True):
            seconds, memory = costs[stage]
            what = f"{count:,} {of}: {stage}"
            lines.append(figure(what, "time", seconds, "s"))
            lines.append(figure(what, "peak memory", memory, "MiB"))
        seconds_of, memory_of = np.array([costs[stage] for costs in found]).T
        exponent = _slope(np.log(counts), np.log(np.maximum(seconds_of, 1e-3)))
        lines.append(figure(f"{of}: {stage}", "exponent of time", exponent, ""))
        slope = _slope(np.array(counts, float), memory_of) * 1000
        lines.append(figure(f"{of}: {stage}", "memory", slope, "MiB for 1,000 more"))
    return lines


def _slope(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    return float(np.polyfit(x, y, 1)[0])


def _run_apart(stage: str, count: int, folder: str, device: str) -> Costs:
    """A stage in a process of its own, whose peak memory is then that stage's."""
    command = [sys.executable, "-m", "medunlearn.benchmark.growth", stage, str(count)]
    done = subprocess.run(
        [*command, folder, device],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return {name: tuple(each) for name, each in json.loads(done.stdout.splitlines()[-1]).items()}


@contextmanager
def _costing(costs: Costs, name: str, device: str = "cpu") -> Iterator[None]:
    start = time.perf_counter()
    yield
    wait(device)
    costs[name] = (time.perf_counter() - start, host_peak_bytes() / 2**20)


def make_images(count: int, folder: Path, _device: str) -> Costs:
    """Write random images as MedMNIST does: 70 % train, 10 % val, 20 % test, 8 classes."""
    random, target = np.random.default_rng(0), folder / "medmnist"
    target.mkdir()
    arrays: dict[str, Any] = {}
    for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        number = round(count * share)
        arrays[f"{split}_images"] = random.integers(0, 256, (number, SIZE, SIZE), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(number) % 8).astype(np.uint8)[:, None]
    np.savez(target / "tissuemnist_64.npz", **arrays)
    return {}


def _open(folder: Path) -> Cohort:
    manifest = load_manifest("tissuemnist-64").model_copy(update={"distribution": ()})
    runs = folder / "runs"
    return build_cohort(
        manifest, folder, folder=runs, cache=runs / "cache", image_size=SIZE, max_patients=None
    )


def build_cache(_count: int, folder: Path, _device: str) -> Costs:
    """Decode all images into the cache, with partitions."""
    costs: Costs = {}
    with _costing(costs, "build the cache"):
        _open(folder)
    return costs


def use_images(_count: int, folder: Path, device: str) -> Costs:
    """Open, draw, load, a fixed number of steps, one prediction pass."""
    import torch

    from medunlearn.batches import Batches, Images, Recipe
    from medunlearn.evaluation.predictions import predict
    from medunlearn.training import cross_entropy, initial_state, prepare_device, sgd, step

    prepare_device(device)
    costs: Costs = {}
    with _costing(costs, "libraries", device):
        recipe = Recipe("resnet_tiny", 1, 8, "batch", 1, 32, 0.1, 0.9, 5e-4, False, 0)
        model = initial_state(recipe, 0, device).train()
    with _costing(costs, "open"):
        cohort = _open(folder)
    with _costing(costs, "draw a forget set"):
        draw_forget_set(cohort.table, "random", 0.1, "shared")
    with _costing(costs, "load", device):
        labels, patients = (cohort.table[c].to_numpy(np.int64) for c in ("label", "patient"))
        images = Images.load(cohort.pixels, labels, patients, device)
    rows = np.flatnonzero(cohort.table["partition"] == TRAIN)
    optimizer = sgd(model, 0.01, recipe)
    with _costing(costs, f"{STEPS} training steps", device):
        batches = Batches(images, rows, recipe).endless(torch.Generator().manual_seed(0))
        for _ in range(STEPS):
            inputs, given = next(batches)
            step(model, optimizer, lambda x=inputs, y=given: cross_entropy(model, x, y))  # type: ignore[misc]
    with _costing(costs, "predict all"):
        predict(model, images)
    return costs


def _study(count: int, folder: Path) -> Study:
    """The quick study with more methods and as many seeds as make about so many models."""
    study = open_study("phantom", "quick", runs=str(folder), device="cpu")
    names = ["amun", "cf_k", "finetune", "neg_grad", "salun", "scrub", "ssd", "uam", "l1_sparse"]
    # a seed has an original, a floor model, and at two sizes a retrained one and every method's,
    # doing nothing once; beside them each method is timed at two sizes, and retraining once
    seeds = max(1, round((count - 2 * len(names) - 1) / (5 + 2 * len(names))))
    changes = {
        "methods": {name: {} for name in names}, "seeds": seeds, "floor_seeds": seeds,
        "references": 0, "confirmatory": names[:1],
    }  # fmt: skip
    return replace(study, profile=study.profile.model_copy(update=changes))


def make_models(count: int, folder: Path, _device: str) -> Costs:
    """Fill a ledger with models that nobody trained, each with files as real ones have them."""
    from medunlearn.benchmark.ledgers import fill_ledger

    fill_ledger(_study(count, folder))
    return {}


def look(count: int, folder: Path, _device: str) -> Costs:
    """What ``make status`` does."""
    from medunlearn.study.status import status

    costs, study = Costs(), _study(count, folder)
    with _costing(costs, "status"):
        status(study)
    return costs


def collect(count: int, folder: Path, _device: str) -> Costs:
    """Gather tables from all models."""
    from medunlearn.study.ledger import Ledger
    from medunlearn.study.tables import collect_tables

    costs, study = Costs(), _study(count, folder)
    with _costing(costs, "collect tables"):
        collect_tables(study, Ledger(study))
    return costs


def load(count: int, folder: Path, _device: str) -> Costs:
    """Read them."""
    from medunlearn.study.tables import load_tables

    costs, study = Costs(), _study(count, folder)
    with _costing(costs, "load tables"):
        load_tables(study)
    return costs


STAGES: dict[str, Callable[[int, Path, str], Costs]] = {
    each.__name__: each
    for each in (make_images, build_cache, use_images, make_models, look, collect, load)
}

if __name__ == "__main__":
    stage, number, place, where = sys.argv[1:]
    print(json.dumps(STAGES[stage](int(number), Path(place), where)))
