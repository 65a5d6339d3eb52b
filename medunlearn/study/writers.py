"""Who writes a folder that has not got its name yet, and whether that process still lives."""

import os
import socket
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Fate = Literal["alive", "dead", "unknown"]

OLD = 48 * 3600
"""Seconds after which an untouched folder of an unknown process is nobody's any more: a notebook's
cell may take six hours, and clocks of hosts differ."""


@dataclass(frozen=True)
class Writer:
    """A process and the model that it writes, as told by the name of the folder.

    Args:
        key: Of the model.
        host: Name of the machine.
        space: In which the process has its number; containers of one machine have one each.
        process: Its number.
        started: When it started, counted by the machine, for numbers are used again.
    """

    key: str
    host: str
    space: str
    process: str
    started: str

    @property
    def fate(self) -> Fate:
        """Whether the process still runs; ``unknown`` for one of another machine."""
        if (self.host, self.space) != (socket.gethostname(), _space()):
            return "unknown"
        started = _started(self.process)
        return "alive" if started is not None and started == self.started else "dead"


def make_folder(parent: Path, prefix: str, key: str) -> Path:
    """A new private folder of this process, ``<prefix>-<key>-<host>-<process>...``."""
    own = str(os.getpid())
    parts = (prefix, key, socket.gethostname(), _space(), own, _started(own), "")
    return Path(tempfile.mkdtemp(prefix="-".join(map(str, parts)), dir=parent))


def writer_of(folder: Path) -> Writer | None:
    """Whose folder it is, by its name; none if that tells nothing."""
    try:
        _, key, rest = folder.name.split("-", 2)
        host, space, process, started, _ = rest.rsplit("-", 4)
    except ValueError:
        return None
    return Writer(key, host, space, process, started)


def fate_of(folder: Path) -> Fate:
    """Whether somebody still writes this folder."""
    writer = writer_of(folder)
    return writer.fate if writer else "unknown"


def is_abandoned(folder: Path) -> bool:
    """Whether it may be swept: its process is dead, or unknown and silent for two days."""
    fate = fate_of(folder)
    if fate != "unknown":
        return fate == "dead"
    try:
        times = [path.stat().st_mtime for path in (folder, *folder.rglob("*"))]
    except OSError:  # it is being written, or has just got its name
        return False
    return time.time() - max(times) > OLD


@cache
def _space() -> str:
    """The space of process numbers; one for all where the system does not tell."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _started(process: str) -> str | None:
    """When a process of this machine started, in ticks since its boot; none if it is not there.

    Where the system does not tell, ``0`` for every process that is there.
    """
    try:
        # the name, in brackets, may hold anything
        fields = Path(f"/proc/{int(process)}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except ValueError:
        return None
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "0"
