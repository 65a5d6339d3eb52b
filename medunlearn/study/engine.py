"""Runs jobs, several at once, each as soon as what it needs is there."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from medunlearn.study.jobs import Job
from medunlearn.study.models import ModelSpec

SHARES = {"03_unlearn": 0.3}
"""Seconds of a model in trainings, as a first guess: a method takes a fifth of the epochs."""


@dataclass
class Progress:
    """One line for each finished job: n of N, what, seconds, time left."""

    total: int
    workers: int
    write: Callable[[str], None] = print
    finished: int = 0
    _pace: dict[str, list[float]] = field(default_factory=dict)

    def line(self, job: Job, seconds: float, waiting: Iterable[Job], fault: str | None) -> None:
        """Report a job, and the time that the waiting ones are expected to take."""
        self.finished += 1
        if fault is None and job.models:
            self._pace.setdefault(job.notebook, []).append(seconds / len(job.models))
        told = f"{seconds:6.1f} s" if fault is None else f"FAILED: {fault.splitlines()[0]}"
        left = self._left(waiting)
        self.write(f"[{self.finished:>3} of {self.total}] {job.name:<36} {told}{left}")

    def _left(self, waiting: Iterable[Job]) -> str:
        """An estimate from the pace so far of jobs of the same notebook."""
        if not self._pace:
            return ""
        pace = {name: sum(each) / len(each) for name, each in self._pace.items()}
        usual = next(seconds / SHARES.get(name, 1) for name, seconds in pace.items())
        seconds = sum(
            pace.get(job.notebook, usual * SHARES.get(job.notebook, 1)) * len(job.models)
            for job in waiting
        )
        return f", about {seconds / self.workers / 60:.0f} min left" if seconds else ""


def run_jobs(
    jobs: Sequence[Job],
    execute: Callable[[Job], None],
    *,
    done: Callable[[ModelSpec], bool],
    workers: int,
    write: Callable[[str], None] = print,
) -> dict[str, str]:
    """Run the graph; a failed job does not stop those that do not need it.

    Args:
        jobs: In an order in which inputs come first.
        execute: Runs one job, in a thread; raises if it failed.
        done: Whether a model is there; asked, for what a job needs, before it starts.
        workers: Jobs at a time.
        write: Takes a line of progress.

    Returns:
        Name and fault of each job that failed or could not start.
    """
    progress = Progress(len(jobs), workers, write)
    faults: dict[str, str] = {}
    waiting, running = list(jobs), dict[Future[float], Job]()
    with ThreadPoolExecutor(workers, thread_name_prefix="job") as pool:
        try:
            while waiting or running:
                makers = {spec for job in [*waiting, *running.values()] for spec in job.models}
                for job in _ready(waiting, running, makers, workers):
                    waiting.remove(job)
                    absent = [spec.title for spec in job.needs if not done(spec)]
                    if absent:
                        faults[job.name] = f"needs {absent[0]}, which could not be made"
                        progress.line(job, 0, waiting, faults[job.name])
                    else:
                        running[pool.submit(_timed, execute, job)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    fault = future.exception()
                    if fault is not None:
                        faults[job.name] = f"{fault}" or type(fault).__name__
                    seconds = 0.0 if fault is not None else future.result()
                    rest = [*waiting, *running.values()]
                    progress.line(job, seconds, rest, faults.get(job.name))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return faults


def _ready(
    waiting: Sequence[Job], running: dict[Future[float], Job], makers: set[ModelSpec], workers: int
) -> list[Job]:
    """Jobs that may start now: nobody still has to make what they need."""
    if any(job.alone for job in running.values()):
        return []
    free = workers - len(running)
    ready = [job for job in waiting if not makers.intersection(job.needs)]
    together = [job for job in ready if not job.alone][:free]
    if together or running:
        return together
    return ready[:1]  # what runs alone waits until nothing else does


def _timed(execute: Callable[[Job], None], job: Job) -> float:
    start = time.monotonic()
    execute(job)
    return time.monotonic() - start
