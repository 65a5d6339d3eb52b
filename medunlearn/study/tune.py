"""From a study to its tuned settings: every method's search, alone on the device, then the file."""

from collections.abc import Callable
from pathlib import Path

from medunlearn.study.engine import open_engine
from medunlearn.study.jobs import Job
from medunlearn.study.reproduce import alone
from medunlearn.study.store import Store
from medunlearn.study.study import Study
from medunlearn.study.tuned import tuned_path, write_tuned


def tune(study: Study, *, write: Callable[[str], None] = print) -> tuple[Path, dict[str, str]]:
    """Search the settings of every method of the profile, and freeze what was found.

    One search runs at a time, whatever JOBS is: each trial is timed. Trials that are in the store
    are not made again, so a search that was stopped goes on.

    Args:
        study: The study.
        write: Takes a line of progress.

    Returns:
        The file, and name and fault of each search that failed: then no file is written.

    Raises:
        InputError: Another run holds the study, or optuna is not installed.
    """
    methods = list(study.profile.methods)
    jobs = [
        Job(f"06_tuning-{method}", "06_tuning", {"method": method}, (), alone=True)
        for method in methods
    ]
    path = tuned_path(study.folder)
    store = Store(study)
    with alone(study.folder):
        store.sweep()
        with open_engine(study, store, jobs=1, write=write) as engine:
            faults = engine.run(jobs)
        if not faults:
            # torch takes a second to import, and may not be needed
            from medunlearn.study.builder import Builder
            from medunlearn.study.trials import freeze

            found = freeze(Builder(study), methods)
            write_tuned(found, path, dataset=study.dataset, profile=study.profile_name)
    return path, faults
