"""Workers as Slurm jobs, through dask-jobqueue; partition, walltime, memory come from its files."""

import logging
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from medunlearn.errors import InputError
from medunlearn.study.study import PROJECT

EXAMPLE = "jobqueue: {slurm: {queue: gpu, walltime: '08:00:00', memory: 16GB}}"


def check_slurm(jobs: int | None) -> None:
    """Refuse what cannot be submitted.

    Args:
        jobs: The variable JOBS, if it was given.

    Raises:
        InputError: All that is missing.
    """
    import dask.config

    faults = []
    if jobs is None:
        faults.append("say with JOBS=... how many Slurm jobs, of one worker each, to ask for")
    if shutil.which("sbatch") is None:
        faults.append("there is no sbatch here: start this on a node from which jobs are submitted")
    if dask.config.get("jobqueue.slurm.memory", None) is None:
        file = Path(dask.config.PATH) / "jobqueue.yaml"
        faults.append(f"the memory of a job is not set: write into {file}, for example, {EXAMPLE}")
    if faults:
        raise InputError("CLUSTER=slurm", faults)


def slurm_settings(logs: Path, device: str) -> dict[str, Any]:
    """Arguments of ``SLURMCluster``: one worker of one thread, and one GPU, in each Slurm job.

    All else is read by dask-jobqueue itself, from ``jobqueue.yaml``.

    Args:
        logs: Where the output of the Slurm jobs goes, if no file of dask names a folder.
        device: ``cpu`` or ``cuda``.
    """
    import dask.config

    own = dask.config.get("jobqueue.slurm")
    extra, prologue = list(own["job-extra-directives"]), list(own["job-script-prologue"])
    if device == "cuda" and not any(line.startswith(("--gres", "--gpus")) for line in extra):
        extra.append("--gres=gpu:1")
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    return {
        "cores": 1,
        "processes": 1,
        "job_extra_directives": extra,
        "job_script_prologue": [*prologue, f"export PYTHONPATH={shlex.quote(path)}"],
        "log_directory": own["log-directory"] or str(logs),
        "silence_logs": logging.CRITICAL,
    }


def load_cluster() -> Any:
    """The class of dask-jobqueue; an interrupt stays one, of which its import makes a success."""
    handler = signal.getsignal(signal.SIGINT)
    from dask_jobqueue.slurm import SLURMCluster

    signal.signal(signal.SIGINT, handler)
    return SLURMCluster


@contextmanager
def open_slurm(logs: Path, jobs: int, device: str) -> Iterator[tuple[Any, Callable[[], None]]]:
    """A scheduler in this process, and Slurm jobs with its workers; they end with the context.

    Args:
        logs: Where the output of the Slurm jobs goes, if no file of dask names a folder.
        jobs: How many to ask for.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: Slurm refuses them.

    Yields:
        The cluster, and a function that submits Slurm jobs in place of those that ended.
    """
    import dask.config
    from dask.utils import parse_timedelta
    from distributed import Status

    with load_cluster()(**slurm_settings(logs, device)) as cluster:

        def replace() -> None:
            # a moment after dask has given up the worker: until then it is counted as there
            delay = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
            loop = cluster.loop
            loop.add_callback(loop.call_later, delay + 2, partial(cluster.scale, jobs=jobs))

        for _ in range(jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            # as `scale` does, but that one only logs what sbatch says
            cluster.sync(cluster._correct_state)
        except (RuntimeError, ValueError, OSError) as error:
            said = " ".join(f"{error}".split())
            for name, job in list(cluster.workers.items()):
                if job.job_id is None:  # dask cannot close what was never opened
                    job.status = Status.closed
                    del cluster.workers[name]
            raise InputError("CLUSTER=slurm", [f"sbatch refused a job: {said}"]) from None
        yield cluster, replace
