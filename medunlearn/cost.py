"""What a computation costs: seconds, processor seconds and peak memory of named regions."""

import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


@dataclass
class Region:
    """The bill of one region: wall seconds, processor seconds of this process, peak bytes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass
class Clock:
    """Times named regions; a region inside another is billed to itself alone.

    On CUDA both ends of every region wait for the device, and the seconds are those between two
    CUDA events; on the CPU they come from ``time.perf_counter``. Peak memory is the device's
    (reset when the clock is made), or the highest resident memory of the process on the CPU.

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

    def __post_init__(self) -> None:
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self.device)

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
        region.peak_bytes = max(region.peak_bytes, peak_bytes(self.device))
        self._mark = None

    def _start(self) -> Callable[[], tuple[float, float]]:
        cpu_start = self.cpu_now()
        if not self._cuda:
            start = self.now()
            return lambda: (self.now() - start, self.cpu_now() - cpu_start)
        torch.cuda.synchronize(self.device)
        first = torch.cuda.Event(enable_timing=True)
        first.record()

        def stop() -> tuple[float, float]:
            last = torch.cuda.Event(enable_timing=True)
            last.record()
            torch.cuda.synchronize(self.device)
            seconds = first.elapsed_time(last) / 1000
            return seconds, self.cpu_now() - cpu_start

        return stop


def peak_bytes(device: str) -> int:
    """Highest memory so far: allocated on the CUDA device, else resident in this process."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_name(device: str) -> str:
    """The device as a reader knows it, for example ``NVIDIA H100`` or the processor's model."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - not a file of ours
            return next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
