"""What Jupyter starts in place of a kernel: asks the warm parent for one and stands in for it.

Run by path with the standard library alone, so that it costs no more than a bare interpreter. It
ends with the kernel's exit code, relays signals, and becomes an ordinary kernel where no warm one
can be had.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType


def ask(link: socket.socket, address: str, arguments: list[str]) -> int | None:
    """Ask the warm parent for a kernel.

    Args:
        link: Unconnected socket; the kernel lives no longer than it.
        address: Path of the warm parent's socket.
        arguments: Command line of ``ipykernel``.

    Returns:
        Process id of the kernel; None where there is no warm one to be had.
    """
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
    try:
        link.connect(address)
        link.sendall(json.dumps(request).encode() + b"\n")
        answer = link.recv(64).strip()
    except OSError:
        return None
    return int(answer) if answer.isdigit() else None


def stand_in(link: socket.socket, kernel: int) -> int:
    """Relay signals to the kernel until it ends; return its exit code as a shell would tell it."""

    def relay(number: int, _: FrameType | None) -> None:
        with suppress(OSError):
            link.sendall(bytes([number]))

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, relay)
    try:
        code = int(link.recv(64))
    except (OSError, ValueError):  # the warm parent is gone; what the kernel started may not be
        with suppress(ProcessLookupError):
            os.killpg(kernel, signal.SIGKILL)
        code = -signal.SIGKILL
    return code if code >= 0 else 128 - code


def main(address: str, *arguments: str) -> int:
    """Run one kernel, a warm one if possible."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it waits, an interrupt is a plain end
    with socket.socket(socket.AF_UNIX) as link:
        kernel = ask(link, address, list(arguments))
        if kernel is not None:
            return stand_in(link, kernel)
    if os.getppid() == int(os.environ["JPY_PARENT_PID"]):  # else nobody is left who would end it
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *arguments])
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
