"""What people are told of a study: states, failures with their reason, and why what is stale is."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from filelock import FileLock

from medunlearn.disk import write_record
from medunlearn.study.cells import Cell
from medunlearn.study.design import original, plan_jobs, retrained, unlearned
from medunlearn.study.reproduce import alone, is_held, is_outdated
from medunlearn.study.status import failures, status
from medunlearn.study.store import Store

ROOT = Path(__file__).parents[2]
CELL = Cell("random", 0.1)


@pytest.fixture
def store(tiny_study):
    return Store(tiny_study)


def make(store, *specs):
    for spec in specs:
        with store.writing(spec) as folder:
            (folder / "weights.safetensors").write_text("weights")


def fail(study, beginning):
    """Note that a job of the study has failed, as the engine does; the job."""
    (study.folder / "jobs").mkdir(exist_ok=True)
    job = next(job for job in plan_jobs(study.profile) if job.name.startswith(beginning))
    ending = {"seconds": 7.04, "fault": "the kernel died\nat once", "host": "node17"}
    write_record(study.folder / "jobs" / f"{job.name}.json", ending)
    return job


def counts(lines, kind):
    """A row of the table as a dictionary."""
    header = next(line for line in lines if line.startswith("models"))
    row = next(line for line in lines if line.startswith(f"{kind} "))
    return {k: int(n) for k, n in zip(header.split()[1:], row[36:].split(), strict=True) if n > "0"}


def test_each_kind_of_model_is_counted_by_state(store):
    make(store, original(1000), retrained(CELL, 1000))
    fail(store.study, "02-retrained-A-10-percent")
    with store.writing(original(1001)):
        lines = status(store.study)
    assert counts(lines, "original") == {"done": 1, "partial": 1}
    assert counts(lines, "retrained A") == {"done": 1, "failed": 1, "absent": 2}
    assert counts(lines, "unlearned salun") == {"absent": 4}
    changed = replace(store.study, cohort=replace(store.study.cohort, sha256="0"))
    assert counts(status(changed), "original") == {"stale": 2}


def test_a_run_at_work_is_told_while_it_holds_the_study_and_by_who_may_ask(store, monkeypatch):
    folder = store.study.folder
    with alone(folder):
        assert "a run is at work here" in status(store.study)
    assert "a run is at work here" not in status(store.study)
    assert (folder / ".lock").exists()
    monkeypatch.setattr(FileLock, "acquire", Mock(side_effect=PermissionError))
    assert not is_held(folder)


def test_a_failed_job_is_told_with_host_and_seconds_until_its_models_are_there(store):
    job = fail(store.study, "02-original")
    told = next(line for line in status(store.study) if line.startswith("failed: "))
    assert told == f"failed: {job.name} (node17, 7.04 s): the kernel died at once"
    make(store, *job.models)
    assert not any(line.startswith("failed: ") for line in status(store.study))


def test_why_a_kind_is_stale_is_told_from_old_to_new(store):
    make(store, original(1000), original(1001))
    make(store, *(unlearned("salun", CELL, seed) for seed in (1000, 1001)))
    changed = store.study.with_settings("salun", {"epochs": 3})
    told = [line for line in status(changed) if line.startswith("stale")]
    assert told == [
        "stale because of another settings (epochs: 1 -> 3): 2 models (unlearned salun)"
    ]


@pytest.mark.parametrize("content", [b'{"job": "04', b"\xff", b"[]", b""])
def test_a_harmed_record_of_a_job_is_none(store, content):
    folder = store.study.folder / "jobs"
    folder.mkdir()
    write_record(folder / "01_cohort.json", {"fault": "why"})
    (folder / "01_cohort.ipynb").write_text("{}")
    assert [job.name for job, _ in failures(store.study, store)] == ["01_cohort"]
    (folder / "01_cohort.json").write_bytes(content)
    assert is_outdated(store.study, "01_cohort", store)
    assert failures(store.study, store) == []


def test_looking_imports_no_torch_and_changes_nothing(store, tiny_profile):
    make(store, original(1000))
    fail(store.study, "02-original")
    before = {path: path.stat().st_mtime_ns for path in store.study.folder.rglob("*")}
    code = (
        "import sys; from medunlearn.__main__ import main; main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules and 'monai' not in sys.modules"
    )
    runs = str(store.study.folder.parent)
    told = subprocess.run(
        [sys.executable, "-c", code, "status", "--profile", tiny_profile, "--runs", runs,
         "--device", "cpu"],
        check=True, cwd=ROOT, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "failed: 02-original" in told
    draws = {store.study.folder, *store.study.folder.glob("draws/**/*")}  # which it records
    after = {path: path.stat().st_mtime_ns for path in store.study.folder.rglob("*")}
    changed = {path for path in after.keys() | before.keys() if after.get(path) != before.get(path)}
    assert changed <= {store.study.folder / "draws", *draws}
