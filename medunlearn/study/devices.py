"""What this machine computes with: cores, and CUDA devices by the names that pin a job to one."""

import ctypes
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from medunlearn.errors import InputError


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


def fault_of_cuda() -> str | None:
    """Why torch cannot compute on CUDA here; none if it can. Torch itself is not imported.

    A driver runs what was built for its own release of CUDA or an older one.
    """
    if cuda_count() == 0:
        return "the driver sees no CUDA device"
    built, driver = _cuda_of_torch(), _cuda_of_driver()
    if built is None:
        return "this torch was built without CUDA"
    if driver < built:
        return f"the driver knows CUDA {driver}, torch was built for {built}: update the driver"
    return None


def check_device(device: str) -> None:
    """Refuse to compute on a device that is not here.

    Args:
        device: ``cpu``, ``cuda``, or nothing if it is still to be chosen.

    Raises:
        InputError: CUDA is asked for, and torch cannot compute on it here.
    """
    if device == "cuda" and (fault := fault_of_cuda()):
        raise InputError("DEVICE", [f"'cuda': {fault}; or choose cpu"])


def _cuda_of_torch() -> int | None:
    """Major release of CUDA that torch was built for; none if it was built without."""
    spec = find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    told = Path(spec.origin).with_name("version.py").read_text()
    found = re.search(r"^cuda\b.*= *'(\d+)", told, re.MULTILINE)
    return int(found[1]) if found else None


def _cuda_of_driver() -> int:
    """Major release of CUDA that the driver knows; 0 if it does not tell."""
    driver, release = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(release))
    return release.value // 1000


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
