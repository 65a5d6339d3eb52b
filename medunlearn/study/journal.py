"""How jobs ended, and whether the notebooks that make no model are up to date."""

from typing import Any

from medunlearn.sources import canonical_hash, module_hashes, notebook_hash
from medunlearn.study.jobs import Job, missing_jobs, plan_jobs
from medunlearn.study.ledger import Ledger
from medunlearn.study.models import all_models, all_timings
from medunlearn.study.records import read_record, write_record
from medunlearn.study.study import PROJECT, Study
from medunlearn.study.tasks import Ending

COHORT, SYNTHESIS = "01_cohort", "04_synthesis"

_REPORTING = (
    "medunlearn.figures",
    "medunlearn.evaluation.audits.audit",
    "medunlearn.evaluation.calibration",
    "medunlearn.evaluation.claims",
    "medunlearn.evaluation.controls.run_controls",
    "medunlearn.evaluation.costs",
    "medunlearn.evaluation.results",
    "medunlearn.evaluation.strata",
    "medunlearn.evaluation.worst_groups",
    "medunlearn.statistics.verdicts",
    "medunlearn.study.answers",
    "medunlearn.study.costs",
    "medunlearn.study.sentences",
    "medunlearn.study.synthesis",
    "medunlearn.study.tables",
    "medunlearn.study.report",
)


def notebook_key(study: Study, notebook: str, ledger: Ledger) -> str:
    """What decides a notebook that makes no model: code, configuration and models."""
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    models = [(r := ledger.record(ledger.entry(spec).key)) and r["files"] for spec in specs]
    code = module_hashes(*_REPORTING)
    return canonical_hash(
        [
            notebook_hash(PROJECT / "notebooks" / f"{notebook}.ipynb"),
            study.cohort.sha256,
            study.cohort.manifest.model_dump(mode="json"),
            study.profile.model_dump(mode="json"),
            study.tuned.model_dump(mode="json") if study.tuned else None,
            code,
            models if notebook == SYNTHESIS else None,
        ]
    )


def is_outdated(study: Study, notebook: str, ledger: Ledger) -> bool:
    """Whether such a notebook was not executed yet, or not on what is there now."""
    path = study.folder / "jobs" / f"{notebook}.json"
    record = read_record(path)
    if record is None or not path.with_suffix(".ipynb").is_file():
        return True
    files = ("index.html", "results.csv", "verdicts.csv", "verdicts.json", "figures/gaps.png")
    if notebook == SYNTHESIS and not all((study.folder / "report" / f).is_file() for f in files):
        return True
    return bool(record.get("key") != notebook_key(study, notebook, ledger))


def is_report_current(study: Study, ledger: Ledger) -> bool:
    """Whether the report was made from the code and the models that are there now."""
    return not is_outdated(study, SYNTHESIS, ledger)


def failures(study: Study, ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Records of the jobs that still have something to make and failed at it, by name."""
    left = [job.name for job in missing_jobs(plan_jobs(study), ledger)]
    left += [name for name in (COHORT, SYNTHESIS) if is_outdated(study, name, ledger)]
    found = {name: read_record(study.folder / "jobs" / f"{name}.json") for name in left}
    return {name: record for name, record in found.items() if record and record.get("fault")}


def record_job(study: Study, job: Job, ending: Ending, fault: str | None, key: str | None) -> None:
    """Write down how a job ended: the executed notebook itself is never asked.

    Args:
        study: The study.
        job: What ended.
        ending: Where, and after how many seconds.
        fault: Why it failed, if it did.
        key: Of a notebook that makes no model, what decided it.
    """
    record = {
        "job": job.name,
        "status": "failed" if fault is not None else "done",
        "fault": fault,
        "host": ending.host or "unknown",
        "seconds": round(ending.seconds, 2),
        "key": key,
    }
    write_record(study.folder / "jobs" / f"{job.name}.json", record)
