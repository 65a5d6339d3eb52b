"""Workers as Slurm jobs. Its commands are stand-ins that start the jobs on this machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import dask.config
import pytest

from medunlearn.errors import InputError
from medunlearn.study import slurm_jobs as module
from medunlearn.study.cluster import check_cluster, open_cluster
from medunlearn.study.slurm import load_cluster, slurm_settings
from medunlearn.study.slurm_jobs import VAIN, SlurmJobs
from medunlearn.study.tasks import CarrierError

ROOT = Path(__file__).parents[2]


def test_all_that_slurm_lacks_is_told_at_once(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with (
        dask.config.set({"jobqueue.slurm.memory": None}),
        pytest.raises(InputError) as caught,
    ):
        check_cluster("slurm", None)
    assert [w in f for w, f in zip(("JOBS", "sbatch", "memory"), caught.value.faults, strict=True)]
    assert len(caught.value.faults) == 3
    assert "jobqueue.yaml" in caught.value.faults[2]


def test_an_interrupt_stays_an_interrupt():
    """dask-jobqueue makes of it an end without a fault, for whoever imports it."""
    look = "import signal; from medunlearn.study.slurm import load_cluster; load_cluster(); "
    look += "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", look], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("device", "own", "gres"),
    [
        ("cpu", [], []),
        ("cuda", [], ["--gres=gpu:1"]),
        ("cuda", ["--exclusive"], ["--exclusive", "--gres=gpu:1"]),
        ("cuda", ["--gres=gpu:h100:1"], ["--gres=gpu:h100:1"]),
        ("cuda", ["--gpus-per-task=1"], ["--gpus-per-task=1"]),
        ("cuda", ["-G 1"], ["-G 1"]),
        ("cuda", ["--gres=lscratch:50"], ["--gres=lscratch:50,gpu:1"]),
        ("cuda", ["--gres-flags=x"], ["--gres-flags=x", "--gres=gpu:1"]),
    ],
)
def test_the_script_of_a_slurm_job(tmp_path, monkeypatch, device, own, gres):
    monkeypatch.setenv("PYTHONPATH", "/else where")
    make_cluster = load_cluster()  # dask knows the settings of dask-jobqueue from now on
    settings = {
        "queue": "gpu", "walltime": "08:00:00", "memory": "16GB", "account": "mine", "job-cpu": 3,
        "job-extra-directives": own, "job-script-prologue": ["module load cuda"],
        "scheduler-options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
    }  # fmt: skip
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in settings.items()}):
        check = slurm_settings(tmp_path / "logs", device)
        with make_cluster(**check) as slurm:
            lines = slurm.job_script().splitlines()
    for line in ("-p gpu", "-t 08:00:00", "-A mine", "-n 1", "--cpus-per-task=3", "--mem=15G"):
        assert f"#SBATCH {line}" in lines
    asked = [line[8:] for line in lines if any(x in line for x in ("--g", "--excl", "-G"))]
    assert asked == gres
    prologue = ["module load cuda", f"export PYTHONPATH='{ROOT}:/else where'"]
    assert lines[lines.index(prologue[0]) :][:2] == prologue
    assert "--nthreads 1" in lines[-1]
    assert "--nworkers" not in lines[-1]
    assert f"#SBATCH -o {tmp_path}/logs" in "\n".join(lines)


def test_what_a_site_has_under_former_names_is_kept(tmp_path):
    load_cluster()
    site = {
        "jobqueue.slurm.job-extra-directives": [], "jobqueue.slurm.job-extra": ["-C a100"],
        "jobqueue.slurm.job-script-prologue": [], "jobqueue.slurm.env-extra": ["module load cuda"],
    }  # fmt: skip
    with dask.config.set(site):
        given = slurm_settings(tmp_path, "cuda")
    assert given["job_extra_directives"] == ["-C a100", "--gres=gpu:1"]
    assert given["job_script_prologue"][0] == "module load cuda"


def test_squeue_is_asked_for_all_of_this_user_whatever_the_user_prefers(slurm, monkeypatch):
    (slurm / "squeue").write_text(f'#!/bin/bash\nenv >{slurm}/env; echo 1 "$@"\n')
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    monkeypatch.setenv("LOGNAME", "another")
    asked = module._queued()
    assert asked == {"1", "--all", "--noheader", f"--user={os.getuid()}", "--format=%i"}
    assert "SQUEUE_" not in (slurm / "env").read_text()


@pytest.fixture
def opened(slurm, tmp_path, monkeypatch):
    """Open Slurm jobs; what the engine does in between is done by ``until``."""
    load_cluster()
    (tmp_path / "jobs").mkdir()
    monkeypatch.setattr(module, "PERIOD", 0.5)
    told: list[str] = []

    @contextmanager
    def opening(jobs=1, **settings):
        site = {
            "memory": "1GB", "interface": "lo", "scheduler-options": {"dashboard_address": ":0"},
            "death-timeout": 20,
        } | settings  # fmt: skip
        given = {f"jobqueue.slurm.{name}": value for name, value in site.items()}
        with (
            dask.config.set({"distributed.deploy.lost-worker-timeout": "1s", **given}),
            open_cluster(
                "slurm", tmp_path, jobs=jobs, device="cpu", write=told.append, libraries=()
            ) as carrier,
        ):
            yield carrier

    opening.told = told
    opening.submitted = lambda: (slurm / "submitted").read_text().split()
    return opening


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def until(carrier, number):
    wait_for(lambda: carrier.slots() == number)


def first(slurm, line):
    """Let the next call of sbatch do something else."""
    script, mark = slurm / "sbatch", slurm / "first"
    mark.touch()
    usual = script.read_text().split("\n", 1)[1]
    script.write_text(f"#!/bin/bash\nif rm {mark} 2>/dev/null; then {line}; fi\n{usual}")


def test_a_job_that_is_lost_while_it_has_nothing_to_do_is_submitted_again(opened):
    with opened() as carrier:
        until(carrier, 1)
        os.killpg(int(opened.submitted()[0]), signal.SIGKILL)
        until(carrier, 0)
        until(carrier, 1)
    assert len(opened.submitted()) == 2
    assert any("in place of those that ended: 1" in line for line in opened.told)


def test_a_job_that_ends_before_its_worker_is_there_is_submitted_again(opened, slurm):
    first(slurm, "echo Submitted batch job 999999999; exit 0")
    with opened() as carrier:
        until(carrier, 1)
    assert len(opened.submitted()) == 1


def test_a_replacement_that_sbatch_refuses_is_asked_for_again(opened, slurm):
    with opened() as carrier:
        until(carrier, 1)
        first(slurm, "echo Socket timed out >&2; exit 1")
        os.killpg(int(opened.submitted()[0]), signal.SIGKILL)
        until(carrier, 0)
        until(carrier, 1)
    assert len(opened.submitted()) == 2
    assert any("sbatch refused a job" in x and "Socket timed out" in x for x in opened.told)


def waiting(slurm):
    """Let sbatch submit what has no worker, and waits."""
    (slurm / "sbatch").write_text(
        f"#!/bin/bash\nsetsid sleep 60 >/dev/null 2>&1 &\n"
        f"echo $! >>{slurm}/submitted\necho Submitted batch job $!\n"
    )


def test_jobs_that_wait_in_the_queue_are_left_alone(opened, slurm):
    waiting(slurm)
    with opened(jobs=2) as carrier:
        for _ in range(40):
            assert carrier.slots() == 0
            time.sleep(0.05)
    assert len(opened.submitted()) == 2


@pytest.mark.parametrize("answer", ["exit 1", "sleep 9"])
def test_where_slurm_does_not_answer_nothing_is_taken_for_ended(opened, slurm, monkeypatch, answer):
    waiting(slurm)
    (slurm / "squeue").write_text(f"#!/bin/bash\n{answer}\n")
    monkeypatch.setattr(module, "PATIENCE_WITH_SLURM", 0.2)
    with opened() as carrier:
        for _ in range(40):
            assert carrier.slots() == 0
            time.sleep(0.05)
    assert len(opened.submitted()) == 1


def ended(slurm):
    """Let sbatch submit what has ended at once."""
    (slurm / "sbatch").write_text(
        f"#!/bin/bash\nid=99999$RANDOM\n"  # which no process has: scancel kills by it
        f"echo $id >>{slurm}/submitted\necho Submitted batch job $id\n"
    )


def test_jobs_that_always_end_before_their_worker_is_there_end_the_run(opened, slurm, tmp_path):
    ended(slurm)
    with (
        pytest.raises(CarrierError, match=f"jobs in a row ended before .*{tmp_path}/jobs/slurm"),
        opened(jobs=2) as carrier,
    ):
        until(carrier, 1)
    assert len(opened.submitted()) == 2 * (VAIN + 1)


def test_where_some_workers_are_there_the_others_are_submitted_seldom(opened, slurm):
    with opened(jobs=2) as carrier:
        until(carrier, 2)
        ended(slurm)
        os.killpg(int(opened.submitted()[0]), signal.SIGKILL)
        until(carrier, 1)
        wait_for(lambda: carrier.tend() == 0)
        number = len(opened.submitted())
        for _ in range(20):
            assert (carrier.slots(), carrier.tend()) == (1, 0)
            time.sleep(0.05)
        assert len(opened.submitted()) == number
    assert sum("submitted seldom" in line for line in opened.told) == 1


def test_a_worker_that_is_there_ends_the_count_of_those_that_never_were():
    there = {}
    cluster = SimpleNamespace(scheduler_info={"workers": there}, workers={})
    held = SlurmJobs(cluster, 2, "logs", print)
    held._next, held._vain = float("inf"), 2 * VAIN + 1
    assert held.tend() == 0
    there["tcp://a:1"] = {"name": "run-7"}
    assert held.tend() == 1


def test_jobs_that_somebody_still_holds_are_closed_at_the_end(opened, slurm):
    """Else dask's own end fails: it asks whatever has not been forgotten yet."""
    waiting(slurm)
    with opened(jobs=2) as carrier:
        kept = list(carrier.tend.__self__.cluster.workers.values())
    assert [job.status.name for job in kept] == ["closed", "closed"]


def slow(slurm):
    """Let sbatch take its time."""
    script = (slurm / "sbatch").read_text().split("\n", 1)[1]
    (slurm / "sbatch").write_text(f"#!/bin/bash\ntouch {slurm}/asked; sleep 1\n{script}")


@pytest.mark.parametrize("when", ["start", "tend"])
def test_an_interrupt_while_jobs_are_submitted_leaves_none_behind(opened, slurm, when):
    def interrupt():
        while not (slurm / "asked").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    def submit():
        with opened() as carrier:
            until(carrier, 1)
            slow(slurm)
            os.killpg(int(opened.submitted()[0]), signal.SIGKILL)
            until(carrier, 0)
            thread.start()
            until(carrier, 1)

    thread = threading.Thread(target=interrupt)
    if when == "start":
        slow(slurm)
        thread.start()
    with pytest.raises(KeyboardInterrupt):
        submit()
    thread.join()
    wait_for(lambda: set(opened.submitted()) <= set((slurm / "cancelled").read_text().split()))
    assert len(opened.submitted()) == (1 if when == "start" else 2)


def test_an_interface_that_is_not_there_is_one_clear_error(opened):
    with (
        pytest.raises(InputError, match=r"CLUSTER=slurm(.|\n)*'ib7'.*jobqueue.yaml"),
        opened(interface="ib7"),
    ):
        pass


def test_what_sbatch_says_is_told(tmp_path, slurm):
    (slurm / "sbatch").write_text("#!/bin/bash\necho invalid partition: gpu >&2; exit 1\n")
    (tmp_path / "jobs").mkdir()
    settings = {
        "memory": "1GB",
        "interface": "lo",
        "scheduler-options": {"dashboard_address": ":0"},
    }
    with (
        dask.config.set({f"jobqueue.slurm.{name}": value for name, value in settings.items()}),
        pytest.raises(InputError, match=r"sbatch refused a job: .* invalid partition: gpu"),
        open_cluster("slurm", tmp_path, jobs=2, device="cpu", write=lambda _: None),
    ):
        pass
