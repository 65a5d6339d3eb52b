"""What a computation costs: seconds, processor seconds and peak memory of named regions."""

import math
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
            context and its cache; on the CPU the highest resident memory of this process, NaN where
            that cannot be known.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: float = 0.0


@dataclass
class Clock:
    """Times named regions; a region inside another is billed to itself alone.

    On CUDA both ends of every region wait for the device, and the seconds are those between two
    CUDA events; on the CPU they come from ``time.perf_counter``. Peak memory is what was in use at
    most *while the region ran*, what lay there before it began included: the counter is set back at
    its start. Setting back and reading are not billed.

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
    _peak_is_own: bool = False
    _start: tuple[Any, float] = (0.0, 0.0)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Bill what happens inside to this region, and not to the region around it."""
        self._settle()
        self._open.append(name)
        self.regions.setdefault(name, Region())
        self._begin()
        try:
            yield
        finally:
            self._settle()
            self._open.pop()
            self._begin()

    def _begin(self) -> None:
        """Begin a stretch of the innermost open region."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._peak_is_own = reset_host_peak()
        self._start = self._read()

    def _settle(self) -> None:
        """Add the stretch that ends here to the innermost open region."""
        if not self._open:
            return
        (start, cpu_start), (end, cpu_end) = self._start, self._read()
        region = self.regions[self._open[-1]]
        region.seconds += start.elapsed_time(end) / 1000 if self._cuda else end - start
        region.cpu_seconds += cpu_end - cpu_start
        if self._cuda:
            peak = float(torch.cuda.max_memory_allocated(self.device))
        else:
            peak = host_peak_bytes() if self._peak_is_own else math.nan
        region.peak_bytes = float(np.maximum(region.peak_bytes, peak))  # NaN if one is not known

    def _read(self) -> tuple[Any, float]:
        """Wall clock, on CUDA an event that the device has reached, and clock of the processor."""
        if not self._cuda:
            return self.now(), self.cpu_now()
        torch.cuda.synchronize(self.device)
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        torch.cuda.synchronize(self.device)
        return event, self.cpu_now()

    @property
    def _cuda(self) -> bool:
        return self.device.startswith("cuda")


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
    """Highest resident memory of this process since ``reset_host_peak``, which Linux tells."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _MEMORY.read_text())
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
    }


def device_name(device: str) -> str:
    """The device as a reader knows it, for example ``NVIDIA H100`` or the processor's model."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    about = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", about.read_text() if about.is_file() else "")
    return named[1].strip() if named else platform.machine()
