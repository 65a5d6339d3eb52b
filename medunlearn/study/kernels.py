"""Jupyter kernels that start in a fraction of a second, each with one processor thread.

A kernel that imports torch and MONAI by itself costs seconds; one forked from a parent that has
imported them costs almost nothing. ``kernel_server.py`` is that parent, ``kernel_client.py`` what
Jupyter starts.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import run_sync

HERE = Path(__file__).parent
ENVIRONMENT = {
    # One and two threads give different bytes, and two kernels with one thread each train more.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Matplotlib reads it when imported, here long before a kernel could choose the backend.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
LIBRARIES = (
    "matplotlib",  # not its inline backend, which hooks into the running kernel when imported
    "pandas",
    "pyarrow.parquet",
    "torch",
    "torch._dynamo",  # loaded by the first optimiser that a process makes: 1.3 s
    "monai.networks.nets",
)
WARM_PARENT_ENVIRONMENT = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's allocator would start a thread
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # looking for a GPU must not open it
}


class ClosedError(RuntimeError):
    """A kernel was asked for after `WarmKernels.close`."""


class _Manager(AsyncKernelManager):
    """Remembers the client made of it: nbclient leaves a client open whose manager it was given."""

    made: Any = None

    def client(self, **settings: Any) -> Any:
        self.made = super().client(**settings)
        return self.made


class WarmKernels:
    """Starts kernels, from any number of threads, and lets none outlive it.

    Entering returns at once; the first kernel waits for the warm parent. No kernel survives the
    process that owns this object, however that ends.

    Variables that Python or a library reads when it is imported come from this process, not from
    the environment of the single kernel.

    Args:
        warm: Fork kernels from a warm parent; ordinary kernels otherwise, and wherever a fork is
            not sound: outside Linux, or when an import has started threads or opened a GPU.
        libraries: Modules that the warm parent imports beside the kernel's own.
    """

    def __init__(self, warm: bool = True, libraries: Sequence[str] = LIBRARIES) -> None:
        self._libraries = libraries
        self._warm = warm and sys.platform == "linux"
        self._lock = threading.Lock()
        self._running: dict[_Manager, subprocess.Popen[Any] | None] = {}
        self._numbers = count()
        self._server: subprocess.Popen[bytes] | None = None
        self.closed = False

    def __enter__(self) -> Self:
        root = tempfile.gettempdir()  # the path of a socket has at most about 100 bytes
        self.folder = Path(
            tempfile.mkdtemp(prefix="kernels-", dir=root if len(root) < 60 else "/tmp")
        )
        command = [sys.executable, "-m", "ipykernel_launcher"]
        if self._warm:
            self._start_server()
            client = str(HERE / "kernel_client.py")
            command = [sys.executable, "-I", "-S", client, str(self.folder / "server")]
        spec = {
            "argv": [*command, "-f", "{connection_file}", "--HistoryManager.hist_file=:memory:"],
            "display_name": "Python 3",
            "language": "python",
            "env": ENVIRONMENT,
        }
        (self.folder / "kernels" / "python3").mkdir(parents=True)
        (self.folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def kernel(self, environment: Mapping[str, str] | None = None) -> Iterator[AsyncKernelManager]:
        """Start a kernel and shut it down at the end, at once if that end is an exception.

        Args:
            environment: Variables to set beside those of this process.

        Raises:
            ClosedError: After `close`.
        """
        folder = self.folder / str(next(self._numbers))
        manager = _Manager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(
                kernel_dirs=[str(self.folder / "kernels")], ensure_native_kernel=False
            ),
            connection_file=str(folder / "connection.json"),
            shutdown_wait_time=2.0,  # one shutdown of ipykernel in twenty hangs; 5 s is the default
            transport="ipc" if os.name == "posix" else "tcp",  # kernels race for free TCP ports
            **({"ip": str(folder / "k")} if os.name == "posix" else {}),
        )
        clean = False
        try:
            with self._lock:
                if self.closed:
                    raise ClosedError("the kernels are closed")
                folder.mkdir()
                run_sync(manager.start_kernel)(env={**os.environ, **(environment or {})})
                if isinstance(manager.provisioner, LocalProvisioner):
                    self._running[manager] = manager.provisioner.process
            yield manager
            clean = True
        finally:
            self._end(manager, now=not clean)
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """End all kernels at once, from any thread; notebooks that still run end with an error."""
        with self._lock:
            self.closed = True
            for process in list(self._running.values()):
                if process is not None and process.poll() is None:
                    _kill(process)
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            try:
                self._server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                _kill(self._server)
                self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_server(self) -> None:
        with socket(AF_UNIX) as listener:
            listener.bind(str(self.folder / "server"))
            listener.listen(1024)  # clients may connect, and wait, before the server is ready
            # Only the server keeps the socket: a client notices at once that it has died.
            self._server = subprocess.Popen(
                # The filter: tqdm would note in every session that ipywidgets are missing.
                [
                    sys.executable,
                    "-W",
                    "ignore:IProgress",
                    str(HERE / "kernel_server.py"),
                    str(self.folder),
                    str(listener.fileno()),
                    *self._libraries,
                ],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # an interrupt at the terminal is the owner's to handle
                env={**os.environ, **ENVIRONMENT, **WARM_PARENT_ENVIRONMENT},
            )

    def _end(self, manager: _Manager, now: bool) -> None:
        if manager.made is not None:
            manager.made.stop_channels()
        run_sync(manager.shutdown_kernel)(now=now)
        self._running.pop(manager, None)


def _kill(process: subprocess.Popen[Any]) -> None:
    if os.name != "posix":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
