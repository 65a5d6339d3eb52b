"""The warm parent: imports the slow libraries once, then forks a kernel for every request.

Run by path, so that a kernel finds the module search path of a fresh interpreter. Linux only. It
stays single-threaded and runs no operation of the libraries: only then is a fork sound.
"""

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import select
import selectors
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

OWNER = 0  # standard input: a pipe that the owner holds open for as long as it lives
PR_SET_PDEATHSIG = 1


class Request(NamedTuple):
    """The command line of ``ipykernel``, its working folder and all of its variables."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


def forkable() -> bool:
    """Tell whether this process has one thread and no open GPU, for neither survives a fork."""
    files = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    # CUDA opens the first, ROCm the second; only asking which GPUs there are opens neither.
    gpu = "/dev/nvidia-uvm" in files or "/dev/kfd" in files
    return len(list(Path("/proc/self/task").iterdir())) == 1 and not gpu


def send(kernel: int, number: int) -> None:
    """Send a signal to a kernel and to what it started."""
    with suppress(ProcessLookupError):
        try:
            os.killpg(kernel, number)
        except ProcessLookupError:  # not yet the leader of its group
            os.kill(kernel, number)


class Server:
    """Forks kernels and ends each one with its client.

    A client sends one line of JSON, then a byte per signal. It is sent a line with the kernel's
    process id (``cold`` where this process must not fork), then one with its exit status.
    """

    def __init__(self, listener: socket.socket, forks: bool) -> None:
        self.listener = listener
        self.forks = forks
        self.process = os.getpid()
        self.pending: dict[socket.socket, bytes] = {}
        self.kernels: dict[socket.socket, int] = {}
        self.alarm, self.bell = socket.socketpair()
        self.bell.setblocking(False)
        self.selector = selectors.DefaultSelector()
        for source in (OWNER, self.listener, self.alarm):
            self.selector.register(source, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler the bell stays silent
        signal.set_wakeup_fd(self.bell.fileno())

    def serve(self) -> Request | None:
        """Serve until the owner is gone (None) or, in a forked child, return its request."""
        owner = os.getppid()
        while os.getppid() == owner:  # beside the pipe, which a fork of the owner may hold open
            for key, _ in self.selector.select(timeout=1):
                source = key.fileobj
                if source == OWNER:
                    return None
                if source is self.alarm:
                    self.alarm.recv(4096)
                elif source is self.listener:
                    link, _ = self.listener.accept()
                    self.pending[link] = b""
                    self.selector.register(link, selectors.EVENT_READ)
                elif isinstance(source, socket.socket) and (request := self._read(source)):
                    return request
            self._reap()
        return None

    def close(self, kill: bool) -> None:
        """Close every socket; if asked, end every kernel first and wait until it is gone."""
        if kill:
            for kernel in self.kernels.values():
                send(kernel, signal.SIGKILL)
            for kernel in self.kernels.values():
                os.waitpid(kernel, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for link in (*self.pending, *self.kernels, self.listener, self.alarm, self.bell):
            link.close()
        self.selector.close()

    def _read(self, link: socket.socket) -> Request | None:
        data = b""
        with suppress(OSError):
            data = link.recv(1 << 16)
        if link in self.kernels:
            for number in data or [signal.SIGKILL]:  # nothing: the client is gone
                send(self.kernels[link], number)
        elif b"\n" in data:
            request = Request(**json.loads(self.pending.pop(link) + data))
            return self._fork(link, request)
        else:
            self.pending[link] += data
        if not data:
            self._forget(link)
        return None

    def _fork(self, link: socket.socket, request: Request) -> Request | None:
        answer = b"cold\n"
        self.pending[link] = b""
        if self.forks:
            kernel = os.fork()
            if kernel == 0:
                os.setsid()
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != self.process:  # it died before the line above could matter
                    os._exit(1)
                return request
            del self.pending[link]
            self.kernels[link] = kernel
            answer = b"%d\n" % kernel
        with suppress(OSError):  # a client that has died is noticed when it is read
            link.sendall(answer)
        return None

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                for link in [link for link, kernel in self.kernels.items() if kernel == ended[0]]:
                    with suppress(OSError):
                        link.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
                    self._forget(link)

    def _forget(self, link: socket.socket) -> None:
        self.selector.unregister(link)
        self.pending.pop(link, None)
        self.kernels.pop(link, None)
        link.close()


def _run_kernel(request: Request, imported: dict[str, str]) -> None:
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(imported | request.environment)
    sys.argv = ["ipykernel_launcher", *request.arguments]
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    application = importlib.import_module("ipykernel.kernelapp").IPKernelApp
    try:
        # A second net beside the death signal; the default was read at the import.
        application.launch_instance(parent_handle=os.getppid())
    except BaseException:
        atexit.unregister(os._exit)  # it would hide the exit code
        raise


def main(folder: str, listener: int, libraries: list[str]) -> None:
    """Import the libraries, then serve on a socket that was passed down; leave no folder."""
    # During the imports nobody looks at the pipe: let its end end this process by a signal.
    fcntl.fcntl(OWNER, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(OWNER, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([OWNER], [], [], 0)[0]:  # it has ended before
        return
    if not sys.flags.safe_path:
        del sys.path[0]  # this file's folder
    # First in, last out: to take down torch piece by piece costs as much as the kernel's start.
    atexit.register(os._exit, 0)
    given = dict(os.environ)
    for library in ("ipykernel.kernelapp", "ipykernel.ipkernel", *libraries):
        importlib.import_module(library)
    imported = {name: value for name, value in os.environ.items() if given.get(name) != value}
    gc.freeze()  # a collection in a kernel would otherwise copy the pages it shares
    server = Server(socket.socket(fileno=listener), forkable())
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # from here on `serve` looks at the pipe
    request = server.serve()
    server.close(kill=request is None)
    if request is not None:
        _run_kernel(request, imported)
    else:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
