"""The command line: ``python -m medunlearn {reproduce,check,status,report,clean}``."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from medunlearn.disk import DiskFullError, told_when_full
from medunlearn.errors import InputError
from medunlearn.methods import get_method
from medunlearn.study.profile import panel
from medunlearn.study.report import write_showcase
from medunlearn.study.reproduce import alone, available_cores, reproduce, summary
from medunlearn.study.status import check, status
from medunlearn.study.study import PROJECT, open_study, study_folder

COMMANDS = {
    "reproduce": "make every model that is missing, then tables, figures and the report",
    "check": "read and validate a dataset, and tell what is in it",
    "status": "tell what is done, missing, failed and stale",
    "report": "make tables and report from the models that are there",
    "clean": "remove all results of one study",
    "methods": "list the unlearning methods, as in the README",
    "showcase": "copy the executed cohort and synthesis notebooks to notebooks/showcase",
}
OPTIONS = {
    "dataset": ("phantom", "name of a manifest in data_manifests, or the path of one"),
    "data": ("", "folder in which real datasets lie"),
    "profile": ("laptop", "quick, laptop, full, or the path of a profile of your own"),
    "runs": ("", "folder of all results; default: runs in the project"),
    "device": ("", "cpu or cuda; default: cuda if there is one"),
    "jobs": ("", "notebooks at a time; default: number of cores"),
}
"""Each may also be given as an environment variable, in capitals: the Makefile does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a failed job, 2 something wrong in what was given."""
    parser = argparse.ArgumentParser(prog="medunlearn", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        for option, (default, meaning) in OPTIONS.items():
            command.add_argument(
                f"--{option}", default=os.environ.get(option.upper()) or default, help=meaning
            )
    given = parser.parse_args(arguments)
    try:
        with told_when_full(Path(given.runs) if given.runs else PROJECT):
            return _run(given)
    except (InputError, DiskFullError) as error:
        print(f"medunlearn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(given: argparse.Namespace) -> int:
    if given.command == "methods":
        print("\n".join(methods_table()))
        return 0
    data = str(Path(given.data).expanduser().absolute()) if given.data else ""
    if given.command == "check":
        print("\n".join(check(given.dataset, data, given.profile)))
        return 0
    workers = _workers(given.jobs)
    folder = study_folder(given.dataset, given.profile, given.runs)
    if given.command == "clean":
        with alone(folder):
            shutil.rmtree(folder, ignore_errors=True)
        print(f"removed {folder}")
        return 0
    if given.command == "status" and not folder.is_dir():
        print(f"nothing is done yet: there is no {folder}")
        return 0
    study = open_study(
        _absolute(given.dataset),
        _absolute(given.profile),
        data_root=data,
        runs=given.runs,
        device=given.device,
    )
    if given.command == "status":
        print("\n".join(status(study)))
        return 0
    if given.command == "showcase":
        write_showcase(study.folder, PROJECT / "notebooks" / "showcase")
        return 0
    print(f"{study.title}, {workers} at a time: {folder}", flush=True)
    outcome = reproduce(study, workers=workers, only_report=given.command == "report")
    print("\n".join(summary(outcome)), flush=True)
    return 1 if outcome.faults or not outcome.report.is_file() else 0


def methods_table() -> list[str]:
    """The methods of the registry as a table in Markdown; the README holds a copy."""
    lines = ["| module | method | reads | idea |", "|---|---|---|---|"]
    for name in panel():
        method = get_method(name)
        idea = (sys.modules[method.function.__module__].__doc__ or "").splitlines()[0]
        reads = ", ".join(sorted(method.reads))
        lines.append(f"| `{name}` | {method.label} | {reads} | {idea.split(': ', 1)[-1]} |")
    return lines


def _absolute(given: str) -> str:
    """A path as notebooks, which run elsewhere, can find it; a name as it is."""
    own = given.endswith((".yaml", ".yml"))
    return str(Path(given).expanduser().absolute()) if own else given


def _workers(asked: str) -> int:
    """Jobs at a time; the number of cores this process may use if none is asked for."""
    if not asked:
        return available_cores()
    if not asked.isdecimal() or int(asked) == 0:
        raise InputError("JOBS", [f"{asked!r} is no number of jobs; expected 1 or more"])
    return int(asked)


if __name__ == "__main__":
    sys.exit(main())
