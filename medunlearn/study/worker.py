"""What a dask worker has for one run: it tells whether it is fit, and executes notebooks.

Of an executed notebook nothing is trusted but what it says itself.
"""

import logging
import socket
import threading
import time
from collections.abc import Mapping
from contextvars import Context
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import papermill
from distributed import Worker, WorkerPlugin, get_worker
from jupyter_core.utils import ensure_event_loop
from nbformat import NotebookNode

from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study.devices import cuda_count, visible_devices
from medunlearn.study.engine import Ending
from medunlearn.study.jupyter_kernels import LIBRARIES, JobError, WarmKernels
from medunlearn.study.keys import versions
from medunlearn.study.study import PROJECT

START_TIMEOUT = 900
"""Seconds until a kernel must answer; one that dies is noticed before."""

logging.getLogger("papermill").setLevel(logging.CRITICAL + 1)  # its errors are raised as well


class Kernels(WorkerPlugin):
    """Kernels on every worker of a run; they end with the worker, the run, and its driver.

    Args:
        folder: The study's; every worker must see it.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.name = f"medunlearn-{uuid4().hex[:12]}"
        self.folder, self.device = folder, device
        self.libraries, self.code = LIBRARIES, code_version()

    def fault(self) -> str:
        """Why the process in which this is called cannot execute jobs of the study; else empty."""
        if not self.folder.is_dir():
            shared = "must lie in a file system that all workers share"
            return f"does not see {self.folder}: RUNS {shared}"
        here = code_version()
        if here != self.code:
            return f"has other code than the command: {here}, expected {self.code}"
        blind = self.device == "cuda" and not cuda_count()
        return "cannot compute on cuda: torch sees no CUDA device there" if blind else ""

    def setup(self, worker: Worker) -> None:
        """Get ready on a worker; one that joins a run and is not fit for it is sent away."""
        self.worker, self.told, self.kernels = worker, set[str](), WarmKernels(self.libraries)
        devices = visible_devices() if self.device == "cuda" else []
        places = [{"CUDA_VISIBLE_DEVICES": name} for name in devices] or [{}]
        self.places = list(islice(cycle(places), worker.state.nthreads))  # devices in turn
        if fault := self.fault():
            who = f"the worker {worker.address} on {socket.gethostname()}"
            worker.log_event(self.name, f"{who} is sent away, for it {fault}")
            worker.loop.add_callback(worker.close)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - as dask calls it
        """End the kernels: the run is over, or the worker ends."""
        self.kernels.close()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """End the kernels when a job is called back: its driver is gone."""
        if self.name in str(key) and (start, finish) == ("executing", "released"):
            threading.Thread(target=self.kernels.close).start()  # dask must not wait for it

    def _pass_on(self, job: str, text: str) -> None:
        """Tell what a notebook waits for where the run was started, once: each model may wait."""
        for line in text.splitlines():
            told = f"{'':<12} {job:<46} {line}"
            if line.startswith("waiting for ") and told not in self.told:
                self.told.add(told)
                self.worker.log_event(self.name, told)

    def execute(self, notebook: Path, output: Path, parameters: dict[str, Any]) -> Ending:
        """Execute a notebook; whatever fails in it is told, not raised: it may travel far."""
        for folder in (output.parent, output.parent.with_name("models")):
            list(folder.glob("*"))  # what other hosts have written is to be seen here
        start, fault, place = time.monotonic(), None, self.places.pop()
        said = SimpleNamespace(write=partial(self._pass_on, output.stem), flush=lambda: None)
        try:
            execute(notebook, output, parameters, self.kernels, place, said)
        except Exception as error:
            fault = str(error) or type(error).__name__
        finally:
            self.places.append(place)
        return Ending(round(time.monotonic() - start, 2), fault, socket.gethostname())


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
    return ", ".join(f"{k} {v}" for k, v in {"medunlearn": code[:12], **versions()}.items())


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    kernels: WarmKernels,
    environment: Mapping[str, str] | None = None,
    stdout: Any = None,
) -> None:
    """Run a notebook; `output` appears whole by one rename, or not at all.

    ``<stem>.partial.ipynb`` beside it holds the cells done so far; after a failure it stays as
    ``<stem>.failed.ipynb``. May be called from many threads if none changes the working folder.

    Args:
        notebook: Notebook with a cell tagged ``parameters``.
        output: Where the executed notebook goes; its folder exists.
        parameters: Values for names of the parameters cell; of another name papermill only warns.
        kernels: Where the kernel comes from.
        environment: Variables for the kernel beside those of this process.
        stdout: A file that gets, besides, what the notebook prints, at once.

    Raises:
        JobError: A cell failed, or the kernel died or was closed.
    """
    begun, failed = (output.with_suffix(f".{state}.ipynb") for state in ("partial", "failed"))
    for stale in (output, failed):
        stale.unlink(missing_ok=True)
    job = {
        "input_path": str(notebook.resolve()),
        "output_path": str(begun.resolve()),
        "parameters": dict(parameters),
        "start_timeout": START_TIMEOUT,
        "iopub_timeout": 60,  # 4 s, the default, fails cells with much output under load
        "progress_bar": False,
        "stdout_file": stdout,
    }
    try:
        # In a context of its own, for that of the caller may hold another thread's event loop.
        _check_complete(Context().run(_run, job, kernels, environment or {}))
    except BaseException:
        if begun.exists():
            begun.replace(failed)
        raise
    begun.replace(output)


def _run(
    job: Mapping[str, Any], kernels: WarmKernels, environment: Mapping[str, str]
) -> NotebookNode:
    loop = ensure_event_loop()  # jupyter_core's, which leaves it open
    try:
        with kernels.kernel(environment) as kernel:
            job = {**job, "km": kernel, "kernel_name": kernel.kernel_name}
            executed: NotebookNode = papermill.execute_notebook(**job)
            return executed
    except papermill.PapermillExecutionError as error:
        raise JobError(f"cell [{error.exec_count}]: {error.ename}: {error.evalue}") from error
    except (RuntimeError, OSError) as error:
        raise JobError(str(error).partition("\n")[0] or type(error).__name__) from error
    finally:
        if not loop.is_running():
            loop.close()


def _check_complete(executed: NotebookNode) -> None:
    """Refuse a notebook that papermill calls done although its kernel had died."""
    for cell in executed.cells:
        if cell.cell_type == "code" and cell.source.strip():
            # The count is set when a cell starts, the time of the reply when it has ended.
            ended = "shell.execute_reply" in cell.metadata.get("execution", {})
            failed = any(output.output_type == "error" for output in cell.outputs)
            if failed or cell.execution_count is None or not ended:
                first = cell.source.strip().splitlines()[0]
                raise JobError(f"the cell {first!r} did not run to its end")
