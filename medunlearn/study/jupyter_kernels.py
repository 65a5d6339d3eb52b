"""Jupyter kernels that start in a fraction of a second, each with one processor thread.

A kernel that imports torch and MONAI by itself costs seconds. One that is forked from a process
that has imported them costs almost nothing: the standard library's fork server is that process.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import run_sync

LIBRARIES = (
    "matplotlib",  # not its inline backend, which hooks into the running kernel when imported
    "pandas",
    "pyarrow.parquet",
    "torch",
    "torch._dynamo",  # loaded by the first optimiser that a process makes: 1.3 s
    "monai.networks.nets",
)
KERNEL = (__name__, "ipykernel.kernelapp", "ipykernel.ipkernel")
IN_KERNELS = {
    # One and two threads give different bytes, and two kernels with one thread each train more.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Matplotlib reads it when imported, here long before a kernel could choose the backend.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
IN_IMPORTS = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's allocator would start a thread
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # looking for a GPU must not open it
}


class JobError(RuntimeError):
    """A notebook did not run to its end; the message says which cell and why."""


class _Kernel(ForkServerProcess):
    """A forked kernel; to `LocalProvisioner` it looks like a process of ``subprocess``."""

    stdin = stdout = stderr = None

    def __init__(self, command: list[str], environment: dict[str, str], folder: str | None) -> None:
        super().__init__()
        self.command, self.environment, self.folder = command, environment, folder

    def poll(self) -> int | None:
        """Exit code; none while it runs."""
        return self.exitcode

    def wait(self) -> int | None:
        """Exit code, as soon as there is one."""
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel and its children; just forked, it leads no group yet."""
        assert self.pid is not None
        for send in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                send(self.pid, number)
                break

    def run(self) -> None:
        """Be the kernel, in the child."""
        from ipykernel.kernelapp import IPKernelApp

        os.setsid()  # an interrupt at the terminal is the owner's to handle
        Thread(target=_end_with_owner, daemon=True).start()
        multiprocessing.set_start_method(None, force=True)  # a notebook may start processes
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(self.folder or os.curdir)
        for name in IN_IMPORTS:
            os.environ.pop(name, None)
        os.environ.update(self.environment | IN_KERNELS)
        if not Fork.is_sound:
            sys.exit(subprocess.call(self.command))
        sys.argv = self.command[self.command.index("ipykernel_launcher") :]
        IPKernelApp.launch_instance(parent_handle=os.getppid())  # it ends with the fork server


def _end_with_owner() -> None:
    """The fork server does not: a kernel holds open what would tell it of the owner's end."""
    owner = multiprocessing.parent_process()
    assert owner is not None
    owner.join()
    os.killpg(0, signal.SIGKILL)


class _Provisioner(LocalProvisioner):
    process: Any = None

    async def launch_kernel(self, cmd: list[str], **settings: Any) -> Any:
        kernel = _Kernel(cmd, settings["env"], settings.get("cwd"))
        kernel.start()  # before it counts as one
        self.process = kernel
        return self.connection_info


class _Manager(AsyncKernelManager):
    """Remembers the client made of it: nbclient leaves a client open whose manager it was given."""

    made: Any = None

    def client(self, **settings: Any) -> Any:
        self.made = super().client(**settings)
        return self.made


class WarmKernels:
    """Starts kernels, from any number of threads, until it is closed.

    No kernel survives the process that owns this object, however that ends. That process must not
    be daemonic. Its main module is imported anew by each kernel, as multiprocessing does, unless it
    is a notebook or the ``__main__`` of a package. It has one fork server, which lives until it
    ends; the first kernel waits until the fork server has imported its libraries. Where a fork is
    not sound, a kernel starts as usual: outside Linux, or if an import has started threads.

    Variables that Python or a library reads when it is imported come from this process, not from
    the environment of the single kernel.

    Args:
        libraries: Modules that the fork server imports beside the kernel's own, unless it runs
            already.
    """

    def __init__(self, libraries: Sequence[str] = LIBRARIES) -> None:
        root = tempfile.gettempdir()  # the path of a socket has at most about 100 bytes
        root = root if len(root) < 60 else "/tmp"
        self._files = tempfile.TemporaryDirectory(dir=root, ignore_cleanup_errors=True)
        self._numbers, self._lock, self._running = count(), Lock(), set[_Kernel]()
        self.closed = False
        multiprocessing.get_context("forkserver").set_forkserver_preload([*KERNEL, *libraries])

    def close(self) -> None:
        """End all kernels at once, from any thread; notebooks that still run end with an error."""
        with self._lock:
            self.closed = True
            for kernel in self._running:
                kernel.send_signal(signal.SIGKILL)
        self._files.cleanup()

    @contextmanager
    def kernel(self, environment: Mapping[str, str]) -> Iterator[AsyncKernelManager]:
        """Start a kernel, and kill it in the end: it holds nothing that is needed.

        Args:
            environment: Variables to set beside those of this process.

        Raises:
            JobError: After `close`.
        """
        path = Path(self._files.name, str(next(self._numbers)))
        manager = _Manager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # of this interpreter
            connection_file=f"{path}.json",
            transport="ipc",  # kernels race for free TCP ports
            ip=str(path),
        )
        starter = _Provisioner(kernel_spec=manager.kernel_spec, parent=manager)
        manager.provisioner = starter
        settings = {"extra_arguments": ["--HistoryManager.hist_file=:memory:"]}
        try:
            if not self.closed:
                run_sync(manager.start_kernel)(env={**os.environ, **environment}, **settings)
            with self._lock:
                if self.closed:
                    raise JobError("the kernels are closed")
                self._running.add(starter.process)
            yield manager
        finally:
            with self._lock:
                self._running.discard(starter.process)
            if manager.made is not None:
                manager.made.stop_channels()
            run_sync(manager.shutdown_kernel)(now=True)


class Fork:
    """Whether the latest fork gave a sound child: neither threads nor an open GPU survive it."""

    is_sound = False


def _look() -> None:
    """Look at this process before it forks; elsewhere than on Linux no fork is trusted."""
    gc.freeze()  # a collection in a kernel would otherwise copy the pages it shares
    with_gpu = {"/dev/nvidia-uvm", "/dev/kfd"}  # asking which GPUs there are opens neither
    if (process := Path("/proc/self")).exists():
        opened = {os.path.realpath(entry) for entry in (process / "fd").iterdir()}
        threads = list((process / "task").iterdir())
        Fork.is_sound = len(threads) == 1 and not opened & with_gpu


if vars(sys.modules["__main__"]).get("main") is forkserver.main:  # this is the fork server
    os.environ.update(IN_KERNELS | IN_IMPORTS)  # before it imports anything else
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends the imports, and says nothing
    os.register_at_fork(before=_look)
