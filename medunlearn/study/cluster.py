"""Starts dask workers on this machine or through Slurm, or connects to those that run already."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from medunlearn.errors import InputError
from medunlearn.study.cluster_carrier import LOST, ClusterCarrier
from medunlearn.study.devices import default_jobs, visible_devices
from medunlearn.study.slurm import check_slurm, open_slurm
from medunlearn.study.study import PROJECT

CHOICES = "nothing (this machine alone), local, slurm, tcp://host:port or tls://host:port"
ADDRESSES = ("tcp://", "tls://")
CONNECT_TIMEOUT = 15
"""Seconds for a scheduler to answer."""
SHARED_LAG = 30.0
"""Seconds to wait for what another host has written: NFS may remember that it was absent."""


def check_cluster(cluster: str, jobs: int | None) -> None:
    """Refuse a cluster that cannot be had, before anything is started.

    Args:
        cluster: The variable CLUSTER.
        jobs: The variable JOBS, if it was given.

    Raises:
        InputError: All that is wrong or missing.
    """
    if not cluster:
        return
    if cluster not in {"local", "slurm"} and not cluster.startswith(ADDRESSES):
        raise InputError("CLUSTER", [f"{cluster!r} is not known; choose from {CHOICES}"])
    needed = ["distributed", "dask_jobqueue"][: 1 + (cluster == "slurm")]
    if missing := [name for name in needed if find_spec(name) is None]:
        fault = f"{cluster!r} needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        raise InputError("CLUSTER", [fault])
    if cluster == "slurm":
        check_slurm(jobs)


@contextmanager
def open_cluster(
    cluster: str,
    folder: Path,
    *,
    jobs: int | None,
    device: str,
    data_root: str = "",
    write: Callable[[str], None] = print,
    libraries: Sequence[str] | None = None,
) -> Iterator[ClusterCarrier]:
    """Start workers, or connect to them, and give each kernels for this run.

    Args:
        cluster: ``local``, ``slurm`` or the address of a scheduler.
        folder: The study's; every worker must see it.
        jobs: Tasks at a time; none: as many as fit.
        device: ``cpu`` or ``cuda``.
        data_root: Folder of the datasets, or empty.
        write: Takes a line.
        libraries: Modules that the kernels' warm parents import; default: all that are slow.

    Raises:
        InputError: There is no such scheduler, or a worker does not see what it needs.
    """
    from distributed import Client

    from medunlearn.study.kernels import LIBRARIES
    from medunlearn.study.worker import KernelsOfWorker, Terms, fingerprint

    run, local = f"run-{uuid4().hex[:12]}", cluster == "local"
    marker = folder / "jobs" / f".{run}"
    devices = visible_devices() if local and device == "cuda" else []
    modules = LIBRARIES if libraries is None else libraries
    gpu = device == "cuda" and not local  # this machine's were looked at when it was chosen
    terms = Terms(run, marker, data_root, fingerprint(), gpu, devices, modules)
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        where, tend = stack.enter_context(_workers(cluster, folder, jobs, device, write))
        try:
            connection = Client(where, timeout=CONNECT_TIMEOUT, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            fault = f"{cluster} does not answer: start one with `dask scheduler` ({error})"
            raise InputError("CLUSTER", [fault]) from None
        client = stack.enter_context(connection)
        marker.touch()
        stack.callback(marker.unlink, missing_ok=True)
        stack.callback(_dismiss, client, run)
        _check_workers(client, terms)
        client.register_plugin(KernelsOfWorker(terms))
        write(f"dashboard: {client.dashboard_link}")
        yield ClusterCarrier(client, run, 0 if local else SHARED_LAG, jobs, write, tend)


def _check_workers(client: Any, terms: Any) -> None:
    """Refuse workers that are there and cannot execute jobs of this study; later ones are seen."""
    from medunlearn.study.worker import faults_of_worker

    faults = []
    for address, found in client.run(faults_of_worker, terms, on_error="return").items():
        if isinstance(found, Exception):  # for one, it cannot import the package
            remedy = f"start it in this environment, with PYTHONPATH={PROJECT}"
            faults.append(f"the worker {address} cannot execute jobs: {found}; {remedy}")
        else:
            faults += found
    if faults:
        raise InputError("CLUSTER", faults)


def _dismiss(client: Any, run: str) -> None:
    """End the run's kernels on all workers that can still be reached."""
    if client.status == "running":
        with suppress(*LOST):
            client.unregister_worker_plugin(run)


@contextmanager
def _workers(
    cluster: str, folder: Path, jobs: int | None, device: str, write: Callable[[str], None]
) -> Iterator[tuple[Any, Callable[[], int]]]:
    """What a client connects to, and what asks for workers in place of those that ended."""
    import dask
    from distributed import LocalCluster

    if cluster.startswith(ADDRESSES):
        yield cluster, lambda: 0
        return
    # whether a task whose worker died is tried again is the engine's to decide
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.daemon": False}
    with dask.config.set(settings), ExitStack() as stack:
        if cluster == "slurm":
            logs = folder / "jobs" / "slurm"
            yield stack.enter_context(open_slurm(logs, jobs or 1, device, write))
            return
        local = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=jobs or default_jobs(device),
            threads_per_worker=1,
            memory_limit=0,  # what counts is in the kernels, where dask does not look
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
        yield stack.enter_context(local), lambda: 0  # its nannies start workers anew


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the terminal what dask logs of lost connections: the engine says it in a line."""
    with ExitStack() as stack:
        for name in ("distributed", "distributed.client", "tornado", "asyncio"):
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL + 1)
        yield
