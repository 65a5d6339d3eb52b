"""What this machine computes with: cores, and CUDA devices by the names that pin a job to one."""

import ctypes
import os
from collections.abc import Sequence


def available_cores() -> int:
    """Cores this process may use: a container may own fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cuda_count() -> int:
    """CUDA devices that this process sees, as the driver counts them; torch is not imported."""
    try:
        driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    except OSError:
        return 0
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def visible_devices() -> list[str]:
    """The CUDA devices of this process, each as a value for CUDA_VISIBLE_DEVICES.

    That variable, where it is set already, decides their names: numbers, or ids of devices or of
    parts of one. The driver stops at the first name that it does not know, and so does the count.
    """
    count, named = cuda_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in named.split(",")][:count]


def default_jobs(device: str) -> int:
    """Jobs at a time on this machine: one for each GPU, or for each core."""
    return max(1, len(visible_devices())) if device == "cuda" else available_cores()


def pin(slot: int, devices: Sequence[str]) -> dict[str, str]:
    """Variables that give the jobs of a slot one device; none where there is nothing to choose.

    Args:
        slot: Number of the slot, from 0; slots beyond the devices share them in turn.
        devices: Values for CUDA_VISIBLE_DEVICES.
    """
    return {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]} if devices else {}
