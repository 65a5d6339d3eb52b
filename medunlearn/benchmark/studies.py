"""Where the time of a finished study went, from its own records alone."""

import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medunlearn.benchmark.measure import Line, figure
from medunlearn.errors import InputError
from medunlearn.study.reproduce import reproduce
from medunlearn.study.study import open_study

NOTEBOOKS = {
    "02": ("original", "retrained", "reference"),
    "03": ("unlearned",),
    "08": ("timing",),
}
"""Roles of the models that jobs of each notebook make."""

TUNING = "06"
"""Searches for settings are run once, and are no part of the study."""

SLACK = 2.0
"""Seconds: times of models are recorded by the second, and a kernel ends after its last model."""


@dataclass(frozen=True)
class Accounts:
    """Seconds of processes of a study, added up over all jobs.

    Args:
        jobs: From the start of each job to its end.
        models: Inside the jobs: making models, writing them included.
        regions: Inside the models: training, unlearning, preparation, as they were billed.
        others: Jobs that make no model: cohort and synthesis.
        span: From the first start to the last end, less the pauses between two runs.
        workers: The most jobs that ran at once.
        count: Models counted.
    """

    jobs: dict[str, float]
    models: dict[str, float]
    regions: dict[str, float]
    others: float
    span: float
    workers: int
    count: int

    @property
    def overhead(self) -> float:
        """Share of the making of models that papermill, kernels, store and engine add."""
        made = sum(self.models.values())
        return (sum(self.jobs.values()) - made) / made

    @property
    def idle(self) -> float:
        """Share of the workers' time in which none of the jobs ran."""
        busy = sum(self.jobs.values()) + self.others
        return 1 - busy / (self.span * self.workers)


def read_accounts(folder: Path) -> Accounts:
    """Add up the records of a study.

    A job that was run again, for some of its models, is counted with these models only: a model
    counts if it was finished while a recorded job of its notebook ran.

    Args:
        folder: Of the study; its files have the times at which they were written.

    Raises:
        InputError: It has no jobs that made models.
    """
    paths = sorted((folder / "jobs").glob("*.json"))
    read = [_read_job(path) for path in paths if not path.name.startswith(TUNING)]
    jobs = [job for job in read if job]
    table = pd.DataFrame(jobs, columns=["notebook", "start", "end"])
    making = table[table["notebook"].isin(NOTEBOOKS)]
    models = [_read_model(path) for path in (folder / "models").glob("[!.]*/record.json")]
    kept = [model for model in models if model and _is_made_in(model, making)]
    if not kept:
        raise InputError(str(folder), ["no job here has made a model; run make reproduce first"])
    regions: dict[str, float] = {}
    for model in kept:
        for name, seconds in model["regions"].items():
            regions[name] = regions.get(name, 0) + seconds
    length = table["end"] - table["start"]
    by_notebook = length.groupby(table["notebook"]).sum()
    seconds = pd.DataFrame(kept).groupby("notebook")["seconds"].sum()
    return Accounts(
        jobs={name: float(by_notebook[name]) for name in seconds.index},
        models={str(name): float(each) for name, each in seconds.items()},
        regions=regions,
        others=float(length[~table["notebook"].isin(NOTEBOOKS)].sum()),
        span=_covered(table),
        workers=_most_at_once(table),
        count=len(kept),
    )


def describe_accounts(folder: Path) -> list[Line]:
    """The accounts of a study as lines: seconds, and shares of its computing time."""
    accounts = read_accounts(folder)
    made = sum(accounts.models.values())
    what = f"study {folder.name}, {accounts.count} models, {accounts.workers} at a time"
    rest = made - sum(accounts.regions.values())
    parts = {
        **accounts.regions,
        "prediction, relearning, writing": rest,
        "papermill, kernels, store, engine": sum(accounts.jobs.values()) - made,
        "cohort and synthesis": accounts.others,
    }
    lines = [figure(what, name, seconds, "s") for name, seconds in parts.items()]
    lines.append(figure(what, "from start to end", accounts.span, "s"))
    lines.append(figure(what, "overhead", 100 * accounts.overhead, "% of making models"))
    for name, seconds in accounts.jobs.items():
        share = 100 * (seconds / accounts.models[name] - 1)
        lines.append(figure(what, f"overhead of notebook {name}", share, "% of its models"))
    lines.append(figure(what, "idle", 100 * accounts.idle, "% of the workers' time"))
    return lines


def devices_of(folder: Path) -> str:
    """What the models of a study were computed on."""
    paths = (folder / "models").glob("[!.]*/costs.parquet")
    return ", ".join(sorted({str(x) for p in paths for x in pd.read_parquet(p)["device"].unique()}))


def measure_whole(device: str, jobs: int, profile: str = "laptop") -> list[Line]:
    """The study of the phantom from nothing to its report, and where the time went.

    Args:
        device: ``cpu`` or ``cuda``.
        jobs: Notebooks at a time, on a GPU too.
        profile: Of the study.

    Raises:
        RuntimeError: A job failed; what the others took would say nothing.
    """
    with tempfile.TemporaryDirectory(prefix="medunlearn-bench-") as runs:
        start = time.perf_counter()
        study = open_study("phantom", profile, runs=runs, device=device)
        outcome = reproduce(study, workers=jobs)
        seconds = time.perf_counter() - start
        if outcome.faults:
            raise RuntimeError(f"jobs failed: {outcome.faults}")
        what = f"study {study.folder.name} from nothing, {jobs} at a time"
        return [figure(what, "seconds", seconds, "s"), *describe_accounts(study.folder)]


def _read_job(path: Path) -> tuple[str, float, float] | None:
    record, end = json.loads(path.read_text()), path.stat().st_mtime
    whole = record["status"] == "done"
    return (path.stem.split("-")[0][:2], end - record["seconds"], end) if whole else None


def _read_model(path: Path) -> dict[str, Any] | None:
    """A model of the grid or a measurement of cost; none if it belongs to tuning."""
    record = json.loads(path.read_text())
    role = record["ingredients"]["parameters"]["role"]
    notebook = next((name for name, roles in NOTEBOOKS.items() if role in roles), None)
    if notebook is None:
        return None
    bills = pd.read_parquet(path.parent / "costs.parquet")
    regions = {str(name): float(s) for name, s in bills.groupby("region")["seconds"].sum().items()}
    if role == "timing":  # warm-ups are not billed: its regions would not add up
        regions = {"cost pass": float(record["seconds"])}
    return {
        "notebook": notebook,
        "end": datetime.strptime(record["finished"], "%Y-%m-%dT%H:%M:%S%z").timestamp(),
        "seconds": record["seconds"],
        "regions": regions,
    }


def _is_made_in(model: dict[str, Any], jobs: pd.DataFrame) -> bool:
    same = jobs["notebook"] == model["notebook"]
    begun = jobs["start"] - SLACK <= model["end"] - model["seconds"]
    return bool((same & begun & (model["end"] <= jobs["end"] + SLACK)).any())


def _events(table: pd.DataFrame) -> Iterable[tuple[float, int]]:
    """Starts (+1) and ends (-1) in order; of equal times the ends come first."""
    starts = [(float(time), 1) for time in table["start"]]
    return sorted([*starts, *((float(time), -1) for time in table["end"])])


def _covered(table: pd.DataFrame) -> float:
    """Seconds in which at least one job ran."""
    running, since, total = 0, 0.0, 0.0
    for moment, change in _events(table):
        if running == 0:
            since = moment
        running += change
        if running == 0:
            total += moment - since
    return total


def _most_at_once(table: pd.DataFrame) -> int:
    # times of files and seconds of records are rounded: a job seems to begin before one has ended
    shorter = table.assign(end=np.maximum(table["start"], table["end"] - 0.1))
    return int(np.cumsum([change for _, change in _events(shorter)]).max())
