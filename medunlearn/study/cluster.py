"""Where notebooks run: on dask workers in this process, in jobs of Slurm, or of any scheduler."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from medunlearn.errors import InputError
from medunlearn.study.devices import default_jobs
from medunlearn.study.engine import Ending, LostError
from medunlearn.study.slurm import SlurmJobs
from medunlearn.study.study import PROJECT
from medunlearn.study.worker import Kernels, execute_on_worker

ALLOWED_FAILURES = 10
"""Workers that a job may lose: walltimes end, and each worker makes some of its models."""
CONNECT_TIMEOUT = 15
"""Seconds for a scheduler to answer."""
LOST = (OSError, ValueError, CancelledError)
"""What dask raises when it can speak to its scheduler no more."""


def check_cluster(cluster: str, jobs: int | None) -> None:
    """Refuse a cluster that cannot be had, before anything is started.

    Args:
        cluster: The variable CLUSTER.
        jobs: The variable JOBS, if it was given.

    Raises:
        InputError: All that is wrong or missing.
    """
    faults = []
    if cluster == "slurm":
        if find_spec("dask_jobqueue") is None:
            faults.append("it needs dask_jobqueue: pip install dask-jobqueue")
        if jobs is None:
            faults.append("say with JOBS=... how many Slurm jobs, of one worker each, to ask for")
        if shutil.which("sbatch") is None:
            faults.append("there is no sbatch here: start this where jobs are submitted")
    elif cluster not in {"", "local"} and not cluster.startswith(("tcp://", "tls://")):
        choices = "local or nothing (this machine), slurm, tcp://host:port or tls://host:port"
        faults.append(f"it is not known; choose from {choices}")
    if faults:
        raise InputError(f"CLUSTER={cluster}", faults)


@dataclass
class Workers:
    """Gives notebooks to the workers of a dask scheduler.

    Args:
        client: Connection to the scheduler.
        run: Name of the run, and of its ``Kernels`` on every worker.
        limit: At most so many notebooks at a time.
        write: Takes a line when workers come or go.
        tend: Called again and again: asks for workers in place of those that ended.
        threads: Of all workers, as they were told last.
    """

    client: Client
    run: str
    limit: int
    write: Callable[[str], None]
    tend: Callable[[], None] | None
    threads: int | None

    def __post_init__(self) -> None:
        self.address = self.client.scheduler_info()["address"]  # a lost scheduler has none

    def slots(self) -> int:
        """Notebooks that may run at once, now.

        Raises:
            LostError: The connection to the scheduler is lost, or Slurm's jobs end in vain.
        """
        if self.tend:
            self.tend()
        if self.client.status != "running":
            raise self._lost()
        try:
            threads: int = sum(self.client.nthreads().values())
        except LOST:
            raise self._lost() from None
        if threads != self.threads:
            places = f"{threads} notebooks at a time" if threads else "waiting for a worker"
            self.write(f"{'':<12} {places}")
            self.threads = threads
        return min(threads, self.limit)

    def submit(self, notebook: Path, output: Path, parameters: dict[str, Any]) -> Future[Ending]:
        """Start a notebook on whichever worker dask chooses.

        Raises:
            LostError: The connection to the scheduler is lost.
        """
        job, key = (notebook, output, parameters), f"{output.stem}-{self.run}"
        return self.client.submit(execute_on_worker, self.run, *job, key=key, pure=False)

    def ending(self, future: Future[Ending]) -> Ending:
        """How a notebook ended.

        Raises:
            LostError: The connection to the scheduler is lost.
        """
        try:
            return future.result()
        except KilledWorker as death:
            lost = f"{death.allowed_failures + 1} workers died executing it, the last one at"
            ask = "is the walltime or memory of a Slurm job less than a notebook's start takes"
            return Ending(0, f"{lost} {death.last_worker.address}: {ask}?")
        except LOST:
            raise self._lost() from None

    def _lost(self) -> LostError:
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # it says the same
        return LostError(
            f"the connection to the scheduler at {self.address} is lost; what is finished is kept: "
            "the same command, with another CLUSTER or none, goes on from here"
        )


@contextmanager
def open_workers(
    cluster: str, kernels: Kernels, jobs: int | None, write: Callable[[str], None]
) -> Iterator[Workers]:
    """Start workers, or connect to them; what was started ends with the context.

    Args:
        cluster: Empty or ``local``, ``slurm``, or the address of a scheduler.
        kernels: What each worker gets.
        jobs: Notebooks at a time; none: as many as there are places for.
        write: Takes a line.

    Raises:
        InputError: There is no such scheduler, or a worker cannot execute jobs of this study.
    """
    where: Any = cluster
    tend, local = None, cluster in {"", "local"}
    with ExitStack() as stack:
        kernels.marker.touch()
        stack.callback(kernels.marker.unlink, missing_ok=True)
        deaths = {"distributed.scheduler.allowed-failures": ALLOWED_FAILURES}
        stack.enter_context(dask.config.set(deaths))
        if local:
            jobs = jobs or default_jobs(kernels.device)
            where = stack.enter_context(_open_local(jobs))
        elif cluster == "slurm":
            logs = kernels.marker.parent / "slurm"
            slurm = SlurmJobs(kernels.name, jobs or 1, kernels.device, logs)
            stack.callback(slurm.close)
            where, tend = slurm.cluster, slurm.tend
        try:
            client = Client(where, timeout=CONNECT_TIMEOUT, set_as_default=False)
        except LOST as error:
            fault = f"it does not answer: start one with `dask scheduler` ({error})"
            raise InputError(f"CLUSTER={cluster}", [fault]) from None
        stack.enter_context(client)
        _check_workers(client, kernels)
        client.subscribe_topic(kernels.name, lambda event: write(event[1]))
        client.register_plugin(kernels)
        stack.callback(_dismiss, client, kernels.name)
        if not local:
            write(f"dashboard: {client.dashboard_link}")
        known = jobs if local else None
        yield Workers(client, kernels.name, jobs or sys.maxsize, write, tend, known)


def _check_workers(client: Client, kernels: Kernels) -> None:
    """Refuse workers that are there and cannot execute jobs of this study."""
    faults = []
    for address, found in client.run(kernels.faults, on_error="return").items():
        if isinstance(found, Exception):  # for one, it cannot import the package
            remedy = f"start it in this environment, with PYTHONPATH={PROJECT}"
            found = [f"cannot execute jobs: {found}; {remedy}"]
        faults += [f"the worker {address} {fault}" for fault in found]
    if faults:
        raise InputError("CLUSTER", faults)


def _dismiss(client: Client, run: str) -> None:
    """End the kernels on all workers that can still be reached."""
    if client.status == "running":
        with suppress(*LOST):
            client.unregister_worker_plugin(run)


def _open_local(jobs: int) -> LocalCluster:
    """A scheduler and a worker in threads of this process."""
    return LocalCluster(
        processes=False,
        n_workers=1,
        threads_per_worker=jobs,
        memory_limit=0,  # what counts is in the kernels, where dask does not look
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.ERROR,
    )
