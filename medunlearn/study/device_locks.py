"""Who computes on a device of this machine: models side by side, but a clock alone.

The locks lie in the machine's folder for temporary files, so that studies and users share them, and
they go with the process that holds them, however it ends.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

try:
    import fcntl
except ImportError:  # not on this system: nobody is kept out, and `clock_alone` says so
    fcntl = None  # type: ignore[assignment]

# not TMPDIR, which may be another one for each user and each job of a cluster
FOLDER = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())

NOTHING: Mapping[str, tuple[bool, bool]] = MappingProxyType({})
_held: ContextVar[Mapping[str, tuple[bool, bool]]] = ContextVar("held", default=NOTHING)
"""Devices held by this thread: whether alone, and whether others are really kept out."""


@contextmanager
def device_shared(device: str, write: Callable[[str], None] = print) -> Iterator[None]:
    """Compute on a device beside others; waits while somebody times on it.

    Inside ``clock_alone`` of the same device it changes nothing.

    Args:
        device: ``cpu`` or ``cuda``.
        write: Takes one line if there is something to wait for.
    """
    with _hold(device, alone=False, write=write):
        yield


@contextmanager
def clock_alone(device: str, write: Callable[[str], None] = print) -> Iterator[bool]:
    """Time on a device while no study of this machine computes on it.

    A clock on a GPU keeps the processor to itself, too: small kernels wait for who launches them.
    Those who come while this waits stay behind it, so that many models do not keep a clock waiting
    for ever.

    Args:
        device: ``cpu`` or ``cuda``.
        write: Takes one line if there is something to wait for.

    Yields:
        Whether others are kept out; false where the system has no such locks.

    Raises:
        RuntimeError: Inside ``device_shared``, where it would wait for itself.
    """
    with ExitStack() as stack:
        # always in this order, so that two clocks cannot wait for each other
        names = dict.fromkeys(["cpu", device])
        held = [stack.enter_context(_hold(name, alone=True, write=write)) for name in names]
        yield all(held)


@contextmanager
def _hold(device: str, *, alone: bool, write: Callable[[str], None]) -> Iterator[bool]:
    name, held = _device_id(device), _held.get()
    if name in held:
        if alone and not held[name][0]:
            raise RuntimeError(f"a clock on {device} would wait for its own process to end")
        yield all(held[name])
        return
    with ExitStack() as stack:
        locked = False
        if fcntl is not None:
            with suppress(OSError):
                _enter(stack, device, name, alone, write)
                locked = True
        token = _held.set({**held, name: (alone, locked)})
        stack.callback(_held.reset, token)
        yield locked and alone


def _enter(
    stack: ExitStack, device: str, name: str, alone: bool, write: Callable[[str], None]
) -> None:
    """Take the lock of a device; whoever waits for it holds the turnstile: nobody overtakes."""
    reason = "another study computes" if alone else "another study times"
    told = f"waiting for {device}: {reason} on this device"
    with _locked(FOLDER / f"medunlearn-{name}.turn", told, write) as said:
        lock = FOLDER / f"medunlearn-{name}.lock"
        stack.enter_context(_locked(lock, "" if said else told, write, alone=alone))


@contextmanager
def _locked(
    path: Path, told: str, write: Callable[[str], None], *, alone: bool = True
) -> Iterator[bool]:
    """Hold a file's lock; whether this had to be waited for.

    Raises:
        OSError: The file belongs to somebody who shares it with nobody, or the system has no lock.
    """
    kind, waited = fcntl.LOCK_EX if alone else fcntl.LOCK_SH, False
    while True:
        file = _open(path)
        try:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if told and not waited:
                    write(told)
                waited = True
                fcntl.flock(file, kind)
            if _is_at(path, file):
                yield waited
                return
        finally:
            os.close(file)  # and the lock with it


def _open(path: Path) -> int:
    """Open a lock's file for reading, which a lock needs no more than, whoever has made it."""
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            try:
                # never O_CREAT on a file that may be another user's: in a folder for all, refused
                file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                continue
            os.fchmod(file, 0o644)  # whatever the umask
            return file


def _is_at(path: Path, file: int) -> bool:
    """Whether the file is still there by this name: old temporary files are swept by systems."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _device_id(device: str) -> str:
    """Name of a device on this machine, whatever number it has in this process."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
