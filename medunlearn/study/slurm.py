"""Workers in jobs of Slurm, by dask-jobqueue; partition, walltime, memory come from its file."""

import logging
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import dask

from medunlearn.errors import InputError
from medunlearn.study.engine import LostError

PERIOD = 30
"""Seconds after which Slurm is asked again for jobs whose worker is not there."""
VAIN = 3
"""Jobs that may end before their worker is there, for each one asked for."""
REFUSED = (RuntimeError, ValueError, OSError, subprocess.SubprocessError)
"""What is raised where a command fails or a setting is missing."""


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
        handler = signal.getsignal(signal.SIGINT)
        from dask_jobqueue.slurm import SLURMCluster

        signal.signal(signal.SIGINT, handler)  # which its import makes an end without a fault
        self.name, self.number, self.vain, self.next = name, number, 0, time.monotonic() + PERIOD
        self.logs = dask.config.get("jobqueue.slurm.log-directory") or str(logs)
        extra = [*dask.config.get("jobqueue.slurm.job-extra-directives")]
        if device == "cuda" and not re.search(r"gpu|-G", " ".join(extra)):
            extra.append("--gpus-per-node=1")
        try:
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
        """Submit jobs in place of those that ended.

        Raises:
            LostError: Job after job has ended before its worker was there, and none is.
        """
        there = {each["name"] for each in self.cluster.scheduler_info["workers"].values()}
        if len(there) >= self.number or time.monotonic() < self.next:
            return
        self.next = time.monotonic() + PERIOD
        with suppress(*REFUSED):  # Slurm does not answer: the next time
            queue = _run("squeue", "--all", "--noheader", "--format=%i", f"--name={self.name}")
            jobs = self.cluster.workers.items()
            ended = [n for n, j in jobs if n not in there and j.job_id not in queue.split()]
            self.vain = 0 if there else self.vain + len(ended)
            self.cluster.sync(self.cluster.scale_down, ended)
            self.cluster.scale(jobs=self.number)
        if self.vain > VAIN * self.number:
            told = f"{self.vain} Slurm jobs in a row ended before their worker was there"
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
