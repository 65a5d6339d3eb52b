"""A study through a real Slurm: whatever happens to its jobs, it ends or goes on, and well."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medunlearn.study.study import PROJECT
from tests.study.slurm_on_loopback import Slurm, slurm_on_loopback, until, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=f"no Slurm can be brought up: {why_not()}"),
]
COMMAND = [sys.executable, "-m", "medunlearn", "reproduce", "--device", "cpu", "--jobs", "2"]
SETTINGS = {
    "DASK_JOBQUEUE__SLURM__MEMORY": "1GB",
    "DASK_JOBQUEUE__SLURM__INTERFACE": "lo",
    "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s",
    "PYTHONPATH": str(PROJECT),
}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm_on_loopback(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def alone(tiny_profile: str, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, made without a cluster."""
    runs = shutil.copytree(drawn, tmp_path_factory.mktemp("alone") / "runs")
    command = [*COMMAND, "--profile", tiny_profile, "--runs", str(runs)]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    return runs / "phantom-tiny"


class Run:
    """One run of the study through Slurm."""

    def __init__(self, slurm: Slurm, profile: str, runs: Path) -> None:
        self.study, self.log = runs / "phantom-tiny", runs / "log"
        command = [*COMMAND, "--cluster", "slurm", "--profile", profile, "--runs", str(runs)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=PROJECT, stdout=log, stderr=log, env={**slurm.environment, **SETTINGS}
            )

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something while it runs."""
        until(lambda: condition() or self.process.poll() is not None, 900)
        assert self.process.poll() is None, self.log.read_text()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(900)


@pytest.fixture
def start(slurm: Slurm, tiny_profile: str) -> Iterator[Callable[[Path], Run]]:
    started = []

    def run(runs: Path) -> Run:
        started.append(Run(slurm, tiny_profile, runs))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGINT)
            each.end()


def finished(study: Path) -> dict[str, int]:
    """When each model was finished."""
    return {
        path.parent.name: path.stat().st_mtime_ns for path in study.glob("models/[!.]*/record.json")
    }


def predictions(study: Path) -> dict[str, str]:
    files = study.glob("models/[!.]*/predictions.parquet")
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def half_made(alone: Path, tmp_path: Path) -> tuple[Path, dict[str, int]]:
    """A copy of the finished study without its unlearned models, and when the rest was finished."""
    runs = shutil.copytree(alone.parent, tmp_path / "runs")
    study = runs / "phantom-tiny"
    for record in study.glob("models/[!.]*/record.json"):
        if json.loads(record.read_text())["title"].startswith("unlearned"):
            shutil.rmtree(record.parent)
    return study, finished(study)


def assert_whole(run: Run, alone: Path, before: dict[str, int], slurm: Slurm) -> None:
    """The study is there as without a cluster, made once, and no Slurm job is left."""
    assert run.end() == 0, run.log.read_text()
    assert before.items() <= finished(run.study).items(), "a finished model was computed twice"
    assert predictions(run.study) == predictions(alone)
    assert (run.study / "report" / "index.html").exists()
    until(lambda: not slurm.jobs(), 30)


def test_after_an_interrupt_no_job_is_left_and_the_next_run_goes_on_to_the_same_bytes(
    slurm: Slurm, start: Callable[[Path], Run], alone: Path, drawn: Path, tmp_path: Path
) -> None:
    runs = shutil.copytree(drawn, tmp_path / "runs")
    first = start(runs)
    first.until(lambda: bool(finished(first.study)))
    assert len(slurm.jobs("--states=RUNNING")) == 2
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130, first.log.read_text()
    assert "Traceback" not in first.log.read_text()
    until(lambda: not slurm.jobs(), 30)
    before = finished(first.study)
    assert before, "nothing of it was kept"
    assert_whole(start(runs), alone, before, slurm)


def test_a_job_cancelled_and_a_node_drained_meanwhile_are_done_without(
    slurm: Slurm, start: Callable[[Path], Run], alone: Path, tmp_path: Path
) -> None:
    """The job that is submitted in place of the cancelled one finds no node, and waits in vain."""
    study, before = half_made(alone, tmp_path)
    run = start(study.parent)
    run.until(lambda: len(finished(study)) > len(before))
    node = slurm.say("squeue", "--noheader", "--states=RUNNING", "--format=%N")[0]
    try:
        slurm.say("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        slurm.say("scancel", *slurm.jobs(f"--nodelist={node}"))
        assert_whole(run, alone, before, slurm)
    finally:
        slurm.say("scontrol", "update", f"nodename={node}", "state=resume")


def test_both_jobs_cancelled_are_submitted_again(
    slurm: Slurm, start: Callable[[Path], Run], alone: Path, tmp_path: Path
) -> None:
    study, before = half_made(alone, tmp_path)
    run = start(study.parent)
    run.until(lambda: len(finished(study)) > len(before))
    slurm.say("scancel", *slurm.jobs())
    assert_whole(run, alone, before, slurm)


def test_a_controller_that_is_stopped_and_started_again_disturbs_nothing(
    slurm: Slurm, start: Callable[[Path], Run], alone: Path, tmp_path: Path
) -> None:
    study, before = half_made(alone, tmp_path)
    run = start(study.parent)
    run.until(lambda: len(finished(study)) > len(before))
    there = len(finished(study))
    slurm.stop("slurmctld")
    run.until(lambda: len(finished(study)) > there)
    slurm.start_controller()
    assert_whole(run, alone, before, slurm)
