"""The whole study on its smallest scale, through the real notebooks and kernels."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from medunlearn.__main__ import main
from medunlearn.errors import InputError
from medunlearn.study import reproduce as module
from medunlearn.study.builder import Builder
from medunlearn.study.cells import middle_cell
from medunlearn.study.design import (
    all_models,
    all_timings,
    original,
    reference,
    references,
    retrained,
)
from medunlearn.study.devices import cuda_count
from medunlearn.study.report import data_dictionary
from medunlearn.study.status import status
from medunlearn.study.store import Store
from medunlearn.study.study import open_study
from medunlearn.study.tables import collect_tables, load_tables
from tests.study.conftest import times, until
from tests.study.test_cluster import scheduler

ROOT = Path(__file__).parents[2]


def run(
    profile: str, runs: Path, *more: str, jobs: int = 2, command: str = "reproduce",
    check: bool = True, project: Path = ROOT,
):  # fmt: skip
    arguments = ["--profile", profile, "--runs", str(runs), "--device", "cpu", "--jobs", str(jobs)]
    return subprocess.run(
        [sys.executable, "-m", "medunlearn", command, *arguments, *more],
        cwd=project,
        check=check,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project)},
    )


def results(runs: Path) -> dict[str, str]:
    """Hashes of everything that a study must repeat byte for byte (costs are not)."""
    folder = runs / "phantom-tiny"
    files = [*folder.glob("models/*/*predictions.parquet"), *folder.glob("models/*/weights*")]
    files += [folder / "report" / "results.csv", folder / "tables" / "predictions.parquet"]
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(files)
    }


@pytest.fixture(scope="session")
def finished(tiny_profile, drawn, tmp_path_factory) -> Path:
    """A study that ran undisturbed, two jobs at a time."""
    runs = shutil.copytree(drawn, tmp_path_factory.mktemp("finished") / "runs")
    done = run(tiny_profile, runs)
    *_, first, second, third, took, report = done.stdout.splitlines()
    assert "points from retraining" in first + second + third
    assert took.startswith("time: ")
    assert report == f"report: {runs}/phantom-tiny/report/index.html"
    return runs


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "runs")


@pytest.mark.slow
def test_everything_of_the_design_is_there(finished, tiny_profile):
    study = open_study("phantom", tiny_profile, runs=str(finished), device="cpu")
    store, profile = Store(study), study.profile
    assert store.missing([*all_models(profile), *all_timings(profile)]) == []
    report = (study.folder / "report" / "index.html").read_text()
    assert "Women and men" in report
    assert "data:image/png" in report
    assert 'alt="Privacy against utility' in report
    assert "A demonstration: too small for verdicts" in report
    assert "np.testing" not in report  # code stays in the notebook
    names = {path.name for path in (study.folder / "report" / "figures").iterdir()}
    assert {"privacy_utility.png", "privacy_utility.pdf", "gaps_1.png", "costs.png"} <= names
    assert "-" not in set(data_dictionary(study.folder / "report")["meaning"])
    tables = load_tables(study)
    assert tables.absent == []
    assert status(study)[-1] == f"report: {study.folder}/report/index.html"
    assert (tables.costs["exclusive"] == (tables.costs["role"] == "timing")).all()


@pytest.mark.slow
def test_a_deleted_model_and_its_dependants_are_made_again_in_the_same_bytes_by_any_worker(
    copy, tiny_profile, tmp_path
):
    """By the workers of a scheduler: one original, and what is made of it; before that nothing."""
    study = open_study("phantom", tiny_profile, runs=str(copy), device="cpu")
    store, before, was = Store(study), times(copy), results(copy)
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    gone = store.entry(original(1001)).key
    dependants = {store.entry(s).key for s in specs if gone in store.entry(s).inputs}
    assert len(dependants) == 5  # two methods at two sizes, and doing nothing at the middle one
    assert "nothing to compute" in run(tiny_profile, copy).stdout
    assert times(copy) == before
    shutil.rmtree(store.path(original(1001)))
    with scheduler(tmp_path) as (address, _):
        run(tiny_profile, copy, "--cluster", address)
    after = times(copy)
    assert {key for key in after if after[key] != before[key]} == {gone} | dependants
    assert results(copy) == was


@pytest.mark.slow
def test_killed_in_the_middle_and_gone_on_with_one_job_at_a_time(finished, tiny_profile, tmp_path):
    """A study that draws its cohort anew; it ends in the bytes of one that ran undisturbed."""
    runs = tmp_path / "runs"
    models = runs / "phantom-tiny" / "models"
    process = subprocess.Popen(
        [sys.executable, "-m", "medunlearn", "reproduce", "--profile", tiny_profile,
         "--runs", str(runs), "--device", "cpu", "--jobs", "2"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: len(times(runs)) >= 5 or process.poll() is not None)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
    kept = times(runs)
    assert 5 <= len(kept) < len(times(finished))
    run(tiny_profile, runs, jobs=1)
    after = times(runs)
    assert {key: after[key] for key in kept} == kept
    assert results(runs) == results(finished)
    assert not list(models.glob(".partial-*"))


YOURS = '''"""Yours: one epoch on the retain set."""

from torch import nn

from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method("your method", "retain", "#123456 o", learning_rate=(0.001, 0.1))
def yours(model: nn.Module, task: Task, *, seed: int, learning_rate: float = 0.01) -> nn.Module:
    """Train once more."""
    student = student_of(model)
    optimizer = task.optimizer(student, learning_rate)
    train_epoch(student, task.retain, optimizer, method_stream("yours", seed))
    return student
'''


@pytest.mark.slow
def test_a_new_method_is_added_by_its_file_alone_and_one_that_fails_fails_alone(
    copy, tiny_profile, tmp_path
):
    """A rate below 0 is refused by the optimiser, in the kernel; what was there is not touched."""
    project, before = tmp_path / "project", times(copy)
    for part in ("medunlearn", "notebooks", "data_manifests"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "medunlearn" / "methods" / "yours.py").write_text(YOURS)
    fields = yaml.safe_load(Path(tiny_profile).read_text())
    broken = {"random_labels": {"epochs": 1, "learning_rate": -1.0}}
    fields["methods"] = {**broken, **fields["methods"], "yours": {"learning_rate": 0.02}}
    own = project / "tiny.yaml"
    own.write_text(yaml.safe_dump(fields))
    done = run(str(own), copy, check=False, project=project)
    assert done.returncode == 1
    assert "failed job" in done.stdout
    assert "Invalid learning rate" in done.stdout
    assert before.items() <= times(copy).items()
    folder = copy / "phantom-tiny" / "report"
    report = (folder / "index.html").read_text()
    assert "models of the design</strong>" in report
    assert "your method" in report
    made = {"finetune", "salun", "yours"}
    assert set(pd.read_csv(folder / "results.csv")["method"]) == {
        "original", "retrain", "floor", *made,
    }  # fmt: skip
    # timed though the first one failed
    assert set(pd.read_csv(folder / "costs.csv")["method"]) == made
    told = run(str(own), copy, command="status", project=project).stdout
    assert "failed: 03-random_labels-10-percent" in told


def test_tables_of_a_study_that_has_hardly_begun(tiny_study):
    """Stopped after the first reference model, and asked for a report."""
    builder = Builder(tiny_study)
    builder.train(references(tiny_study.profile)[:1])
    collect_tables(tiny_study, builder.store)
    tables = load_tables(tiny_study)
    assert tables.relearning.empty
    assert len(tables.models) == 1
    assert tables.difficulty.empty
    np.testing.assert_array_equal(tables.raw_logits, tables.logits)


def test_raw_logits_stand_beside_the_others_model_by_model(tiny_study):
    builder, cell = Builder(tiny_study), middle_cell(tiny_study.profile)
    trained = [reference(1200), original(1000), retrained(cell, 1000), retrained(cell, 1100)]
    builder.train(trained)
    collect_tables(tiny_study, builder.store)
    tables = load_tables(tiny_study)
    order = dict(zip(tables.models["model_key"], tables.raw_logits, strict=True))
    table = tiny_study.cohort.table
    test, train = (table["partition"] == part for part in ("test", "train"))
    forgotten = train & table["patient"].isin(builder.store.forget_set(trained[2]).patients)
    np.testing.assert_array_equal(
        order[builder.store.entry(trained[0]).key], builder.logits(trained[0])
    )
    for spec, stored in zip(trained[1:], (test | train, *[test | forgotten] * 2), strict=True):
        raw = order[builder.store.entry(spec).key]
        assert (np.isfinite(raw).all(axis=1) == stored).all(), spec.title
        file = pq.read_table(builder.store.file(spec, "raw_predictions.parquet"))
        np.testing.assert_array_equal(raw[stored], np.stack(file["logits"].to_numpy()))
        assert not np.array_equal(raw[stored], builder.logits(spec)[stored])


def test_costs_are_measured_anew_only_when_asked_for(tiny_study, monkeypatch):
    class Engine:
        def run(self, _jobs):
            return {}

    opened = "medunlearn.study.cluster.open_engine"
    monkeypatch.setattr(opened, lambda *_, **__: nullcontext(Engine()))
    discarded = []
    monkeypatch.setattr(Store, "discard", lambda _, spec: discarded.append(spec))
    monkeypatch.setattr(module, "_plan", lambda *_: [])
    module.reproduce(tiny_study, workers=1)
    assert discarded == []
    module.reproduce(tiny_study, workers=1, retime=True)
    assert discarded == all_timings(tiny_study.profile)


@pytest.mark.skipif(cuda_count() > 0, reason="there is a CUDA device here")
def test_an_unfinished_study_of_a_gpu_is_not_gone_on_with_where_there_is_none(tiny_study):
    """By a synthesis notebook that somebody opens to look at it."""
    with pytest.raises(InputError, match="'cuda': torch sees no CUDA device"):
        module.obtain_tables(replace(tiny_study, device="cuda"))
    assert not (tiny_study.folder / "jobs").exists()


def test_a_file_system_without_locks_is_refused(tiny_study, monkeypatch):
    """Else a killed run would leave its lock, which nobody ever took away."""

    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        pytest.raises(InputError, match=r"cannot be locked .flock.*RUNS="),
        module.alone(tiny_study.folder),
    ):
        pass


WRONG = [
    ("reproduce --dataset fantom", "did you mean 'phantom'? choose from "),
    ("reproduce --profile quik", "'quick'? choose from quick, laptop, compositions, large, full"),
    ("reproduce --device tpu", "choose from cpu, cuda"),
    ("reproduce --jobs 0", "expected 1 or more"),
    ("reproduce --jobs many", "expected 1 or more"),
    ("tune --cluster slurm", "computes here, one by one"),
    ("reproduce --cluster mars", "choose from local or nothing"),
    ("check --dataset ham10000", "DATA="),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_what_is_wrong_gets_one_clear_error(tmp_path, capsys, monkeypatch, given, said):
    monkeypatch.delenv("DATA", raising=False)
    command, *options = given.split()
    usual = ["--profile", "quick", "--runs", str(tmp_path / "runs")]
    assert main([command, *usual, *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_report_of_nothing_says_so(tiny_profile, tmp_path, capsys):
    options = ["--profile", tiny_profile, "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert main(["report", *options]) == 1
    assert "there is no report yet" in capsys.readouterr().out


def test_clean_removes_all_but_the_lock_that_others_may_wait_for(
    tiny_profile, tiny_study, capsys, monkeypatch
):
    """Else a third run would lock a new file of the same name, beside who waited for the old."""
    folder = tiny_study.folder
    runs = ["--profile", tiny_profile, "--runs", str(folder.parent)]
    with module.alone(folder):
        assert main(["clean", *runs]) == 2
        assert "another run is at work here" in capsys.readouterr().err
        assert (folder / "cohort.parquet").exists()
    held = (folder / ".lock").stat().st_ino
    (folder / "models").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", lambda *_, **__: Path("/no/such/file").stat())
        assert main(["clean", *runs]) == 2
    assert "not everything could be removed" in capsys.readouterr().err
    assert main(["clean", *runs]) == 0
    assert [path.name for path in folder.iterdir()] == [".lock"]
    assert (folder / ".lock").stat().st_ino == held
