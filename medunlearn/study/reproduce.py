"""From nothing to a finished study, or from wherever the last run ended."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSYS
from pathlib import Path

from filelock import FileLock, Timeout

from medunlearn.errors import InputError
from medunlearn.study.design import ModelSpec, all_models, all_timings, can_report
from medunlearn.study.devices import check_device
from medunlearn.study.engine import open_engine, tell_seconds
from medunlearn.study.jobs import COHORT, SYNTHESIS, Job, missing_jobs, needed_bytes, plan_jobs
from medunlearn.study.journal import is_outdated
from medunlearn.study.store import Store
from medunlearn.study.study import Study
from medunlearn.study.tables import Tables, collect_tables, load_tables


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the report, and name and fault of each failed job."""

    report: Path
    faults: dict[str, str]
    made: int


def reproduce(
    study: Study,
    *,
    workers: int | None = None,
    cluster: str = "",
    only_report: bool = False,
    retime: bool = False,
    write: Callable[[str], None] = print,
) -> Outcome:
    """Make every model that is missing, then tables and report; what is there is kept.

    Args:
        study: The study.
        workers: Jobs at a time, one CPU thread each; default: as many as there are places for.
        cluster: Where they run: empty or ``local``, ``slurm``, or the address of a scheduler.
        only_report: Make no model; write tables and report from those that are there.
        retime: Take away what the cost pass has measured, so that it is measured anew.
        write: Takes a line of progress.

    Raises:
        InputError: Another run holds the study, a forget set cannot be drawn, the disk is full, or
            the cluster is not there or not fit.
        LostError: The connection to the cluster is lost.
    """
    store, report = Store(study), study.folder / "report" / "index.html"
    with alone(study.folder):
        for spec in all_timings(study.profile) if retime else []:
            store.discard(spec)
        jobs = [] if only_report else _plan(study, store)
        todo = [spec for job in jobs for spec in job.models if not store.is_done(spec)]
        if not jobs and not only_report and not is_outdated(study, SYNTHESIS, store):
            return Outcome(report, {}, 0)
        if only_report and not can_report(study.profile, store.is_done):
            return Outcome(report, {}, 0)
        with open_engine(study, store, jobs=workers, cluster=cluster, write=write) as engine:
            faults = engine.run([*jobs, Job(SYNTHESIS, SYNTHESIS, alone=True)])
    return Outcome(report, faults, sum(store.is_done(spec) for spec in todo))


def obtain_tables(study: Study) -> Tables:
    """The tables of a study, for a notebook opened on its own: what is missing is made first.

    A run of the whole study that holds it, and has just gathered the tables, is not disturbed.

    Raises:
        InputError: Another run is at work and there are no tables yet; or models are missing, and
            this machine does not have the device that the others were made on.
    """
    try:
        with alone(study.folder):
            store = Store(study)
            if jobs := _plan(study, store):
                if models := sum(len(job.models) for job in jobs):
                    check_device(study.device)
                    print(f"up to {models} models are missing: they are made first", flush=True)
                with open_engine(study, store) as engine:
                    faults = engine.run(jobs)
                if not any(store.is_done(spec) for spec in all_models(study.profile)):
                    raise RuntimeError(f"no model could be made: {faults}")
            collect_tables(study, store)
    except BusyError:
        if not (study.folder / "tables" / "absent.json").is_file():
            raise
    return load_tables(study)


class BusyError(InputError):
    """Another run holds the study."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a study's folder; the lock goes with the process, however it ends.

    Raises:
        BusyError: Another process holds it.
        InputError: The file system knows no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        fault = "another run is at work here; wait until it ends, or stop it"
        raise BusyError(str(folder), [fault]) from None
    except OSError as error:
        if error.errno != ENOSYS:
            raise
        fault = "this file system knows no locks (flock), so that a run that is killed would leave"
        remedy = "its own for ever: mount it with them, or give another folder with RUNS=..."
        raise InputError(str(folder), [f"{fault} {remedy}"]) from None
    try:
        yield
    finally:
        lock.release()


def clean(folder: Path) -> None:
    """Remove all results of a study; the locks stay, for others may wait for them.

    Raises:
        BusyError: Another process holds the study.
        InputError: Something cannot be removed.
    """
    with alone(folder):
        for path in folder.iterdir():
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif not path.name.endswith(".lock"):
                    path.unlink()
            except OSError as error:
                fault = f"not everything could be removed: {error}"
                raise InputError(str(folder), [fault]) from None


def _plan(study: Study, store: Store) -> list[Job]:
    """The jobs that are left, after what killed runs left behind has been taken away."""
    store.sweep()
    jobs = missing_jobs(plan_jobs(study.profile), store.is_done)
    _check_space(study, [s for job in jobs for s in job.models if not store.is_done(s)])
    if is_outdated(study, COHORT, store):
        jobs.append(Job(COHORT, COHORT))
    return jobs


def _check_space(study: Study, specs: Sequence[ModelSpec]) -> None:
    """Refuse before anything is made what would end in a full disk."""
    samples, classes = len(study.cohort.table), len(study.cohort.classes)
    channels = study.cohort.manifest.channels
    needed = needed_bytes(study.profile, specs, samples=samples, classes=classes, channels=channels)
    free = shutil.disk_usage(study.folder).free
    if needed > free:
        fault = f"{len(specs)} models need about {needed / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB"
        remedy = "are free on this disk: free some, or give another folder with RUNS=..."
        raise InputError(str(study.folder), [f"{fault} {remedy}"])


def summary(outcome: Outcome, seconds: float) -> list[str]:
    """Lines for the end of a run: failures, if any, the result, its time, and the report."""
    if not outcome.report.is_file() and not outcome.faults:
        needed = "an unlearned model and its retrained one, on the random set of the middle size"
        return [f"there is no report yet, for it begins with {needed}: make reproduce"]
    lines = [] if outcome.made or outcome.faults else ["nothing to compute: every model is there"]
    if outcome.faults:
        width = max(len(name) for name in outcome.faults)
        lines.append(f"{'failed job':<{width}}  why")
        lines += [f"{name:<{width}}  {fault}" for name, fault in outcome.faults.items()]
    lines += tell_result(outcome.report.parent)
    return [*lines, f"time: {tell_seconds(seconds)}", f"report: {outcome.report}"]


def tell_result(folder: Path) -> list[str]:
    """What the study found, in three lines, as the synthesis has written them down.

    Args:
        folder: Of the report.
    """
    summary = folder / "summary.json"
    return json.loads(summary.read_text())["result"] if summary.is_file() else []
