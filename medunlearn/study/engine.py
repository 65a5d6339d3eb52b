"""Runs jobs, several at once, each as soon as what it needs is there; where is a carrier's."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from medunlearn.study.design import ModelSpec
from medunlearn.study.jobs import Job
from medunlearn.study.tasks import Ending, NotStartedError, WorkerDiedError

SHARES = {"03_unlearn": 0.3}
"""Seconds of a model in trainings, as a first guess: a method takes a fifth of the epochs."""
POLL = 0.5
"""Seconds after which the carrier is asked again how much it can carry."""
RESUBMISSIONS = 2
"""How often a job is tried again whose worker died and that has made nothing since the last death:
it may be the job that kills its workers. One that goes on will be whole in the end."""


@dataclass
class Progress:
    """One line for each finished job: n of N, what, seconds, time left."""

    total: int
    write: Callable[[str], None] = print
    finished: int = 0
    _pace: dict[str, list[float]] = field(default_factory=dict)

    def line(
        self, job: Job, seconds: float, waiting: Iterable[Job], fault: str | None, workers: int
    ) -> None:
        """Report a job, and the time that the waiting ones are expected to take."""
        self.finished += 1
        if fault is None:
            self._pace.setdefault(job.notebook, []).append(seconds / _units(job))
        told = f"{seconds:6.1f} s" if fault is None else f"FAILED: {fault.splitlines()[0]}"
        left = self._left(waiting, workers)
        self.write(f"[{self.finished:>3} of {self.total}] {job.name:<36} {told}{left}")

    def again(self, job: Job, why: object) -> None:
        """Report a job that has to be carried anew."""
        self.write(f"{'':<12} {job.name:<36} submitted again: {why}")

    def _left(self, waiting: Iterable[Job], workers: int) -> str:
        """An estimate from the pace so far of jobs of the same notebook."""
        if not self._pace:
            return ""
        pace = {name: sum(each) / len(each) for name, each in self._pace.items()}
        usual = next(seconds / SHARES.get(name, 1) for name, seconds in pace.items())
        seconds = sum(
            pace.get(job.notebook, usual * SHARES.get(job.notebook, 1)) * _units(job)
            for job in waiting
        )
        return f", about {seconds / max(1, workers) / 60:.0f} min left" if seconds else ""


def _units(job: Job) -> int:
    """What the time of a job is shared among: its models, or itself."""
    return max(1, len(job.models))


def run_jobs(
    jobs: Sequence[Job],
    submit: Callable[[Job], Future[Ending]],
    *,
    slots: Callable[[], int],
    done: Callable[[ModelSpec], bool],
    settle: Callable[[Job, Ending], str | None] = lambda _, ending: ending.fault,
    write: Callable[[str], None] = print,
) -> dict[str, str]:
    """Run the graph; a failed job does not stop those that do not need it.

    Args:
        jobs: In an order in which inputs come first.
        submit: Starts one job, as ``Carrier.submit``.
        slots: Jobs that may run at once, as ``Carrier.slots``.
        done: Whether a model is there; asked, for what a job needs, before it starts.
        settle: Sees, here, what an ended job has left; returns its fault, if there is one.
        write: Takes a line of progress.

    Returns:
        Name and fault of each job that failed or could not start.

    Raises:
        CarrierError: Jobs cannot be carried any more.
    """
    progress, deaths = Progress(len(jobs), write), Counter[tuple[str, int]]()
    faults: dict[str, str] = {}
    waiting, running = list(jobs), dict[Future[Ending], Job]()
    while waiting or running:
        makers = {spec for job in [*waiting, *running.values()] for spec in job.models}
        places = slots()
        for job in _ready(waiting, list(running.values()), makers, places):
            waiting.remove(job)
            absent = [spec.title for spec in job.needs if not done(spec)]
            if absent:
                faults[job.name] = f"needs {absent[0]}, which could not be made"
                progress.line(job, 0, waiting, faults[job.name], places)
            else:
                running[submit(job)] = job
        for future in _ended(running):
            job = running.pop(future)
            try:
                ending = future.result()
            except NotStartedError as why:
                waiting.insert(0, job)
                progress.again(job, why)
                time.sleep(POLL)
                continue
            except WorkerDiedError as death:
                stage = job.name, sum(not done(spec) for spec in job.models)
                deaths[stage] += 1
                if deaths[stage] <= RESUBMISSIONS:
                    waiting.insert(0, job)
                    progress.again(job, f"{death} ({deaths[stage]} of {RESUBMISSIONS})")
                    continue
                ending = Ending(0, f"{deaths[stage]} workers died executing it; {death}")
            fault = settle(job, ending)
            if fault is not None:
                faults[job.name] = fault
            rest = [*waiting, *running.values()]
            progress.line(job, ending.seconds, rest, fault, places)
    return faults


def _ended(running: dict[Future[Ending], Job]) -> set[Future[Ending]]:
    """The jobs that have ended; waits a moment for one if none has."""
    if not running:  # there is no worker, or only jobs that could not start
        time.sleep(POLL / 10)
        return set()
    return wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done


def _ready(
    waiting: Sequence[Job], running: Sequence[Job], makers: set[ModelSpec], slots: int
) -> list[Job]:
    """Jobs that may start now: nobody still has to make what they need."""
    free = slots - len(running)
    if free <= 0:
        return []
    ready = [job for job in waiting if not makers.intersection(job.needs)]
    together = [job for job in ready if not job.alone][:free]
    if together or running:
        return together
    return ready[:1]  # what runs alone waits until nothing else does
