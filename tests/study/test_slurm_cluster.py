"""A study through a real Slurm: whatever happens to its jobs, it ends or goes on, and well."""

import hashlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from medunlearn.study.builder import Builder
from medunlearn.study.design import all_models
from medunlearn.study.study import PROJECT, open_study
from tests.conftest import TINY
from tests.study.conftest import times, until
from tests.study.slurm_on_loopback import Slurm, slurm_on_loopback, why_not

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
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny study with one method."""
    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    one = {"methods": {"finetune": {"epochs": 1}}, "confirmatory": ["finetune"]}
    path.write_text(yaml.safe_dump({**TINY, **one}))
    return str(path)


@pytest.fixture(scope="module")
def alone(profile: str, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its models, made in this process."""
    runs = shutil.copytree(drawn, tmp_path_factory.mktemp("alone") / "runs")
    study = open_study("phantom", profile, runs=str(runs), device="cpu")
    builder, specs = Builder(study), all_models(study.profile)
    builder.train([spec for spec in specs if spec.role != "unlearned"])
    builder.unlearn([spec for spec in specs if spec.role == "unlearned"])
    return study.folder


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
        until(lambda: condition() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(900)


@pytest.fixture
def start(slurm: Slurm, profile: str) -> Iterator[Callable[[Path], Run]]:
    started = []

    def run(runs: Path) -> Run:
        started.append(Run(slurm, profile, runs))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGINT)
            each.end()


def predictions(study: Path) -> dict[str, str]:
    files = study.glob("models/[!.]*/predictions.parquet")
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def more_than(study: Path, before: dict[str, int]) -> Callable[[], bool]:
    return lambda: len(times(study)) > len(before)


def test_whatever_happens_to_its_jobs_the_study_ends_in_the_same_bytes(
    slurm: Slurm, start: Callable[[Path], Run], alone: Path, drawn: Path, tmp_path: Path
) -> None:
    """One study meets every fault, one after the other; no finished model is computed twice."""
    runs = shutil.copytree(drawn, tmp_path / "runs")
    first = start(runs)
    study = first.study
    first.until(lambda: bool(times(study)))
    assert len(slurm.jobs("--states=RUNNING")) == 2
    # an interrupt leaves no job, and what is finished
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130, first.log.read_text()
    assert "Traceback" not in first.log.read_text()
    until(lambda: not slurm.jobs())
    kept = [times(study)]
    assert kept[0], "nothing of it was kept"
    second = start(runs)
    second.until(more_than(study, kept[-1]))
    # a controller that is stopped and started again disturbs nothing
    slurm.stop("slurmctld")
    kept.append(times(study))
    second.until(more_than(study, kept[-1]))
    slurm.start_controller()
    # jobs that are cancelled are submitted again
    cancelled = slurm.jobs()
    slurm.say("scancel", *cancelled)
    kept.append(times(study))
    second.until(lambda: bool(set(slurm.jobs("--states=RUNNING")) - set(cancelled)))
    second.until(more_than(study, kept[-1]))
    # what is submitted in place of a job on a drained node waits in vain, and is done without
    node = slurm.say("squeue", "--noheader", "--states=RUNNING", "--format=%N")[0]
    slurm.say("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm.say("scancel", *slurm.jobs(f"--nodelist={node}"))
    kept.append(times(study))
    assert second.end() == 0, second.log.read_text()
    for before in kept:
        assert before.items() <= times(study).items(), "a finished model was computed twice"
    assert len(kept[-1]) < len(times(study)), "the study ended before its last fault"
    assert predictions(study) == predictions(alone)
    assert (study / "report" / "index.html").exists()
    until(lambda: not slurm.jobs())
