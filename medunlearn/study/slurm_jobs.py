"""Keeps the Slurm jobs of a run at their number, however they end."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from medunlearn.errors import InputError
from medunlearn.study.tasks import CarrierError

PERIOD = 60
"""Seconds after which Slurm is asked again for jobs whose worker is not there."""
PATIENCE_WITH_SLURM = 60
"""Seconds for squeue to answer."""
VAIN = 3
"""Jobs that may end before their worker was reached, for each worker asked for."""
SELDOM = 10
"""How many times longer the period is after that, while other workers are there."""
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
        self._patience = parse_timedelta(given_up) + 2  # then dask has cancelled its job, too
        self._numbers = count()
        self._there: set[str] = set()
        self._reached: set[str] = set()
        self._vain, self._next, self._is_told = 0, 0.0, False
        self._submission: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Submit them all.

        Raises:
            InputError: sbatch refuses one.
        """
        self._next = time.monotonic() + PERIOD
        try:
            self.cluster.sync(self._submit, ())
        except REFUSED as error:
            fault = f"sbatch refused a job: {one_line(error)}"
            raise InputError("CLUSTER=slurm", [fault]) from None

    def tend(self) -> int:
        """Submit jobs in place of those that ended; returns how many workers are surely to come.

        Raises:
            CarrierError: Job after job has ended before its worker was reached, and none is there.
        """
        before = self._there
        workers = list(self.cluster.scheduler_info["workers"].values())
        self._there = {worker["name"] for worker in workers}
        jobs = {name: job.job_id for name, job in list(self.cluster.workers.items())}
        self._reached |= {jobs[name] for name in self._there & jobs.keys()}
        if self._there - before:
            self._vain = 0
        if before - self._there:
            self._next = min(self._next, time.monotonic() + self._patience)
        missing = max(0, self.number - len(self._there))
        if missing and time.monotonic() >= self._next:
            self._renew(jobs)
        return 0 if self._is_vain() else missing

    def end(self) -> None:
        """Cancel them all, also those that are being submitted."""
        self.cluster.sync(self._end)

    def _is_vain(self) -> bool:
        return self._vain > VAIN * self.number

    def _renew(self, jobs: Mapping[str, str | None]) -> None:
        """Look which jobs have ended, and submit others."""
        queue, away = _queued(), [name for name in jobs if name not in self._there]
        ended = [] if queue is None else [name for name in away if jobs[name] not in queue]
        self._vain += len({jobs[name] for name in ended} - self._reached - {None})
        vain = f"{self._vain} Slurm jobs in a row ended before their worker could be reached"
        vain += f"; what they wrote lies in {self.logs}"
        if self._is_vain() and not self._there:
            raise CarrierError(vain)
        fault = f"{vain}; others are submitted seldom" if self._is_vain() else ""
        try:
            self.cluster.sync(self._submit, ended)
            if left := self.number - len(jobs) + len(ended):
                self.write(f"{'':<12} Slurm jobs submitted in place of those that ended: {left}")
        except REFUSED as error:
            fault = f"sbatch refused a job, which is tried again: {one_line(error)}"
        if fault and not self._is_told:
            self.write(f"{'':<12} {fault}")
        self._is_told = bool(fault)
        self._next = time.monotonic() + PERIOD * (SELDOM if self._is_vain() else 1)

    async def _submit(self, ended: Iterable[str]) -> None:
        """Forget jobs that have ended, and submit those that are missing; on dask's loop.

        Raises:
            RuntimeError, ValueError, OSError: sbatch refuses one.
        """
        # an interrupt must not hide what sbatch is about to submit
        self._submission = asyncio.ensure_future(self._replace(ended))
        await asyncio.shield(self._submission)

    async def _replace(self, ended: Iterable[str]) -> None:
        await self._forget(ended)
        spec = self.cluster.worker_spec
        for name in spec.keys() - self.cluster.workers.keys():
            del spec[name]  # dask may yet cancel by the name of what is gone: others get new ones
        while len(spec) < self.number:
            spec[f"{self.cluster.name}-{next(self._numbers)}"] = self.cluster.new_spec
        # as `scale` does, but that one only logs what sbatch says
        await self.cluster._correct_state()

    async def _forget(self, names: Iterable[str]) -> None:
        """Take jobs for closed; one that Slurm still knows is cancelled."""
        jobs = [job for name in names if (job := self.cluster.workers.pop(name, None))]
        await asyncio.gather(*(job.close() for job in jobs))

    async def _end(self) -> None:
        from distributed import Status

        if self._submission is not None:
            await asyncio.wait({self._submission})
        await self._forget(list(self.cluster.workers))
        # dask's own end fails if it finds an ended job that is not closed: a traceback may hold one
        for job in list(self.cluster._created):
            job.status = Status.closed


def _queued() -> set[str] | None:
    """Ids of this user's Slurm jobs that wait or run; none if Slurm does not say."""
    command = ["squeue", "--all", "--noheader", f"--user={os.getuid()}", "--format=%i"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        said = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_WITH_SLURM,
            env=own,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(said.stdout.split())


def one_line(error: BaseException) -> str:
    """What an error says, for a line of its own."""
    return " ".join(f"{error}".split())
