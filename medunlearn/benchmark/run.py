"""Runs the parts of the benchmark that are asked for, and writes each as soon as it is done."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from medunlearn.benchmark.growth import measure_images, measure_runs
from medunlearn.benchmark.measure import Line, stamp
from medunlearn.benchmark.report import make_table, write_part
from medunlearn.benchmark.shortcuts import measure_mask, measure_metrics, measure_teacher
from medunlearn.benchmark.studies import describe_accounts, devices_of, measure_whole
from medunlearn.benchmark.throughput import measure_loops, measure_peak, measure_processes
from medunlearn.errors import InputError
from medunlearn.study.devices import clock_alone
from medunlearn.training import prepare_device

ROUNDS = 7

Measure = Callable[[str, int, Path], list[Line]]

PARTS: dict[str, Measure] = {
    "loops": lambda device, _jobs, _study: measure_loops(device, rounds=ROUNDS),
    "processes": lambda device, jobs, _study: measure_processes(device, rounds=ROUNDS, jobs=jobs),
    "peak": lambda device, _jobs, _study: measure_peak(device, rounds=ROUNDS),
    "shortcuts": lambda device, _jobs, _study: [
        *measure_mask(device, rounds=ROUNDS),
        *measure_teacher(device, rounds=ROUNDS),
        *measure_metrics(device, rounds=ROUNDS),
    ],
    "study": lambda _device, _jobs, study: describe_accounts(study),
    "whole": lambda device, jobs, _study: measure_whole(device, jobs),
    "growth": lambda device, _jobs, _study: [*measure_images(device), *measure_runs()],
}
"""From device, processes at once and folder of a study to lines."""

USUAL = ("loops", "processes", "peak", "shortcuts", "study")
"""Parts measured unless others are named: those left out take longer than all of them."""

TIMED = ("loops", "processes", "peak", "shortcuts")
"""Parts that no study of this machine computes beside."""

GPU = "loops processes peak shortcuts whole"
"""Parts measured on a CUDA device."""

GPU_JOBS = 8
"""Processes that share a GPU, at most: each holds half a gigabyte of it before it begins."""


def bench(
    asked: str,
    *,
    device: str,
    jobs: int,
    study: Path,
    write: Callable[[str], None] = print,
    parts: dict[str, Measure] = PARTS,
) -> Path:
    """Measure, and print the table of all that was measured on this device so far.

    Args:
        asked: Names of parts, separated by blanks or commas; the usual ones if empty.
        device: ``cpu`` or ``cuda``.
        jobs: Processes at once where several are measured.
        study: Folder of a study, which may be there or not; the results go beside it.
        write: Takes a line of progress or of the table.
        parts: What can be measured.

    Returns:
        The JSON file.

    Raises:
        InputError: A part is not known, or the study is asked for by name and is not there.
    """
    names = choose_parts(asked, study, parts)
    prepare_device(device)
    for name in names:
        write(f"measuring {name} ...")
        with clock_alone(device) if name in TIMED else nullcontext(False) as alone:
            at = stamp(device) | {"no other study on the device": alone}
            lines = parts[name](device, jobs, study)
        if name == "study":  # made earlier, and perhaps elsewhere
            at["device"] = devices_of(study)
        path, _ = write_part(study.parent / "bench", name, at, lines)
        for line in make_table({name: {"stamp": at, "lines": [vars(each) for each in lines]}}):
            write(line)
    write(f"written: {path} and {path.with_suffix('.md')}")
    return path


def choose_parts(asked: str, study: Path, known: dict[str, Measure] = PARTS) -> Sequence[str]:
    """Names of the parts to be measured, in order.

    Raises:
        InputError: See ``bench``.
    """
    names = asked.replace(",", " ").split()
    faults = [
        f"{name!r} is not known; choose from {', '.join(known)}"
        for name in names
        if name not in known
    ]
    there = (study / "jobs").is_dir()
    if "study" in names and not there:
        faults.append(f"there is no finished study in {study}; run make reproduce first")
    if faults:
        raise InputError("PARTS", faults)
    return names or [name for name in USUAL if name != "study" or there]
