"""What a dask worker has for one run: it tells whether it is fit, and executes notebooks."""

import multiprocessing
import platform
import socket
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from distributed import Worker, WorkerPlugin, get_worker

from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study.devices import fault_of_cuda, pin, visible_devices
from medunlearn.study.execution import execute
from medunlearn.study.journal import Ending
from medunlearn.study.kernels import LIBRARIES, WarmKernels
from medunlearn.study.study import PROJECT


class Kernels(WorkerPlugin):
    """Kernels on every worker of a run; they end with the worker, the run, and its driver.

    Args:
        folder: The study's; every worker must see it.
        data_root: Folder of the datasets, or empty.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, folder: Path, data_root: str, device: str) -> None:
        self.name = f"medunlearn-{uuid4().hex[:12]}"
        self.marker = folder / "jobs" / f".{self.name}"
        self.data_root, self.device, self.libraries = data_root, device, LIBRARIES
        self.code = code_version()

    def faults(self) -> list[str]:
        """Why the process in which this is called cannot execute jobs of the study."""
        faults, shared = [], "must lie in a file system that all workers share"
        # listing asks a network's file system anew; one file is looked up in what is remembered
        if self.marker not in self.marker.parent.glob(".*"):
            faults.append(f"does not see the study in {self.marker.parents[1]}: RUNS {shared}")
        if self.data_root and not Path(self.data_root).is_dir():
            faults.append(f"does not see {self.data_root}: DATA {shared}")
        if (here := code_version()) != self.code:
            faults.append(f"has other code than the command: {here}, expected {self.code}")
        if self.device == "cuda" and (fault := fault_of_cuda()):
            faults.append(f"cannot compute on cuda: {fault}")
        if multiprocessing.current_process().daemon:
            faults.append("can start no kernel under its nanny: start it with --no-nanny")
        return faults

    def setup(self, worker: Worker) -> None:
        """Know the worker; one that joins a run and is not fit for it is sent away."""
        self.worker, self.kernels = worker, WarmKernels(libraries=self.libraries).__enter__()
        devices = visible_devices() if self.device == "cuda" else []
        self.places = [pin(slot, devices) for slot in range(worker.state.nthreads)]
        if faults := self.faults():
            who = f"the worker {worker.address} on {socket.gethostname()}"
            self.tell(f"{who} is sent away, for it {'; '.join(faults)}")
            worker.loop.add_callback(worker.close)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - as dask calls it
        """End the kernels: the run is over, or the worker ends."""
        self.kernels.close()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """End the kernels when a job is called back: its driver is gone."""
        if self.name in str(key) and (start, finish) == ("executing", "released"):
            threading.Thread(target=self.kernels.close).start()  # dask must not wait for it

    def tell(self, line: str) -> None:
        """Show a line where the run was started."""
        self.worker.log_event(self.name, line)

    def _pass_on(self, job: str) -> Callable[[str], None]:
        """Take what a notebook prints, and tell, once each, what it waits for."""
        told = set[str]()

        def write(text: str) -> None:
            for line in {x for x in text.splitlines() if x.startswith("waiting for ")} - told:
                told.add(line)
                self.tell(f"{'':<12} {job:<46} {line}")

        return write

    def execute(self, notebook: Path, output: Path, parameters: dict[str, Any]) -> Ending:
        """Execute a notebook; whatever fails in it is told, not raised: it may travel far."""
        for folder in (output.parent, output.parent.with_name("models")):
            list(folder.glob("*"))  # what other hosts have written is to be seen here
        start, fault, place = time.monotonic(), None, self.places.pop()
        said = SimpleNamespace(write=self._pass_on(output.stem), flush=lambda: None)
        try:
            execute(notebook, output, parameters, self.kernels, environment=place, stdout=said)
        except Exception as error:
            fault = str(error) or type(error).__name__
        finally:
            self.places.append(place)
        return Ending(time.monotonic() - start, fault, socket.gethostname())


def execute_on_worker(run: str, *job: Any) -> Ending:
    """Execute a notebook on the kernels that this worker has for a run."""
    kernels = get_worker().plugins[run]
    assert isinstance(kernels, Kernels)
    return kernels.execute(*job)


def code_version() -> str:
    """What decides a result beside the study: a hash of package and notebooks, and versions."""
    patterns = ("medunlearn/**/*.py", "medunlearn/**/*.yaml", "notebooks/*.ipynb")
    files = [path for pattern in patterns for path in PROJECT.glob(pattern)]
    code = canonical_hash({str(path.relative_to(PROJECT)): file_hash(path) for path in files})
    python = ".".join(platform.python_version_tuple()[:2])
    packages = [f"{name} {version(name).split('+')[0]}" for name in ("torch", "monai", "numpy")]
    return ", ".join([f"medunlearn {code[:12]}", f"python {python}", *packages])
