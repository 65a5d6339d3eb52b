"""What a dask worker does for a run: it checks that it is fit, then executes tasks on kernels."""

import platform
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed import Worker, WorkerPlugin, get_worker

from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study.devices import fault_of_cuda, pin
from medunlearn.study.tasks import Ending, Task

PATIENCE = 2.0
"""Seconds to look for a file that another host has just written."""

if TYPE_CHECKING:
    from medunlearn.study.kernels import WarmKernels


class UnfitWorkerError(RuntimeError):
    """A worker cannot execute jobs of this study; the message names it and tells why.

    Args:
        address: Of the worker.
        faults: Why, each naming it.
    """

    def __init__(self, address: str, faults: Sequence[str]) -> None:
        super().__init__(address, faults)  # so that it can be pickled
        self.address, self.faults = address, faults

    def __str__(self) -> str:
        return "; ".join(self.faults)


class Terms(NamedTuple):
    """What a worker must offer, and how it executes the tasks of one run.

    Args:
        run: Name of the run.
        marker: A file in the study's folder that every worker must see.
        data_root: Folder of the datasets, or empty.
        code: What must be the same there, as from ``fingerprint``.
        gpu: A worker has a GPU, and one thread, for its jobs share it.
        devices: Values for CUDA_VISIBLE_DEVICES, one a worker in turn.
        libraries: Modules that the kernels' warm parent imports.
    """

    run: str
    marker: Path
    data_root: str
    code: dict[str, str]
    gpu: bool
    devices: Sequence[str]
    libraries: Sequence[str]


def fingerprint(project: Path = Path(__file__).parents[2]) -> dict[str, str]:
    """What decides a result beside the task: hash of package and notebooks, and versions.

    Args:
        project: Folder of the package and the notebooks.
    """
    files = [*project.glob("medunlearn/**/*.py"), *project.glob("medunlearn/**/*.yaml")]
    files += project.glob("notebooks/*.ipynb")
    code = {str(path.relative_to(project)): file_hash(path) for path in files}
    found = {"medunlearn": canonical_hash(code)[:12]}
    found["python"] = ".".join(platform.python_version_tuple()[:2])
    for package in ("torch", "monai", "numpy"):
        try:
            found[package] = version(package).split("+")[0]
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def faults_of_worker(terms: Terms, dask_worker: Worker) -> list[str]:
    """Why a worker cannot execute jobs of the study, each naming it; nothing if it can.

    Args:
        terms: What it must offer.
        dask_worker: The worker, in whose process this runs; dask gives it by this name.
    """
    faults, deadline = [], time.monotonic() + PATIENCE
    while not _is_there(terms.marker) and time.monotonic() < deadline:
        time.sleep(0.2)
    shared = "must lie in a file system that all workers share"
    if not _is_there(terms.marker):
        faults.append(f"does not see the study in {terms.marker.parents[1]}: RUNS {shared}")
    if terms.data_root and not Path(terms.data_root).is_dir():
        faults.append(f"does not see {terms.data_root}: DATA {shared}")
    for name, here in fingerprint().items():
        if here != terms.code[name]:
            faults.append(
                f"has another {name}: {here}, expected {terms.code[name]}; start workers in the "
                "environment, and on the copy of the project, that runs the command"
            )
    threads = dask_worker.state.nthreads
    if terms.gpu and threads > 1:
        faults.append(f"has {threads} threads, but a GPU takes one job: use --nthreads 1")
    if terms.gpu and (fault := fault_of_cuda()):
        faults.append(f"cannot compute on cuda: {fault}")
    place = f"the worker {dask_worker.address} on {socket.gethostname()}"
    return [f"{place} {fault}" for fault in faults]


def _is_there(path: Path) -> bool:
    """Listing the folder asks a network's file system anew; a lookup may be answered from memory.

    A file that was missing a moment ago stays missing there for up to a minute otherwise.
    """
    try:
        return path in path.parent.iterdir()
    except OSError:
        return False


class KernelsOfWorker(WorkerPlugin):
    """Kernels of one worker for one run; they end with the worker, the run, and its driver.

    Args:
        terms: What a worker must offer, and how it executes tasks.
    """

    def __init__(self, terms: Terms) -> None:
        self.name = terms.run
        self.terms = terms

    def setup(self, worker: Worker) -> None:
        """Know the worker; nothing is started before the first task."""
        self.worker = worker
        self.closed = False
        self.lock = threading.Lock()
        self.kernels: WarmKernels | None = None
        self.faults: list[str] | None = None
        if threading.current_thread() is threading.main_thread():
            # An interrupt at the terminal reaches the workers of this machine, too: the driver
            # handles it, and ends them.
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - as dask calls it
        """End the kernels: the run is over, or the worker ends."""
        self.close()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """End the kernels when a task is called back: its driver is gone."""
        if self.name in str(key) and (start, finish) == ("executing", "released"):
            threading.Thread(target=self.close).start()  # dask must not wait for it

    def close(self) -> None:
        """End the kernels and start no more; from any thread."""
        with self.lock:
            self.closed = True
            kernels, self.kernels = self.kernels, None
        if kernels is not None:
            kernels.close()

    def execute(self, task: Task) -> Ending:
        """Execute a task on a kernel of this worker.

        Raises:
            UnfitWorkerError: This worker cannot: it may have joined after the run's start.
        """
        if self.faults is None:
            self.faults = faults_of_worker(self.terms, self.worker)
        if self.faults:
            raise UnfitWorkerError(self.worker.address, self.faults)
        for folder in (task.output.parent, task.output.parent.with_name("models")):
            with suppress(OSError):  # see _is_there: what other hosts have made is to be seen here
                list(folder.iterdir())
        from medunlearn.study.carriers import carry_out  # seconds: not before there is work

        return carry_out(task, self._warm(), pin(self._slot(), self.terms.devices))

    def _slot(self) -> int:
        """Number of a worker of a LocalCluster, which outlives its process."""
        name = str(self.worker.name)
        return int(name) if name.isdecimal() else 0

    def _warm(self) -> "WarmKernels":
        with self.lock:
            if self.closed:
                raise RuntimeError("the run has ended")
            if self.kernels is None:
                from medunlearn.study.kernels import WarmKernels

                self.kernels = WarmKernels(libraries=self.terms.libraries).__enter__()
            return self.kernels


def execute_on_worker(run: str, task: Task) -> Ending:
    """Execute a task on the kernels that this worker has for a run."""
    plugin = get_worker().plugins[run]
    assert isinstance(plugin, KernelsOfWorker)
    return plugin.execute(task)
