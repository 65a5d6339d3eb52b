"""The command line: ``python -m medunlearn COMMAND``; see ``COMMANDS``."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from medunlearn.disk import DiskFullError, told_when_full
from medunlearn.errors import InputError
from medunlearn.study.devices import check_device, default_jobs
from medunlearn.study.engine import LostError
from medunlearn.study.reproduce import clean, reproduce
from medunlearn.study.status import check, status
from medunlearn.study.study import PROJECT, open_study, study_folder

say = partial(print, flush=True)
"""A line of progress is seen at once, also in a file."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

COMMANDS = ("reproduce", "check", "status", "tune", "retime", "report", "forget", "clean")
OPTIONS = {
    "dataset": ("phantom", "name of a manifest in data_manifests, or the path of one"),
    "data": ("", "folder in which real datasets lie"),
    "profile": ("laptop", "quick, laptop, full, or the path of a profile of your own"),
    "runs": ("", "folder of all results; default: runs in the project"),
    "device": ("", "cpu or cuda; default: cuda if there is one"),
    "jobs": ("", "notebooks at a time; default: number of cores, or of GPUs"),
    "forget": ("", "file of patients to be forgotten, one id a line; default: the profile's"),
    "method": ("salun", "of forget: a method of the profile"),
    "verify": ("", "of forget: the folder of a record, to check it and do nothing else"),
    "cluster": ("", "where they run: slurm, tcp://host:port; default: on this machine"),
}
"""Each may also be given as an environment variable, in capitals: the Makefile does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a failed job, 2 something wrong in what was given.

    130 is an interrupt.
    """
    parser = argparse.ArgumentParser(prog="medunlearn", description=__doc__)
    parser.add_argument("command", choices=COMMANDS, help="make lists what each does")
    for option, (usual, meaning) in OPTIONS.items():
        default = os.environ.get(option.upper()) or usual
        parser.add_argument(f"--{option}", default=default, help=meaning)
    given = parser.parse_args(arguments)
    try:
        with told_when_full(Path(given.runs) if given.runs else PROJECT):
            return _run(given)
    except (InputError, DiskFullError, LostError) as error:
        print(f"medunlearn: {error}", file=sys.stderr)
        return 1 if isinstance(error, LostError) else 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def _run(given: argparse.Namespace) -> int:
    """Commands that need no study first: they only look, or take away."""
    given.data, given.forget = _absolute(given.data), _absolute(given.forget)
    if given.command == "forget" and given.verify:
        from medunlearn.unlearning.deletion import verify_record

        say(*verify_record(Path(given.verify).expanduser()), sep="\n")
        return 0
    folder = study_folder(given.dataset, given.profile, given.runs)
    if given.command == "check":
        lines = check(given.dataset, given.data, given.profile, given.runs, given.forget)
    elif given.command in {"clean", "status"} and not folder.is_dir():
        lines = [f"nothing is done yet: there is no {folder}"]
    elif given.command == "clean":
        clean(folder)
        lines = [f"removed all results of {folder}"]
    else:
        return _work(given, folder)
    say(*lines, sep="\n")
    return 0


def _work(given: argparse.Namespace, folder: Path) -> int:
    """Commands of a study, which is opened for them."""
    jobs, here = _jobs(given.jobs), given.cluster in {"", "local"}
    if not here and given.command in {"tune", "forget"}:
        raise InputError("CLUSTER", [f"{given.command} computes here, one by one: leave it out"])
    if not re.match("(local|slurm)?$|(tcp|tls)://", given.cluster):
        choices = "local or nothing (this machine), slurm, tcp://host:port or tls://host:port"
        raise InputError(f"CLUSTER={given.cluster}", [f"choose from {choices}"])
    if here and given.command in {"reproduce", "retime", "tune", "forget"}:
        check_device(given.device)
    if not (folder / "cohort.parquet").is_file():
        say("preparing the cohort: images are drawn or decoded once, in half a minute or more")
    study = open_study(
        _as_path(given.dataset),
        _as_path(given.profile),
        data_root=given.data,
        runs=given.runs,
        device=given.device,
        forget=given.forget,
        look_again=given.command == "reproduce",
    )
    if given.command == "status":
        say(*status(study), sep="\n")
        return 0
    if given.command == "forget":
        from medunlearn.study.forgetting import forget_listed

        say(*forget_listed(study, given.method), sep="\n")
        return 0
    if given.command == "tune":
        from medunlearn.study.tuning import tune

        return 1 if tune(study, write=say) else 0
    places = f"{jobs or default_jobs(study.device)} at a time" if here else f"on {given.cluster}"
    say(f"{study.title}, {places}: {study.folder}")
    faults = reproduce(
        study,
        workers=jobs,
        cluster=given.cluster,
        only_report=given.command == "report",
        retime=given.command == "retime",
        write=say,
    )
    return 1 if faults else 0


def _absolute(path: str) -> str:
    """A path as notebooks, which run elsewhere, can find it; nothing stays nothing."""
    return str(Path(path).expanduser().absolute()) if path else ""


def _as_path(name: str) -> str:
    """A name of the project as it is; of a file its path, as notebooks can find it."""
    return _absolute(name) if name.endswith((".yaml", ".yml")) else name


def _jobs(asked: str) -> int | None:
    """Jobs at a time, if a number was asked for."""
    if asked and (not asked.isdecimal() or int(asked) == 0):
        raise InputError("JOBS", [f"{asked!r} is no number of jobs; expected 1 or more"])
    return int(asked) if asked else None


def leave(code: int) -> None:
    """End the process; after an interrupt at once, for all that had to be closed is closed.

    Threads of dask that were interrupted may wait for ever for their answers.
    """
    if code == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
