"""What this machine computes with, and who does: models side by side, but a clock alone.

A device is held by locks on files, which go with the process that holds them, however it ends.
Which GPU a notebook gets is decided in ``worker.Kernels``.
"""

import ctypes
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from medunlearn.errors import InputError

LOCKS = Path("/tmp")  # not TMPDIR, which may be another one for each user and each job of a cluster
INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # a constant of Linux


def cuda_count() -> int:
    """CUDA devices that torch can compute on here; without a driver torch is not imported."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_device(asked: str = "") -> str:
    """The device type: as asked, else ``cuda`` if torch can compute on it here.

    Raises:
        InputError: Something else was asked for.
    """
    if asked not in {"", "cpu", "cuda"}:
        raise InputError("DEVICE", [f"{asked!r} is not known; choose from cpu, cuda"])
    return asked or ("cuda" if cuda_count() else "cpu")


def check_device(device: str) -> None:
    """Refuse to compute on a device that is not here.

    Args:
        device: ``cpu``, ``cuda``, or nothing if it is still to be chosen.

    Raises:
        InputError: CUDA is asked for, and torch cannot compute on it here.
    """
    if device == "cuda" and not cuda_count():
        raise InputError("DEVICE", ["'cuda': torch sees no CUDA device here; or choose cpu"])


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
    """Jobs at a time on this machine: one for each GPU, or for each core that is ours to use."""
    from dask.system import CPU_COUNT  # not for commands that only look

    return max(1, len(visible_devices())) if device == "cuda" else CPU_COUNT


def device_shared(device: str, runs: Path | None = None) -> AbstractContextManager[bool]:
    """Compute on a device beside others; waits while somebody times on it, oneself included.

    Args:
        device: ``cpu`` or ``cuda``.
        runs: RUNS, by which studies know of each other that share no other folder.
    """
    return _hold(device, fcntl.LOCK_SH, runs)


@contextmanager
def clock_alone(device: str, runs: Path | None = None) -> Iterator[bool]:
    """Time on a device while no study of this machine computes on it.

    A clock on a GPU keeps the processor to itself, too: small kernels wait for who launches them.
    Those who come while this waits stay behind it: models do not keep a clock waiting for ever.

    Args:
        device: ``cpu`` or ``cuda``.
        runs: RUNS, by which studies know of each other that share no other folder.

    Yields:
        Whether others are kept out: false where this process has a ``/tmp`` of its own, as in a
        container (unless it was given the host's), or where files cannot be locked.
    """
    with ExitStack() as stack:
        names = dict.fromkeys(["cpu", device])  # in this order: no two clocks wait for each other
        kept = [stack.enter_context(_hold(name, fcntl.LOCK_EX, runs)) for name in names]
        yield all(kept)


@contextmanager
def _hold(device: str, kind: int, runs: Path | None) -> Iterator[bool]:
    """Hold a device in RUNS and on the host; whether the latter's other users are kept out."""
    reason = "another study computes" if kind == fcntl.LOCK_EX else "another study times"
    notes = [f"waiting for {device}: {reason} on this device"]
    with ExitStack() as stack:
        kept = False  # what the last folder says: it is the host's
        for folder in filter(None, (runs, LOCKS)):
            path, kept = folder / f"medunlearn-{_device_id(device)}", False
            with suppress(OSError), _locked(path.with_suffix(".turn"), fcntl.LOCK_EX, notes):
                # who waits for the lock holds the turnstile: nobody overtakes
                stack.enter_context(_locked(path.with_suffix(".lock"), kind, notes))
                kept = _is_host_wide(folder)
        yield kept


@contextmanager
def _locked(path: Path, kind: int, notes: list[str]) -> Iterator[None]:
    """Hold a file's lock; it is another user's file perhaps, in a folder for all.

    Raises:
        OSError: The file belongs to somebody who shares it with nobody, or the system has no lock.
    """
    with suppress(FileExistsError):
        # never O_CREAT on a file that may be another user's: refused in such a folder
        path.touch(exist_ok=False)
        path.chmod(0o666)  # whatever the umask
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)  # NFS locks only what is open for writing
    try:
        os.utime(file)  # old temporary files are swept by systems
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            while notes:  # said once
                print(f"{notes.pop()} ({path})", flush=True)
            fcntl.flock(file, kind)
        yield
    finally:
        os.close(file)  # and the lock with it


def _is_host_wide(folder: Path) -> bool:
    """Whether all users of this host see a folder: no container's, service's or job's own one."""
    namespace, mounts = Path("/proc/self/ns/pid"), Path("/proc/self/mountinfo")
    if not mounts.exists():  # not Linux
        return True
    told = [line.split() for line in mounts.read_text().splitlines()]
    # what is mounted on the folder: a part of another file system, or the whole of one
    parts = [part for _, _, _, part, point, *_ in told if point == str(folder)][-1:]
    in_container = namespace.stat().st_ino != INITIAL_PID_NAMESPACE
    return parts == [str(folder)] or (not in_container and parts in ([], ["/"]))


def _device_id(device: str) -> str:
    """Name of a device of this machine, whatever number it has in this process."""
    if device.startswith("cuda"):
        import torch

        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    boot = Path("/proc/sys/kernel/random/boot_id")  # the same in all containers of a host
    return f"{device}-{boot.read_text()[:8] if boot.exists() else platform.node()}"
