"""Where notebooks run: on dask workers in this process, in jobs of Slurm, or of any scheduler."""

import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.comm.core import CommClosedError

from medunlearn.errors import InputError
from medunlearn.study.devices import default_jobs
from medunlearn.study.engine import Engine, LostError
from medunlearn.study.store import Store
from medunlearn.study.study import Study
from medunlearn.study.worker import Kernels

ALLOWED_FAILURES = 10
"""Workers that a job may lose: walltimes end, and each worker makes some of its models."""
CONNECT_TIMEOUT = 15
"""Seconds for a scheduler to answer."""
LOST = (OSError, ValueError, CancelledError)
"""What dask raises when it can speak to its scheduler no more."""
PERIOD = 30
"""Seconds after which jobs of Slurm are asked for again in place of those that ended."""
VAIN = 4
"""Periods in a row without a worker and without a job, after which a run is given up."""
REFUSED = (RuntimeError, ValueError, OSError, ImportError, subprocess.SubprocessError)
"""What is raised where a command fails, or a setting or dask-jobqueue is missing."""


@contextmanager
def open_engine(
    study: Study,
    store: Store,
    *,
    jobs: int | None = None,
    cluster: str = "",
    write: Callable[[str], None] = print,
) -> Iterator[Engine]:
    """Something to run jobs with; what it started ends with it, however that happens.

    Args:
        study: The study.
        store: Its models.
        jobs: At a time; default: one for each core or GPU of this machine, or as many as the
            workers of a running scheduler take.
        cluster: Where they run: empty or ``local``, ``slurm``, or the address of a scheduler.
        write: Takes a line of progress.

    Raises:
        InputError: There is no such scheduler, or a worker cannot execute jobs of this study.
        LostError: The connection to the scheduler is lost.
    """
    (study.folder / "jobs").mkdir(exist_ok=True)
    kernels = Kernels(study.folder, study.device)
    where: Any = cluster
    tend: Callable[[], object] = int  # which does nothing
    deaths = {"distributed.scheduler.allowed-failures": ALLOWED_FAILURES}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(deaths))
        if local := cluster in {"", "local"}:
            jobs = jobs or default_jobs(study.device)
            where = stack.enter_context(_open_local(jobs))
        elif cluster == "slurm":
            slurm = SlurmJobs(kernels.name, jobs or 1, study.device, study.folder / "jobs/slurm")
            stack.callback(slurm.close)
            where, tend = slurm.cluster, slurm.tend
        try:
            client = stack.enter_context(Client(where, timeout=CONNECT_TIMEOUT))
        except LOST as error:
            fault = f"it does not answer: start one with `dask scheduler` ({error})"
            raise InputError(f"CLUSTER={cluster}", [fault]) from None
        found = client.run(kernels.fault, on_error="return")
        if faults := [f"the worker {address} {fault}" for address, fault in found.items() if fault]:
            raise InputError("CLUSTER", faults)
        client.subscribe_topic(kernels.name, lambda event: write(event[1]))
        client.register_plugin(kernels)
        stack.callback(_dismiss, client, kernels.name)
        engine = Engine(study, store, write, client, kernels.name, jobs or sys.maxsize, tend)
        if local:  # known, and not to be told
            engine.threads = engine.limit
        try:
            yield engine
        except LOST as error:
            # the client may not know of it yet, or may have found another scheduler there
            unnoticed = isinstance(error, CommClosedError | CancelledError)
            if client.status == "running" and not unnoticed:
                raise
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # it says the same
            fault = f"the connection to the scheduler at {cluster} is lost"
            kept = (
                "what is finished is kept: the same command, with another CLUSTER or none, goes on"
            )
            raise LostError(f"{fault}; {kept}") from None


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


class SlurmJobs:
    """Jobs of one worker each, kept at their number: walltimes end, nodes fail, people cancel.

    Args:
        name: Of each of them.
        number: How many to ask for.
        device: ``cpu`` or ``cuda``.
        logs: Where their output goes, if dask's file names no folder.

    Raises:
        InputError: dask cannot listen here, or Slurm refuses the jobs.
    """

    def __init__(self, name: str, number: int, device: str, logs: Path) -> None:
        self.name, self.number, self.vain, self.next = name, number, 0, time.monotonic() + PERIOD
        self.logs = dask.config.get("jobqueue.slurm.log-directory", None) or str(logs)
        extra = dask.config.get("jobqueue.slurm.job-extra-directives", None) or []
        if device == "cuda" and not re.search(r"gpu|-G", " ".join(extra)):
            extra = [*extra, "--gpus-per-node=1"]
        try:
            handler = signal.getsignal(signal.SIGINT)
            from dask_jobqueue.slurm import SLURMCluster

            signal.signal(signal.SIGINT, handler)  # which its import makes an end without a fault
            self.cluster = SLURMCluster(
                cores=1,
                processes=1,
                nanny=False,
                job_name=name,
                job_extra_directives=extra,
                log_directory=self.logs,
                silence_logs=logging.ERROR,
            )
            _run("sbatch", "--test-only", script=self.cluster.job_script())
        except REFUSED as error:
            told = f"{' '.join(str(error).split())}: see jobqueue.yaml in {dask.config.PATH}"
            raise InputError("CLUSTER=slurm", [told]) from None
        self.cluster.scale(jobs=number)

    def tend(self) -> None:
        """Now and then, submit jobs in place of those whose worker was lost.

        Raises:
            LostError: For some time there has been no worker, and no job that would bring one.
        """
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + PERIOD
        with suppress(*REFUSED):  # Slurm does not answer: the next time
            none = not self.cluster.scheduler_info["workers"] and not _run(
                "squeue", "--all", "--noheader", f"--name={self.name}"
            )
            self.vain = self.vain + 1 if none else 0
            self.cluster.scale(jobs=self.number)
        if self.vain >= VAIN:
            told = "Slurm's jobs ended before their worker was there"
            ask = "is their walltime shorter than a worker's start?"
            raise LostError(f"{told}; {ask} What they wrote lies in {self.logs}")

    def close(self) -> None:
        """Cancel them all, whatever dask knows of them: an interrupt reaches its sbatch, too."""
        with suppress(*REFUSED):
            _run("scancel", f"--name={self.name}")
        self.cluster.close()


def _run(*command: str, script: str = "") -> str:
    """What a command of Slurm says; an error where it fails."""
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")
    return done.stdout
