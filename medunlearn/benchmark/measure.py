"""Things measured in turn in one process: seconds of each side, round by round."""

import gc
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medunlearn.cost import device_name


@dataclass(frozen=True)
class Line:
    """One row of the table: a figure with how often it was measured and its spread.

    Args:
        what: What is compared, for example a network at a size.
        side: Whose figure this is.
        n: Rounds measured.
        minimum: The least of them.
        median: Their median.
        unit: Of both, for example ``s``.
        rate: Images a second by the median, where images are counted.
        ratio: Median over rounds of this side's figure over the first side's; none of the first.
        low: Lower quartile of the ratios.
        high: Upper quartile of the ratios.
    """

    what: str
    side: str
    n: int
    minimum: float
    median: float
    unit: str = "s"
    rate: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def interleave(
    sides: Mapping[str, Callable[[], object]], *, rounds: int, device: str, burn_in: int = 1
) -> dict[str, list[float]]:
    """Seconds of each side in each round: A, B, A, B, ...; the first rounds are not counted.

    A drift of the machine falls on all sides alike. On CUDA both ends wait for the device.

    Args:
        sides: What is run, by name.
        rounds: Counted rounds.
        device: Where they run.
        burn_in: Rounds before those.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    gc.freeze()  # what is there already is not looked through again
    for turn in range(-burn_in, rounds):
        for name, run in sides.items():
            gc.collect()  # none of it falls into another side's time
            wait(device)
            start = time.perf_counter()
            run()
            wait(device)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    gc.unfreeze()
    return seconds


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def compare(
    what: str, seconds: Mapping[str, Sequence[float]], images: Mapping[str, int] | int = 0
) -> list[Line]:
    """A line for each side; ratios are paired by round with the first side.

    Args:
        what: What is compared.
        seconds: As from ``interleave``.
        images: Images that each side handles in a round, if a rate is to be told.
    """
    first, *_ = seconds
    lines = []
    for side, each in seconds.items():
        count = images if isinstance(images, int) else images[side]
        spread: tuple[float | None, ...] = (None, None, None)
        if side != first:
            low, middle, high = np.quantile(np.divide(each, seconds[first]), [0.25, 0.5, 0.75])
            spread = (float(middle), float(low), float(high))
        median = float(np.median(each))
        rate = count / median if count else None
        lines.append(Line(what, side, len(each), min(each), median, "s", rate, *spread))
    return lines


def figure(what: str, side: str, values: Sequence[float] | float, unit: str) -> Line:
    """A line of figures that are compared with nothing."""
    each = [float(values)] if isinstance(values, int | float) else [float(v) for v in values]
    return Line(what, side, len(each), min(each), float(np.median(each)), unit)


def stamp(device: str) -> dict[str, object]:
    """Where and when: what a figure is worth nothing without."""
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
        "load average": [round(load, 2) for load in os.getloadavg()],
        "at": time.strftime("%Y-%m-%d %H:%M"),
    }
