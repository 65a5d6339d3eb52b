"""Keeps the Slurm jobs of a run at their number, however they end."""

import asyncio
import getpass
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from medunlearn.errors import InputError
from medunlearn.study.tasks import CarrierError

PERIOD = 60
"""Seconds after which Slurm is asked again for jobs whose worker is not there."""
PATIENCE_WITH_SLURM = 60
"""Seconds for squeue to answer."""
VAIN = 3
"""Jobs that may end before their worker was reached, for each worker asked for."""
REFUSED = (RuntimeError, ValueError, OSError)
"""What dask-jobqueue raises for a command that fails."""


class SlurmJobs:
    """The Slurm jobs of a cluster, of one worker each, kept at their number.

    A job ends by its walltime, with its node, by an administrator's hand, or before its worker was
    ever reached; dask-jobqueue submits none in its place.

    Args:
        cluster: Of dask-jobqueue.
        number: How many there are to be.
        logs: Where their output goes.
        write: Takes a line.
    """

    def __init__(self, cluster: Any, number: int, logs: str, write: Callable[[str], None]) -> None:
        import dask.config
        from dask.utils import parse_timedelta

        self.cluster, self.number, self.logs, self.write = cluster, number, logs, write
        given_up = dask.config.get("distributed.deploy.lost-worker-timeout")
        # dask then cancels the job of a worker that has left, by a name that the next will have
        self._patience = parse_timedelta(given_up) + 2
        self._there: set[str] = set()
        self._reached: set[str] = set()
        self._vain, self._next, self._told = 0, 0.0, ""

    def start(self) -> None:
        """Submit them all.

        Raises:
            InputError: sbatch refuses one.
        """
        self._next = time.monotonic() + PERIOD
        for _ in range(self.number):
            self.cluster.worker_spec.update(self.cluster.new_worker_spec())
        try:
            self.cluster.sync(self.submit, ())
        except REFUSED as error:
            fault = f"sbatch refused a job: {one_line(error)}"
            raise InputError("CLUSTER=slurm", [fault]) from None

    def tend(self) -> int:
        """Submit jobs in place of those that ended; returns how many workers are still to come.

        Raises:
            CarrierError: Job after job has ended before its worker was reached.
        """
        now, before = time.monotonic(), self._there
        workers = list(self.cluster.scheduler_info["workers"].values())
        self._there = {worker["name"] for worker in workers}
        jobs = dict(self.cluster.workers)
        self._reached |= {jobs[name].job_id for name in self._there & jobs.keys()}
        if self._there - before:
            self._vain = 0
        if before - self._there:
            self._next = now + self._patience
        missing = max(0, self.number - len(self._there))
        if not missing or now < self._next:
            return missing
        self._next = now + PERIOD
        ended = self._ended(jobs)
        self._vain += len({jobs[name].job_id for name in ended} - self._reached - {None})
        if self._vain <= VAIN * self.number:
            self._submit_again(ended)
            return missing
        if self._there:
            return 0
        fault = f"{self._vain} Slurm jobs in a row ended before their worker could be reached"
        raise CarrierError(f"{fault}; what they wrote lies in {self.logs}")

    def _ended(self, jobs: Mapping[str, Any]) -> list[str]:
        """Of these jobs, those that were refused, or that Slurm does not know any more."""
        queue = _queued()
        if queue is None:
            return []
        return [n for n, job in jobs.items() if n not in self._there and job.job_id not in queue]

    def _submit_again(self, ended: Sequence[str]) -> None:
        left = self.number - len(self.cluster.workers) + len(ended)
        try:
            self.cluster.sync(self.submit, ended)
            if left:
                self.write(f"{'':<12} Slurm jobs submitted in place of those that ended: {left}")
            self._told = ""
        except REFUSED as error:
            told = f"{'':<12} sbatch refused a job, which is tried again: {one_line(error)}"
            if told != self._told:
                self.write(told)
            self._told = told

    async def submit(self, ended: Iterable[str]) -> None:
        """Forget jobs that have ended, and submit those that are missing; on dask's loop.

        Raises:
            RuntimeError, ValueError, OSError: sbatch refuses one.
        """
        await self.forget(ended)
        # as `scale` does, but that one only logs what sbatch says
        await self.cluster._correct_state()

    async def forget(self, ended: Iterable[str]) -> None:
        """Take jobs for closed; one that Slurm still knows is cancelled."""
        from distributed import Status

        jobs = [job for name in ended if (job := self.cluster.workers.pop(name, None))]
        await asyncio.gather(*(job.close() for job in jobs))
        for job in jobs:
            job.status = Status.closed


def _queued() -> set[str] | None:
    """Ids of this user's Slurm jobs that wait or run; none if Slurm does not say."""
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i"]
    try:
        said = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=PATIENCE_WITH_SLURM
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(said.stdout.split())


def one_line(error: BaseException) -> str:
    """What an error says, for a line of its own."""
    return " ".join(f"{error}".split())
