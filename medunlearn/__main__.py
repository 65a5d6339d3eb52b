"""The command line: ``python -m medunlearn {reproduce,check,status,report,clean}``."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from medunlearn.errors import InputError
from medunlearn.study.study import Study, open_study

COMMANDS = {
    "reproduce": "make every model that is missing, then tables, figures and the report",
    "check": "read and validate a dataset, and tell what is in it",
    "status": "tell what is done, missing, failed and stale",
    "report": "make tables and report from the models that are there",
    "clean": "remove all results of one study",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a failed job, 2 something wrong in what was given."""
    parser = argparse.ArgumentParser(prog="medunlearn", description=__doc__)
    parser.add_argument("command", choices=COMMANDS, help="; ".join(map(": ".join, COMMANDS.items())))
    for name in ("dataset", "data", "profile", "runs", "device", "jobs"):
        parser.add_argument(f"--{name}", default=os.environ.get(name.upper(), ""))
    given = parser.parse_args(arguments)
    try:
        workers = _jobs(given.jobs)
        study = open_study(
            given.dataset or "phantom",
            given.profile or "laptop",
            data_root=given.data,
            runs=given.runs,
            device=given.device,
        )
        return _COMMANDS[given.command](study, workers, given)
    except InputError as error:
        print(f"medunlearn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def _jobs(asked: str) -> int:
    """Jobs at a time; the number of cores this process may use if none is asked for."""
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) == 0:
        raise InputError("JOBS", [f"{asked!r} is no number of jobs: expected 1 or more"])
    return int(asked)


def _reproduce(study: Study, workers: int, given: argparse.Namespace) -> int:
    from medunlearn.study.reproduce import reproduce, summary

    print(
        f"{study.dataset}, profile {study.profile_name}, {study.device}, {workers} at a time: "
        f"{study.folder}"
    )
    parameters = {"runs": str(study.folder.parent.absolute()), "data_root": given.data}
    outcome = reproduce(study, workers=workers, parameters=parameters)
    for line in summary(outcome.faults):
        print(line, file=sys.stderr)
    if outcome.made == 0 and not outcome.faults:
        print("no model was missing")
    print(f"report: {outcome.report}")
    return 1 if outcome.faults else 0


def _check(study: Study, workers: int, given: argparse.Namespace) -> int:  # noqa: ARG001
    from medunlearn.study.status import describe_cohort

    print("\n".join(describe_cohort(study)))
    return 0


def _status(study: Study, workers: int, given: argparse.Namespace) -> int:  # noqa: ARG001
    from medunlearn.study.status import status

    print("\n".join(status(study)))
    return 0


def _clean(study: Study, workers: int, given: argparse.Namespace) -> int:  # noqa: ARG001
    shutil.rmtree(study.folder)
    print(f"removed {study.folder}")
    return 0
