"""How fast networks are trained: against other loops, by several processes, against the peak."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch.utils.flop_counter import FlopCounterMode

from medunlearn.batches import Batches, Images
from medunlearn.benchmark.loops import (
    Data,
    Epoch,
    in_memory_epochs,
    make_data,
    package_epochs,
    scale,
    scale_with_monai,
    textbook_epochs,
)
from medunlearn.benchmark.measure import Line, compare, figure, interleave, wait
from medunlearn.training import initial_state, prepare_device, sgd, step, train

PACKAGE = "this package"
EPOCHS = 25
"""Of a whole training, as in the laptop profile."""


class Case(NamedTuple):
    """A network, the side of its images in px, images in a batch, batches in an epoch."""

    network: str
    size: int
    batch_size: int
    batches: int

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.network}, {self.size} px, batch {self.batch_size}"


TRAINED = {
    "cpu": [Case("resnet_tiny", 32, 32, 32), Case("resnet18", 64, 16, 2)],
    "cuda": [Case("resnet_tiny", 64, 32, 128), Case("resnet18", 224, 64, 16)],
}
STEPPED = {
    "cpu": [
        Case("resnet_tiny", 32, 32, 16),
        Case("resnet18", 64, 16, 1),
        Case("densenet121", 64, 16, 1),
    ],
    "cuda": [
        Case("resnet_tiny", 64, 32, 64),
        Case("resnet18", 224, 64, 8),
        Case("densenet121", 224, 64, 8),
    ],
}
WORKERS = {"cpu": (0, 2), "cuda": (0, 2, 8)}
SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the square matrices whose product is the peak."""
PRODUCTS = {"cpu": 1, "cuda": 50}
"""In a row: a GPU must be busy for a while before its clock is that of a training."""


def measure_loops(device: str, *, rounds: int, cases: Sequence[Case] | None = None) -> list[Line]:
    """Seconds of an epoch of each loop; every loader's best number of workers is its own."""
    lines = []
    for case in cases or TRAINED[_kind(device)]:
        data = make_data(*case, epochs=rounds + 1, device=device)
        sides: dict[str, Epoch] = {PACKAGE: package_epochs(data)}
        for workers in WORKERS[_kind(device)]:
            sides[f"textbook, {workers} workers"] = textbook_epochs(data, scale, workers)
        sides["textbook, MONAI transforms"] = textbook_epochs(data, scale_with_monai(), 0)
        sides["one float tensor"] = in_memory_epochs(data)
        seconds = interleave(sides, rounds=rounds, device=device)
        lines += compare(f"epoch: {case.title}", seconds, len(data.labels))
    return lines


def measure_processes(
    device: str, *, rounds: int, jobs: int, case: Case | None = None, pool: Executor | None = None
) -> list[Line]:
    """A whole training by one process alone, and by 2, 4, ... at once, one thread each.

    Args:
        device: Where they train.
        rounds: Counted rounds.
        jobs: Processes at once, at most.
        case: The network and its images; default: about those of the laptop profile.
        pool: Runs them; processes of its own if none is given.
    """
    case = case or Case("resnet_tiny", 32 if device == "cpu" else 64, 32, 17)
    if pool is None:
        fresh = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        with ProcessPoolExecutor(jobs, mp_context=fresh) as processes:
            return measure_processes(device, rounds=rounds, jobs=jobs, case=case, pool=processes)

    def run(count: int) -> Callable[[], object]:
        return lambda: list(pool.map(_train_whole, [device] * count, [case] * count))

    several = sorted({jobs, *(2**n for n in range(1, jobs.bit_length()))} - {1})
    counts = {"1 process": 1} | {f"{count} processes": count for count in several}
    sides = {name: run(count) for name, count in counts.items()}
    # the first rounds start the processes and make their images
    seconds = interleave(sides, rounds=rounds, device="cpu", burn_in=2)
    each = EPOCHS * case.batch_size * case.batches
    images = {name: count * each for name, count in counts.items()}
    return compare(f"training of {EPOCHS} epochs: {case.title}", seconds, images)


def measure_peak(device: str, *, rounds: int, cases: Sequence[Case] | None = None) -> list[Line]:
    """Share of the speed of a matrix product that a training step of each network reaches."""
    side = SIDE[_kind(device)]
    kind = torch.bfloat16 if _kind(device) == "cuda" else torch.float32
    # cast once, outside the clock: autocast would cast both again for every product
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))

    products = PRODUCTS[_kind(device)]

    def multiply() -> None:
        for _ in range(products):
            torch.mm(left, right)

    lines = []
    for case in cases or STEPPED[_kind(device)]:
        take, flops = _steps(make_data(*case, epochs=1, device=device))
        seconds = interleave({"steps": take, "product": multiply}, rounds=rounds, device=device)
        peak = products * 2 * side**3 / np.array(seconds["product"])
        shares = 100 * flops / np.array(seconds["steps"]) / peak
        lines.append(
            figure(f"training step: {case.title}", "share of the peak", shares.tolist(), "%")
        )
        lines.append(figure(f"product of {side} x {side}", "peak", list(peak / 1e9), "GFLOP/s"))
    return lines


def _steps(data: Data) -> tuple[Callable[[], None], int]:
    """Training steps on one batch, as many as the data have batches; their operations."""
    recipe, device = data.recipe, data.device
    rows = np.arange(recipe.batch_size)
    images = Images.load(data.pixels, data.labels, np.arange(len(data.labels)), device)
    inputs, labels = next(Batches(images, rows, recipe).ordered())
    model = initial_state(recipe, 0, device).train()
    optimizer = sgd(model, 1e-3, recipe)

    def take(count: int = data.steps) -> None:
        for _ in range(count):
            step(model, optimizer, lambda: F.cross_entropy(model(inputs), labels))

    with FlopCounterMode(display=False) as counter:
        take(1)
    return take, counter.get_total_flops() * data.steps


@cache
def _data(device: str, case: Case) -> tuple[Data, Batches]:
    """Made once in each process."""
    prepare_device(device)
    data = make_data(*case, epochs=EPOCHS, device=device)
    rows = np.arange(len(data.labels))
    return data, Batches(Images.load(data.pixels, data.labels, rows, device), rows, data.recipe)


def _train_whole(device: str, case: Case) -> None:
    data, batches = _data(device, case)
    train(batches, data.recipe, seed=0)
    wait(device)


def _kind(device: str) -> str:
    return device.split(":")[0]
