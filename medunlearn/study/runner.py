"""Executes jobs through their notebooks, wherever that is; the disk tells what came out."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from medunlearn.study.cluster import open_cluster
from medunlearn.study.devices import default_jobs, visible_devices
from medunlearn.study.engine import POLL, run_jobs
from medunlearn.study.jobs import SYNTHESIS, Job
from medunlearn.study.journal import record_job
from medunlearn.study.keys import notebook_key
from medunlearn.study.store import Store
from medunlearn.study.study import PROJECT, Study, study_parameters
from medunlearn.study.tasks import Carrier, Ending, Task


@dataclass(frozen=True)
class Runner:
    """Executes jobs of a study.

    Args:
        study: The study.
        store: Its models.
        carrier: Takes notebooks to where they run.
        write: Takes a line of progress.
    """

    study: Study
    store: Store
    carrier: Carrier
    write: Callable[[str], None]

    def run(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Run the graph; name and fault of each job that failed."""
        return run_jobs(
            jobs,
            self._submit,
            slots=self.carrier.slots,
            done=self.store.is_done,
            settle=self._settle,
            write=self.write,
        )

    def _submit(self, job: Job) -> Future[Ending]:
        notebook = PROJECT / "notebooks" / f"{job.notebook}.ipynb"
        output = self.study.folder / "jobs" / f"{job.name}.ipynb"
        parameters = {**study_parameters(self.study), **job.parameters}
        return self.carrier.submit(Task(job.name, notebook, output, parameters))

    def _settle(self, job: Job, ending: Ending) -> str | None:
        """Ask the disk what a job has left, and write down how it ended; its fault, if any."""
        fault, key = ending.fault, None
        try:
            if fault is None and (absent := self._absent(job)):
                fault = f"the notebook ended without {absent}"
            if fault is None and job.name == SYNTHESIS:
                from medunlearn.study.report import write_html

                executed = self.study.folder / "jobs" / f"{job.name}.ipynb"
                write_html(executed, self.study.folder / "report" / "index.html")
            if fault is None and not job.models:
                key = notebook_key(self.study, job.notebook, self.store)
        except Exception as error:
            fault = str(error) or type(error).__name__
        record_job(self.study, job, ending, fault, key)
        return fault

    def _absent(self, job: Job) -> str | None:
        """The first model that a job was to make and has not, though it was given time to show."""
        deadline = time.monotonic() + self.carrier.lag
        while absent := [spec.title for spec in job.models if not self.store.is_done(spec)]:
            if time.monotonic() >= deadline:
                return absent[0]
            time.sleep(POLL)
            list(self.store.folder.glob("*"))  # asks a network's file system anew
        return None


@contextmanager
def open_runner(
    study: Study,
    store: Store,
    *,
    jobs: int | None = None,
    cluster: str = "",
    write: Callable[[str], None] = print,
) -> Iterator[Runner]:
    """Something to run jobs with; what it started ends with it, however that happens.

    Args:
        study: The study.
        store: Its models.
        jobs: At a time; default: one for each core or GPU of this machine, or as many as the
            workers of a running scheduler take.
        cluster: ``local``, ``slurm``, the address of a scheduler, or empty for this process.
        write: Takes a line of progress.

    Raises:
        InputError: There is no such cluster, or its workers cannot execute jobs of this study.
    """
    (study.folder / "jobs").mkdir(exist_ok=True)
    if cluster:
        with open_cluster(
            cluster,
            study.folder,
            jobs=jobs,
            device=study.device,
            data_root=study.data_root,
            write=write,
        ) as carrier:
            yield Runner(study, store, carrier, write)
        return
    # papermill takes a second to import: not for commands that only look
    from medunlearn.study.carriers import ThreadCarrier

    devices = visible_devices() if study.device == "cuda" else []
    with ThreadCarrier(jobs or default_jobs(study.device), devices) as threads:
        yield Runner(study, store, threads, write)
