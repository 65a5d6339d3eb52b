"""Workers as Slurm jobs, through dask-jobqueue; partition, walltime, memory come from its files."""

import logging
import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medunlearn.errors import InputError
from medunlearn.study.slurm_jobs import REFUSED, SlurmJobs, one_line
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
        faults.append(
            f"the memory of a job is not set: write into {_settings_file()}, for example, {EXAMPLE}"
        )
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
    # beside ours, dask-jobqueue would ignore what a site's file has under the names of before
    extra = list(own["job-extra-directives"] or own.get("job-extra") or ())
    prologue = list(own["job-script-prologue"] or own.get("env-extra") or ())
    if device == "cuda":
        extra = _with_gpu(extra)
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    return {
        "cores": 1,
        "processes": 1,
        "job_extra_directives": extra,
        "job_script_prologue": [
            *prologue,
            f"export PYTHONPATH={shlex.quote(path)}",
            "export DASK_DISTRIBUTED__WORKER__DAEMON=False",  # it starts kernels
        ],
        "log_directory": own["log-directory"] or str(logs),
        "silence_logs": logging.CRITICAL,
    }


def _with_gpu(directives: list[str]) -> list[str]:
    """Ask for one GPU, unless these do; of several lines --gres Slurm heeds the last alone."""
    if any(re.match(r"--gpus|-G|--gres[= ].*gpu", line) for line in directives):
        return directives
    other = [line for line in directives if re.match(r"--gres[= ]", line)]
    kept = [line for line in directives if line not in other]
    return [*kept, f"{other[-1]},gpu:1" if other else "--gres=gpu:1"]


def load_cluster() -> Any:
    """The class of dask-jobqueue; an interrupt stays one, of which its import makes a success."""
    handler = signal.getsignal(signal.SIGINT)
    from dask_jobqueue.slurm import SLURMCluster

    signal.signal(signal.SIGINT, handler)
    return SLURMCluster


@contextmanager
def open_slurm(
    logs: Path, jobs: int, device: str, write: Callable[[str], None] = print
) -> Iterator[tuple[Any, Callable[[], int]]]:
    """A scheduler in this process, and Slurm jobs with its workers; they end with the context.

    Args:
        logs: Where the output of the Slurm jobs goes, if no file of dask names a folder.
        jobs: How many to ask for.
        device: ``cpu`` or ``cuda``.
        write: Takes a line.

    Raises:
        InputError: dask cannot listen here, or Slurm refuses the jobs.

    Yields:
        The cluster, and ``SlurmJobs.tend``.
    """
    make_cluster = load_cluster()  # dask knows the settings of dask-jobqueue from now on
    settings = slurm_settings(logs, device)
    try:
        opened = make_cluster(**settings)
    except REFUSED as error:  # for one, the interface that the file names is not there
        fault = f"{one_line(error)}: see {_settings_file()}"
        raise InputError("CLUSTER=slurm", [fault]) from None
    with opened as cluster:
        held = SlurmJobs(cluster, jobs, settings["log_directory"], write)
        try:
            held.start()
            yield cluster, held.tend
        finally:
            held.end()


def _settings_file() -> Path:
    import dask.config

    return Path(dask.config.PATH) / "jobqueue.yaml"
