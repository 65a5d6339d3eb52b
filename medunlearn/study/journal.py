"""How jobs ended, and whether the notebooks that make no model are up to date."""

from typing import Any, NamedTuple

from medunlearn.disk import read_record, write_record
from medunlearn.study.jobs import COHORT, SYNTHESIS, Job, missing_jobs, plan_jobs
from medunlearn.study.keys import notebook_key
from medunlearn.study.store import Store
from medunlearn.study.study import Study


class Ending(NamedTuple):
    """How a job ended where it ran: seconds, its fault if it has one, and the host."""

    seconds: float
    fault: str | None = None
    host: str = ""


class LostError(RuntimeError):
    """No job can be executed any more; the message says why and what to do."""


def is_outdated(study: Study, notebook: str, store: Store) -> bool:
    """Whether such a notebook was not executed yet, or not on what is there now."""
    path = study.folder / "jobs" / f"{notebook}.json"
    record = read_record(path)
    if record is None or not path.with_suffix(".ipynb").is_file():
        return True
    figure = "figures/privacy_utility.png"
    files = ("index.html", "results.csv", "verdicts.csv", "verdicts.json", figure)
    if notebook == SYNTHESIS and not all((study.folder / "report" / f).is_file() for f in files):
        return True
    return bool(record.get("key") != notebook_key(study, notebook, store))


def failures(study: Study, store: Store) -> list[tuple[Job, dict[str, Any]]]:
    """The jobs that still have something to make and failed at it, with their records."""
    left = missing_jobs(plan_jobs(study.profile), store.is_done)
    left += [Job(n, n) for n in (COHORT, SYNTHESIS) if is_outdated(study, n, store)]
    found = [(job, read_record(study.folder / "jobs" / f"{job.name}.json")) for job in left]
    return [(job, record) for job, record in found if record and record.get("fault")]


def record_job(study: Study, job: Job, ending: Ending, key: str | None = None) -> None:
    """Write down how a job ended: the executed notebook itself is never asked.

    Args:
        study: The study.
        job: What ended.
        ending: Where, after how many seconds, and why it failed, if it did.
        key: Of a notebook that makes no model, what decided it.
    """
    record = {
        "job": job.name,
        "status": "failed" if ending.fault is not None else "done",
        "fault": ending.fault,
        "host": ending.host or "unknown",
        "seconds": round(ending.seconds, 2),
        "key": key,
    }
    write_record(study.folder / "jobs" / f"{job.name}.json", record)
