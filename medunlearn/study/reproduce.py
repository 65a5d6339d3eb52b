"""From nothing to a finished study, or from wherever the last run ended."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from medunlearn.disk import read_record
from medunlearn.errors import InputError
from medunlearn.study.design import COHORT, SYNTHESIS, Job, all_models, all_timings, plan_jobs
from medunlearn.study.devices import check_device
from medunlearn.study.engine import tell_seconds
from medunlearn.study.keys import notebook_key
from medunlearn.study.store import Store
from medunlearn.study.study import Study
from medunlearn.study.tables import Tables, collect_tables, load_tables

LOCK = ".lock"


def reproduce(
    study: Study,
    *,
    workers: int | None = None,
    cluster: str = "",
    only_report: bool = False,
    retime: bool = False,
    write: Callable[[str], None] = print,
) -> dict[str, str]:
    """Make every model that is missing, then tables and report; what is there is kept.

    Args:
        study: The study.
        workers: Jobs at a time, one CPU thread each; default: as many as there are places for.
        cluster: Where they run: empty or ``local``, ``slurm``, or the address of a scheduler.
        only_report: Make no model; write tables and report from those that are there.
        retime: Take away what the cost pass has measured, so that it is measured anew.
        write: Takes a line of progress, and those of the end: failures, the result, the report.

    Returns:
        Name and fault of each failed job.

    Raises:
        InputError: Another run holds the study, a forget set cannot be drawn, or the cluster is not
            there or not fit.
        LostError: The connection to the cluster is lost.
    """
    report, start = study.folder / "report" / "index.html", time.monotonic()
    store, faults = Store(study), dict[str, str]()
    with alone(study.folder):
        for spec in all_timings(study.profile) if retime else []:
            store.discard(spec)
        jobs = [] if only_report else _plan(study, store)
        if jobs or only_report or is_outdated(study, SYNTHESIS, store):
            from medunlearn.study.cluster import open_engine  # a second: not for who only looks

            with open_engine(study, store, jobs=workers, cluster=cluster, write=write) as engine:
                faults = engine.run([*jobs, Job(SYNTHESIS, SYNTHESIS, alone=True)])
        else:
            write("nothing to compute: every model is there")
    lines = [f"failed job {name}: {fault}" for name, fault in faults.items()]
    if SYNTHESIS not in faults:  # the result, as it was written down: not that of an earlier run
        lines += (read_record(report.with_name("summary.json")) or {}).get("result", [])
    lines.append(f"time: {tell_seconds(time.monotonic() - start)}")
    for line in [*lines, f"report: {report if report.is_file() else 'none'}"]:
        write(line)
    return faults


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
                from medunlearn.study.cluster import open_engine

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
        InputError: The file system knows no locks (flock).
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        fault = "another run is at work here; wait until it ends, or stop it"
        raise BusyError(str(folder), [fault]) from None
    except OSError as error:
        fault = f"cannot be locked (flock: {error.strerror}): give another folder with RUNS=..."
        raise InputError(str(folder), [fault]) from None
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a run is at work in a study's folder, as far as this user can ask."""
    if not (folder / LOCK).exists():  # which a look leaves as it is
        return False
    try:
        with alone(folder):
            return False
    except InputError as error:
        return isinstance(error, BusyError)


def clean(folder: Path) -> None:
    """Remove all results of a study; the locks stay, for others may wait for them.

    Raises:
        BusyError: Another process holds the study.
        InputError: Something cannot be removed.
    """
    with alone(folder):
        try:
            for path in folder.iterdir():
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
    jobs = missing_jobs(study, store)
    if is_outdated(study, COHORT, store):
        jobs.append(Job(COHORT, COHORT))
    return jobs


def missing_jobs(study: Study, store: Store) -> list[Job]:
    """The jobs that have a model left to make."""
    return [job for job in plan_jobs(study.profile) if not all(map(store.is_done, job.models))]


def is_outdated(study: Study, notebook: str, store: Store) -> bool:
    """Whether a notebook without models was not executed yet, or not on what is there now."""
    path = study.folder / "jobs" / f"{notebook}.json"
    made = [path.with_suffix(".ipynb")]
    if notebook == SYNTHESIS:
        names = ("index.html", "results.csv", "verdicts.csv", "figures/privacy_utility.png")
        made += [study.folder / "report" / name for name in names]
    key = (read_record(path) or {}).get("key")
    return not all(map(Path.is_file, made)) or key != notebook_key(study, notebook, store)
