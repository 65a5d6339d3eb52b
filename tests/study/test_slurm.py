"""Workers as Slurm jobs, as far as no Slurm is needed: `test_slurm_cluster` has a real one."""

import subprocess
import sys
from pathlib import Path

import dask.config
import pytest

from medunlearn.study import cluster as module
from medunlearn.study.cluster import VAIN, SlurmJobs
from medunlearn.study.engine import LostError

ROOT = Path(__file__).parents[2]


def test_what_sbatch_or_dask_refuses_is_one_clear_error_and_an_interrupt_stays_one(tmp_path):
    """dask-jobqueue makes of an interrupt an end without a fault, for whoever imports it."""
    code = f"""
import signal
from medunlearn.study.cluster import SlurmJobs
from medunlearn.errors import InputError
try:
    SlurmJobs("run", 1, "cpu", {str(tmp_path)!r})
except InputError as error:
    print(error)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    for memory, said in (("1GB", "No such file or directory: 'sbatch'"), ("", "how much cores")):
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        environment["DASK_JOBQUEUE__SLURM__INTERFACE"] = "lo"
        if memory:
            environment["DASK_JOBQUEUE__SLURM__MEMORY"] = memory
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert said in done.stdout
        assert "jobqueue.yaml" in done.stdout


@pytest.mark.parametrize(
    ("device", "own", "asked"),
    [
        ("cpu", [], []),
        ("cuda", [], ["--gpus-per-node=1"]),
        ("cuda", ["--gres=lscratch:50"], ["--gres=lscratch:50", "--gpus-per-node=1"]),
        ("cuda", ["--gres=gpu:h100:1"], ["--gres=gpu:h100:1"]),
        ("cuda", ["-G 1"], ["-G 1"]),
    ],
)
def test_the_script_of_a_slurm_job(tmp_path, monkeypatch, device, own, asked):
    scripts, scaled = [], []
    monkeypatch.setattr(module, "_run", lambda *_, script="": scripts.append(script))
    monkeypatch.setattr(
        "dask_jobqueue.slurm.SLURMCluster.scale", lambda _, jobs=0: scaled.append(jobs)
    )
    settings = {
        "queue": "gpu", "walltime": "08:00:00", "memory": "16GB", "job-cpu": 3,
        "job-extra-directives": own, "job-script-prologue": ["module load cuda"],
        "scheduler-options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
    }  # fmt: skip
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in settings.items()}):
        jobs = SlurmJobs("run-7", 2, device, str(tmp_path / "logs"))
        jobs.close()
    assert scaled[0] == 2
    lines = scripts[0].splitlines()
    for line in ("-J run-7", "-p gpu", "-t 08:00:00", "-n 1", "--cpus-per-task=3", "--mem=15G"):
        assert f"#SBATCH {line}" in lines
    assert [x[8:] for x in lines if x[8:].startswith(("--g", "-G"))] == asked
    assert "module load cuda" in lines
    assert "--nthreads 1" in lines[-1]
    assert "--no-nanny" in lines[-1]
    assert f"#SBATCH -o {tmp_path}/logs" in "\n".join(lines)


class Cluster:
    """A cluster with these workers, which notes what it is asked for."""

    def __init__(self, *workers):
        self.scheduler_info, self.asked = {"workers": workers}, []

    def scale(self, jobs):
        self.asked.append(jobs)


@pytest.fixture
def held(monkeypatch):
    """Slurm jobs of a cluster; ``squeue`` says what it is told to."""

    def make(cluster, queue=""):
        jobs = object.__new__(SlurmJobs)
        jobs.cluster, jobs.name, jobs.number, jobs.logs = cluster, "run-7", 3, "/logs"
        jobs.vain, jobs.next = 0, 0.0
        monkeypatch.setattr(module, "_run", lambda *_: queue)
        return jobs

    return make


def test_jobs_are_asked_for_again_now_and_then(held):
    cluster = Cluster("w1")
    jobs = held(cluster)
    jobs.tend()
    jobs.tend()
    assert cluster.asked == [3]
    jobs.next = 0
    jobs.tend()
    assert cluster.asked == [3, 3]


@pytest.mark.parametrize(("workers", "queue"), [(["w1"], ""), ([], "12")])
def test_a_run_waits_for_jobs_that_run_or_are_queued(held, workers, queue):
    jobs = held(Cluster(*workers), queue)
    for _ in range(2 * VAIN):
        jobs.next = 0
        jobs.tend()


def test_jobs_that_always_end_before_their_worker_is_there_end_the_run(held):
    jobs = held(Cluster())
    for _ in range(VAIN - 1):
        jobs.next = 0
        jobs.tend()
    jobs.next = 0
    with pytest.raises(LostError, match=r"ended before .*walltime.*/logs"):
        jobs.tend()
