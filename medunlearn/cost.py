"""What a computation costs: seconds, processor seconds and peak memory of named regions."""

import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

_MEMORY, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Region:
    """The bill of one region.

    Args:
        seconds: Wall seconds of a clock that never jumps.
        cpu_seconds: Processor seconds of this process, all its threads.
        peak_bytes: Highest memory of the device that torch held for this process, without its
            context and its cache; on the CPU that of the host.
        host_peak_bytes: Highest resident memory of this process; NaN where it cannot be known.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: float = 0.0
    host_peak_bytes: float = 0.0


@dataclass
class Clock:
    """Times named regions; a region inside another is billed to itself alone.

    On CUDA both ends of every region wait for the device, and the seconds are those between two
    CUDA events; on the CPU they come from ``time.perf_counter``. Peak memory is what was in use at
    most *while the region ran*, what lay there before it began included: the counters of device
    and host are set back at its start. Setting back and reading are not billed.

    Args:
        device: Where the work runs.
        now: Wall clock, replaced in tests.
        cpu_now: Clock of processor time, replaced in tests.
    """

    device: str = "cpu"
    now: Callable[[], float] = time.perf_counter
    cpu_now: Callable[[], float] = time.process_time
    regions: dict[str, Region] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _mark: Callable[[], tuple[float, float]] | None = None
    _host_peak_is_own: bool = False

    @property
    def _cuda(self) -> bool:
        return self.device.startswith("cuda")

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Bill what happens inside to this region, and not to the region around it."""
        self._settle()
        self._open.append(name)
        self.regions.setdefault(name, Region())
        self._mark = self._start()
        try:
            yield
        finally:
            self._settle()
            self._open.pop()
            self._mark = self._start() if self._open else None

    def _settle(self) -> None:
        """Close the running stretch and add it to the innermost open region."""
        if self._mark is None:
            return
        seconds, cpu_seconds = self._mark()
        region = self.regions[self._open[-1]]
        region.seconds += seconds
        region.cpu_seconds += cpu_seconds
        host = host_peak_bytes() if self._host_peak_is_own else math.nan
        device = float(torch.cuda.max_memory_allocated(self.device)) if self._cuda else host
        # NaN if one of the two is not known
        region.host_peak_bytes = float(np.maximum(region.host_peak_bytes, host))
        region.peak_bytes = float(np.maximum(region.peak_bytes, device))
        self._mark = None

    def _start(self) -> Callable[[], tuple[float, float]]:
        self._host_peak_is_own = reset_host_peak()
        if not self._cuda:
            start, cpu_start = self.now(), self.cpu_now()
            return lambda: (self.now() - start, self.cpu_now() - cpu_start)
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        cpu_start = self.cpu_now()
        first = torch.cuda.Event(enable_timing=True)
        first.record()

        def stop() -> tuple[float, float]:
            last = torch.cuda.Event(enable_timing=True)
            last.record()
            torch.cuda.synchronize(self.device)
            seconds = first.elapsed_time(last) / 1000
            return seconds, self.cpu_now() - cpu_start

        return stop


def reset_host_peak() -> bool:
    """Let the highest resident memory of this process begin anew; false where that is impossible.

    Linux only. Where it is not possible the peak is that of the hungriest region so far, which
    says nothing of another one.
    """
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def host_peak_bytes() -> float:
    """Highest resident memory of this process since ``reset_host_peak``; NaN if not told."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", _MEMORY.read_text())
    except OSError:
        return math.nan
    return float(found[1]) * 1024 if found else math.nan


def stamp(device: str) -> dict[str, str | int]:
    """Device and software of a measurement, for its row.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    return {
        "device": device_name(device),
        "device_type": torch.device(device).type,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
    }


def device_name(device: str) -> str:
    """The device as a reader knows it, for example ``NVIDIA H100`` or the processor's model."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - not a file of ours
            return next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
