"""Whatever happens to a run: nothing finished is made twice, nothing half-written is ever read."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from medunlearn.disk import DiskFullError
from medunlearn.study.builder import Builder
from medunlearn.study.cells import middle_cell
from medunlearn.study.design import original, plan_jobs, retrained, unlearned
from medunlearn.study.status import status
from medunlearn.study.store import RECORD, Store
from medunlearn.study.study import PROJECT
from medunlearn.study.tables import collect_tables
from tests.conftest import cut_off, filled_disk, flip_a_bit
from tests.study.conftest import times, until

COMMAND = [sys.executable, "-m", "medunlearn", "reproduce", "--device", "cpu", "--jobs", "1"]


@pytest.fixture
def builder(tiny_study):
    return Builder(tiny_study)


@pytest.mark.parametrize("limit", [2_000, 20_000, 200_000])
def test_a_disk_that_fills_up_in_a_model_leaves_none_and_the_next_run_goes_on(builder, limit):
    """At the bills, at the predictions, at the weights: whichever file meets it."""
    builder.train([original(1001)])
    _ = builder.recipe, builder.images
    before = times(builder.study.folder)
    with filled_disk(limit), pytest.raises(RuntimeError) as caught:
        builder.train([original(1000), original(1001)])
    said = str(caught.value)
    assert said.startswith("1 of 2 models failed: original, seed 1000: DiskFullError")
    assert f"the disk of {builder.store.folder}" in said
    assert "free some space, or give another folder with RUNS=" in said
    assert {path.name for path in builder.store.folder.iterdir() if path.is_dir()} == set(before)
    builder.train([original(1000), original(1001)])
    after = times(builder.study.folder)
    assert {key: after[key] for key in before} == before
    assert len(after) == 2
    assert builder.store.states([original(1000)]) == {original(1000): "done"}


def test_a_disk_that_fills_up_in_the_tables_leaves_those_of_before(builder):
    cell = middle_cell(builder.study.profile)
    builder.train([original(1000), retrained(cell, 1000)])
    collect_tables(builder.study, builder.store)
    folder = builder.study.folder / "tables"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    builder.unlearn([unlearned("finetune", cell, 1000)])
    with filled_disk(10_000), pytest.raises(DiskFullError, match=f"the disk of {folder}"):
        collect_tables(builder.study, builder.store)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(after) == set(before)
    assert after["predictions.parquet"] == before["predictions.parquet"]
    for name in ("models", "costs", "relearning"):
        pd.read_parquet(folder / f"{name}.parquet")
    collect_tables(builder.study, builder.store)
    assert len(pd.read_parquet(folder / "models.parquet")) == 3


@pytest.mark.parametrize(
    ("name", "harm"),
    [("weights.safetensors", cut_off), ("predictions.parquet", cut_off), (RECORD, flip_a_bit)],
)
def test_a_harmed_model_is_made_again_with_what_was_made_from_it(builder, name, harm):
    cell = middle_cell(builder.study.profile)
    made = unlearned("finetune", cell, 1000)
    builder.train([original(1000), original(1001)])
    builder.unlearn([made])
    folder, before = builder.store.path(original(1000)), times(builder.study.folder)
    weights, logits = (folder / "weights.safetensors").read_bytes(), builder.logits(made)
    harm(folder / name)
    again = Builder(builder.study)
    assert again.store.missing([original(1000), original(1001), made]) == [original(1000), made]
    again.train([original(1000), original(1001)])
    again.unlearn([made])
    assert again.store.missing([original(1000), made]) == []
    assert (folder / "weights.safetensors").read_bytes() == weights
    assert (again.logits(made) == logits).all()
    after = times(builder.study.folder)
    redone = {key for key in after if after[key] != before[key]}
    assert redone == {folder.name, builder.store.entry(made).key}


@pytest.fixture
def start(tiny_profile, tmp_path):
    """Start a run of the tiny study as a process of its own; it ends with the test."""
    started = []

    def run():
        command = [*COMMAND, "--profile", tiny_profile, "--runs", str(tmp_path / "runs")]
        with (tmp_path / f"log{len(started)}").open("w") as log:
            started.append(subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log))
        return started[-1], tmp_path / f"log{len(started) - 1}"

    yield run
    for process in started:
        process.send_signal(signal.SIGINT)  # its kernels end with it
        process.wait(900)


@pytest.mark.slow
def test_a_killed_kernel_fails_its_job_alone_and_the_next_run_makes_the_rest(tiny_study, start):
    """And the same study started a second time meanwhile refuses, and disturbs nothing."""
    models, store, process = tiny_study.folder / "models", Store(tiny_study), start()
    killed, following = plan_jobs(tiny_study.profile)[:2]
    until(lambda: times(tiny_study.folder))
    writer, partial = until(lambda: writer_in(models))
    os.kill(writer, signal.SIGKILL)
    kept = times(tiny_study.folder)
    second, said = start()
    assert second.wait(900) == 2
    assert "another run is at work here" in said.read_text()
    assert "Traceback" not in said.read_text()
    until(lambda: not store.missing(list(following.models)))
    interrupt(*process, "Kernel died")
    record = json.loads((tiny_study.folder / "jobs" / f"{killed.name}.json").read_text())
    assert "Kernel died" in record["fault"]
    assert 0 < record["seconds"] < 3600
    assert any(line.startswith(f"failed: {killed.name} (") for line in status(tiny_study))
    before = times(tiny_study.folder)
    assert kept.items() <= before.items()
    assert store.missing(list(killed.models)), "it was killed too late"
    process = start()
    until(lambda: not store.missing(list(killed.models)))
    interrupt(*process, killed.name)
    assert before.items() <= times(tiny_study.folder).items()
    assert not partial.exists()


def writer_in(models):
    """A process that holds the lock of a model that has no name yet, and the model's folder."""
    for opened in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            path = opened.readlink()
            if path.is_relative_to(models) and path.parent.name.startswith(".partial-"):
                return int(opened.parts[2]), path.parent
    return None


def interrupt(process, log, said):
    """Stop a run as a user would, after it has told something."""
    until(lambda: said in log.read_text())
    process.send_signal(signal.SIGINT)
    code = process.wait(900)
    # little may be left to do, so that it has ended by itself: then, and only then, it says so
    assert code == 130 or "\nreport: " in log.read_text()
