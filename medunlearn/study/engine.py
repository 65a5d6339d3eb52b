"""Runs jobs, several at once, each as soon as what it needs is there; the disk is the truth."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from medunlearn.disk import write_record
from medunlearn.study.cells import middle_cell
from medunlearn.study.design import SYNTHESIS, Job, ModelSpec, all_models
from medunlearn.study.keys import notebook_key
from medunlearn.study.store import Store
from medunlearn.study.study import PROJECT, Study, study_parameters
from medunlearn.study.tables import collect_tables

WORK = {"03_unlearn": 0.3, "08_cost": 1, "04_synthesis": 10}
"""Of a notebook, for each model, in trainings, about: what is left is estimated by it."""
POLL = 0.5
"""Seconds after which workers are asked again how many notebooks they take."""
LAG = 30.0
"""Seconds until a file of another host is surely seen: NFS may remember that it was absent."""


class Ending(NamedTuple):
    """How a job ended where it ran: seconds, its fault if it has one, and the host."""

    seconds: float
    fault: str | None = None
    host: str = "unknown"


class LostError(RuntimeError):
    """No job can be executed any more; the message says why and what to do."""


def tell_seconds(seconds: float) -> str:
    """For people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@dataclass
class Progress:
    """A line when a job starts and one when it ends: n of N, what, seconds, time left."""

    total: int
    write: Callable[[str], None]
    finished: int = 0
    work: float = 0
    seconds: float = 0

    def say(self, job: Job, told: str) -> None:
        """Write a line about a job."""
        self.write(f"[{self.finished:>3} of {self.total}] {job.name:<46} {told}")

    def end(self, job: Job, ending: Ending, waiting: Sequence[Job], running: Sequence[Job]) -> None:
        """Report a job, and the time that the rest is expected to take at the pace so far.

        That is the pace of jobs that have ended, with as many side by side as now.
        """
        self.finished += 1
        if ending.fault is not None:
            told = f"FAILED: {ending.fault.splitlines()[0]}"
        else:
            self.work += _work(job)
            self.seconds += ending.seconds
            told = f"done in {tell_seconds(ending.seconds)}"
        places = 1 + len(running)
        left = sum(_work(each) / (1 if each.alone else places) for each in [*waiting, *running])
        if left and self.work:
            told += f", about {tell_seconds(left * self.seconds / self.work)} left"
        self.say(job, told)


def _work(job: Job) -> float:
    return max(1, len(job.models)) * WORK.get(job.notebook, 1)


@dataclass
class Engine:
    """Executes jobs of a study through their notebooks, on the workers of a dask scheduler.

    Args:
        study: The study.
        store: Its models.
        write: Takes a line of progress.
        client: Connection to the scheduler.
        name: Of the run, and of its ``Kernels`` on every worker.
        limit: At most so many notebooks at a time.
        tend: Called again and again: asks for workers in place of those that ended.
        threads: Of all workers, as they were told last.
    """

    study: Study
    store: Store
    write: Callable[[str], None]
    client: Any
    name: str
    limit: int
    tend: Callable[[], object]
    threads: int = -1

    def run(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Run the graph; a failed job does not stop those that do not need it.

        Args:
            jobs: In an order in which inputs come first.

        Returns:
            Name and fault of each job that failed or could not start.

        Raises:
            LostError: No job can be executed any more.
        """
        progress, faults = Progress(len(jobs), self.write), dict[str, str]()
        # dask places what it is given at once: each job is given when a place for it is free
        waiting, running, ended = list(jobs), dict[Any, Job](), SimpleQueue[Any]()
        while waiting or running:
            endings = list[tuple[Job, Ending]]()
            for job in _ready(waiting, list(running.values()), self.slots()):
                waiting.remove(job)
                try:
                    self._prepare(job)
                except Exception as error:
                    endings.append((job, Ending(0, str(error) or type(error).__name__)))
                else:
                    models = {0: "", 1: ": 1 model"}.get(n := len(job.models), f": {n} models")
                    progress.say(job, f"started{models}")
                    notebook = PROJECT / "notebooks" / f"{job.notebook}.ipynb"
                    parameters = {**study_parameters(self.study), **job.parameters}
                    future = self.submit(notebook, self._output(job), parameters)
                    running[future] = job
                    future.add_done_callback(ended.put)
            with suppress(Empty):  # none ends for a moment
                future = ended.get(timeout=POLL)
                job = running.pop(future)
                endings.append((job, self._settle(job, self.ending(future))))
            for job, ending in endings:
                if ending.fault is not None:
                    faults[job.name] = ending.fault
                progress.end(job, ending, waiting, list(running.values()))
        return faults

    def slots(self) -> int:
        """Notebooks that may run at once, now."""
        self.tend()
        threads: int = sum(self.client.nthreads().values())
        if threads != self.threads:
            places = f"{threads} notebooks at a time" if threads else "waiting for a worker"
            self.write(f"{'':<12} {places}")
            self.threads = threads
        return min(threads, self.limit)

    def submit(self, notebook: Path, output: Path, parameters: dict[str, Any]) -> Any:
        """Start a notebook on whichever worker dask chooses; the future of its ending."""
        from medunlearn.study.worker import execute_on_worker

        job, key = (notebook, output, parameters), f"{output.stem}-{self.name}"
        return self.client.submit(execute_on_worker, self.name, *job, key=key, pure=False)

    def ending(self, future: Any) -> Ending:
        """How a notebook ended."""
        from distributed import KilledWorker

        try:
            ending: Ending = future.result()
        except KilledWorker as death:
            lost = f"{death.allowed_failures + 1} workers died executing it, the last one at"
            ask = "is the walltime or memory of a Slurm job less than a notebook's start takes"
            return Ending(0, f"{lost} {death.last_worker.address}: {ask}?")
        return ending

    def _prepare(self, job: Job) -> None:
        """Refuse a job whose inputs are not there; gather what the synthesis reads."""
        if absent := [spec.title for spec in job.needs if not self.store.is_done(spec)]:
            raise RuntimeError(f"needs {absent[0]}, which could not be made")
        if job.name == SYNTHESIS:
            profile, cell = self.study.profile, middle_cell(self.study.profile)
            here = [spec for spec in all_models(profile) if spec.cell == cell]
            done = {(spec.method, spec.seed) for spec in here if self.store.is_done(spec)}
            compared = {seed for method, seed in done if method in profile.methods}
            if not any((None, seed) in done for seed in compared):
                needed = "an unlearned and a retrained model of the random set of the middle size"
                raise RuntimeError(f"there is no report yet: it needs {needed}; make reproduce")
            collect_tables(self.study, self.store)

    def _settle(self, job: Job, ending: Ending) -> Ending:
        """Ask the disk what a job has left, and write down how it ended.

        A notebook that makes no model gets the key of what decided it.
        """
        key, output = None, self._output(job)
        try:
            if ending.fault is None and (absent := self._absent(job.models)):
                ending = ending._replace(fault=f"the notebook ended without {absent[0].title}")
            if ending.fault is None and job.name == SYNTHESIS:
                from medunlearn.study.report import write_html

                write_html(output, self.study.folder / "report" / "index.html")
            if ending.fault is None and not job.models:
                key = notebook_key(self.study, job.notebook, self.store)
        except Exception as error:
            ending = ending._replace(fault=str(error) or type(error).__name__)
        write_record(output.with_suffix(".json"), {**ending._asdict(), "key": key})
        return ending

    def _output(self, job: Job) -> Path:
        return self.study.folder / "jobs" / f"{job.name}.ipynb"

    def _absent(self, specs: Sequence[ModelSpec]) -> list[ModelSpec]:
        """The models that a job was to make and has not, though they were given time to show."""
        deadline = time.monotonic() + LAG
        while absent := [spec for spec in specs if not self.store.is_done(spec)]:
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL)
            list(self.store.folder.glob("*"))  # asks a network's file system anew
        return absent


def _ready(waiting: Sequence[Job], running: Sequence[Job], slots: int) -> list[Job]:
    """Jobs that may start now: nobody still has to make what they need."""
    makers = {spec for job in [*waiting, *running] for spec in job.models}
    ready = [job for job in waiting if not makers.intersection(job.needs)]
    together = [job for job in ready if not job.alone][: max(0, slots - len(running))]
    return together or ready[: min(1, slots) if not running else 0]
