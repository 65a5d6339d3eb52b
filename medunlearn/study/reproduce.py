"""From nothing to a finished study, or from wherever the last run ended."""

import json
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from medunlearn.errors import InputError
from medunlearn.sources import canonical_hash, module_hashes, notebook_hash
from medunlearn.study.engine import run_jobs
from medunlearn.study.jobs import Job, missing_jobs, plan_jobs, study_parameters
from medunlearn.study.ledger import Ledger
from medunlearn.study.models import ModelSpec, all_models, all_timings
from medunlearn.study.study import PROJECT, Study
from medunlearn.study.tables import collect_tables

COHORT, SYNTHESIS = "01_cohort", "04_synthesis"

BYTES_PER_MODEL = 60_000
"""Records and parquet headers of one model, beside its logits and weights."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the report, and name and fault of each failed job."""

    report: Path
    faults: dict[str, str]
    made: int


def reproduce(
    study: Study, *, workers: int, parameters: dict[str, str], write: Callable[[str], None] = print
) -> Outcome:
    """Make every model that is missing, then tables and report; what is there is kept.

    Args:
        study: The study.
        workers: Jobs at a time, one CPU thread each.
        parameters: ``runs`` and ``data_root`` as the notebooks are to be given them.
        write: Takes a line of progress.

    Raises:
        InputError: Another run holds the study, a forget set cannot be drawn, or the disk is full.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(study.folder / ".lock", timeout=0):
            return _reproduce(study, workers, parameters, write)
    except Timeout:
        raise InputError(
            str(study.folder), ["another run is at work here; wait until it ends, or stop it"]
        ) from None


def _reproduce(
    study: Study, workers: int, parameters: dict[str, str], write: Callable[[str], None]
) -> Outcome:
    ledger = Ledger(study)
    ledger.sweep()
    discard_dependants(study, ledger)
    jobs = missing_jobs(plan_jobs(study), ledger)
    if needs_report(study, COHORT, ledger):
        jobs.append(Job(COHORT, COHORT, {}, ()))
    report = study.folder / "report" / "index.html"
    if not jobs and not needs_report(study, SYNTHESIS, ledger):
        return Outcome(report, {}, 0)
    todo = [spec for job in jobs for spec in job.models if not ledger.is_done(spec)]
    _check_space(study, len(todo))
    from medunlearn.study.execution import execute  # papermill: not for commands that only look
    from medunlearn.study.kernels import WarmKernels

    common = {**study_parameters(study, **parameters)}
    (study.folder / "jobs").mkdir(exist_ok=True)
    with WarmKernels() as kernels:

        def run(job: Job) -> None:
            start = time.time()
            notebook = PROJECT / "notebooks" / f"{job.notebook}.ipynb"
            output = study.folder / "jobs" / f"{job.name}.ipynb"
            try:
                execute(notebook, output, {**common, **job.parameters}, kernels)
                absent = [spec.title for spec in job.models if not ledger.is_done(spec)]
                if absent:
                    raise RuntimeError(f"ended without {absent[0]}")
            except Exception as fault:
                _record(study, job, start, str(fault), None)
                raise
            key = report_key(study, job.name, ledger) if not job.models else None
            _record(study, job, start, None, key)

        faults = run_jobs(jobs, run, done=ledger.is_done, workers=workers, write=write)
        if any(ledger.is_done(spec) for spec in all_models(study.profile)):
            collect_tables(study, ledger)
            last = Job(SYNTHESIS, SYNTHESIS, {}, ())
            faults |= run_jobs([last], run, done=ledger.is_done, workers=1, write=write)
    if SYNTHESIS not in faults and (study.folder / "jobs" / f"{SYNTHESIS}.ipynb").is_file():
        from medunlearn.study.report import write_html

        write_html(study.folder / "jobs" / f"{SYNTHESIS}.ipynb", report)
    return Outcome(report, faults, sum(ledger.is_done(spec) for spec in todo))


def discard_dependants(study: Study, ledger: Ledger) -> None:
    """Take away models whose input is gone: they are made again together with it."""
    for spec in [*all_models(study.profile), *all_timings(study.profile)]:
        if not ledger.is_done(spec):
            ledger.discard(spec)


def report_key(study: Study, notebook: str, ledger: Ledger) -> str:
    """What decides a notebook that makes no model: code, configuration and models."""
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    models = [(r := ledger.record(ledger.entry(spec).key)) and r["files"] for spec in specs]
    code = module_hashes("medunlearn.figures", "medunlearn.study.tables", "medunlearn.study.report")
    return canonical_hash(
        [
            notebook_hash(PROJECT / "notebooks" / f"{notebook}.ipynb"),
            study.cohort.sha256,
            study.profile.model_dump(mode="json"),
            code,
            models if notebook == SYNTHESIS else None,
        ]
    )


def needs_report(study: Study, notebook: str, ledger: Ledger) -> bool:
    """Whether such a notebook was not executed yet, or not on what is there now."""
    record = study.folder / "jobs" / f"{notebook}.json"
    if not record.is_file() or not record.with_suffix(".ipynb").is_file():
        return True
    if notebook == SYNTHESIS and not (study.folder / "report" / "index.html").is_file():
        return True
    return json.loads(record.read_text())["key"] != report_key(study, notebook, ledger)


def failures(study: Study) -> dict[str, str]:
    """Name and fault of the jobs whose last run failed."""
    records = [json.loads(p.read_text()) for p in sorted((study.folder / "jobs").glob("*.json"))]
    return {record["job"]: record["fault"] for record in records if record["fault"]}


def _record(study: Study, job: Job, start: float, fault: str | None, key: str | None) -> None:
    """Write down how a job ended: the executed notebook itself is never asked."""
    record = {
        "job": job.name,
        "status": "failed" if fault is not None else "done",
        "fault": fault,
        "host": socket.gethostname(),
        "seconds": round(time.time() - start, 2),
        "key": key,
    }
    path = study.folder / "jobs" / f"{job.name}.json"
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(path)


def _check_space(study: Study, models: int) -> None:
    """Refuse before anything is made what would end in a full disk."""
    logits = len(study.cohort.table) * len(study.cohort.classes) * 4
    weights = {"resnet_tiny": 0.4e6, "resnet18": 45e6, "densenet121": 33e6}[study.profile.network]
    needed = int(models * (2 * logits + weights + BYTES_PER_MODEL))
    free = shutil.disk_usage(study.folder).free
    if needed > free:
        raise InputError(
            str(study.folder),
            [
                f"{models} models need about {needed / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are "
                "free on this disk: free some, or give another folder with RUNS=..."
            ],
        )


def summary(faults: dict[str, str]) -> Sequence[str]:
    """A table of failures for the end of the run."""
    if not faults:
        return []
    width = max(len(name) for name in faults)
    return [f"{'failed job':<{width}}  why", *(f"{n:<{width}}  {f}" for n, f in faults.items())]
