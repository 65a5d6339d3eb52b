"""Jobs on dask workers. The faults run the command itself over tiny notebooks (``grid.py``)."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from distributed import Client, LocalCluster

from medunlearn.errors import InputError
from medunlearn.study import cluster as module
from medunlearn.study import devices
from medunlearn.study.carriers import ThreadCarrier
from medunlearn.study.cluster import check_cluster, open_cluster
from medunlearn.study.design import original
from medunlearn.study.devices import fault_of_cuda
from medunlearn.study.jobs import Job
from medunlearn.study.runner import Runner
from medunlearn.study.store import Store
from medunlearn.study.tasks import CarrierError, Ending, NotStartedError, Task
from medunlearn.study.worker import Terms, UnfitWorkerError, faults_of_worker, fingerprint
from tests.study.grid import JOBS

ROOT = Path(__file__).parents[2]


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def text(path: Path) -> str:
    cells = nbformat.read(path, 4).cells
    return "".join(o.text for c in cells for o in c.get("outputs", []) if o.name == "stdout")


def warm_parents() -> list[psutil.Process]:
    """Those of workers that live in this process."""
    family = psutil.Process().children(recursive=True)
    return [each for each in family if "kernel_server" in " ".join(each.cmdline())]


@pytest.fixture(scope="module")
def workers():
    """A scheduler that runs already, with two workers, all in this process."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://",
        dashboard_address=None,
    ) as here:  # fmt: skip
        yield here


@pytest.fixture
def carry(workers, notebook, tmp_path):
    """Open the cluster for a study of its own; submit notebooks of the given cells to it."""
    (tmp_path / "jobs").mkdir()

    @contextmanager
    def opened(**given):
        settings = {"jobs": None, "device": "cpu", "libraries": (), "write": lambda _: None}
        address = workers.scheduler_address
        with open_cluster(address, tmp_path, **settings | given) as carrier:

            def submit(name, *cells, **parameters):
                output = tmp_path / "jobs" / f"{name}.ipynb"
                return carrier.submit(Task(name, notebook(*cells, name=name), output, parameters))

            yield carrier, submit

    return opened


def test_tasks_run_and_tell_their_faults_and_nothing_is_left(carry, workers, tmp_path):
    with carry() as (_, submit):
        good = submit("good", "print(x + 1)", x=41)
        bad = submit("bad", "1 / 0")
        wrong = submit("wrong", "1", y=2)
        assert good.result(30).fault is None
        assert good.result().seconds > 0
        assert "ZeroDivisionError" in bad.result(30).fault
        assert "unknown parameter 'y'" in wrong.result(30).fault
    assert text(tmp_path / "jobs" / "good.ipynb") == "42\n"
    names = {path.name for path in (tmp_path / "jobs").iterdir()}
    assert names == {"good.ipynb", "bad.failed.ipynb"}
    for worker in workers.workers.values():
        assert not [name for name in worker.plugins if name.startswith("run-")]
    assert not warm_parents()


def test_jobs_go_to_workers_that_have_none(carry, tmp_path):
    """Each waits for the other: on one worker they would never end."""
    meet = "import pathlib, time; p = pathlib.Path(mark); (p / str(x)).touch()\n"
    meet += "while len(list(p.iterdir())) < 2: time.sleep(0.05)"
    (tmp_path / "met").mkdir()
    with carry() as (carrier, submit):
        assert carrier.slots() == 2
        both = [submit(f"{n}", meet, x=n, mark=str(tmp_path / "met")) for n in (1, 2)]
        assert [future.result(30).fault for future in both] == [None, None]


def test_slots_follow_the_workers_up_to_the_limit(carry, workers):
    told = []
    with carry(write=told.append) as (carrier, _), carry(jobs=1) as (limited, _):
        assert (carrier.slots(), limited.slots()) == (2, 1)
        workers.scale(3)
        wait_for(lambda: carrier.slots() == 3)
        workers.scale(2)
        wait_for(lambda: carrier.slots() == 2)
        assert limited.slots() == 1
    assert any("left: 2 workers" in line for line in told)


def test_a_closed_connection_is_told_with_what_to_do(carry):
    with carry() as (carrier, _):
        carrier.client.close()
        with pytest.raises(CarrierError, match="goes on from here"):
            carrier.slots()


@pytest.mark.parametrize(("lag", "fault"), [(10, None), (0, "the notebook ended without ")])
def test_a_file_of_another_host_is_given_time_to_show(tiny_study, monkeypatch, lag, fault):
    store, looks = Store(tiny_study), count()
    monkeypatch.setattr(store, "is_done", lambda _: next(looks) > 1)
    runner = Runner(tiny_study, store, SimpleNamespace(lag=lag), print)
    (tiny_study.folder / "jobs").mkdir()
    told = runner._settle(Job("02-o", "02", {}, (original(0),)), Ending(1.0))
    assert told == (fault and fault + original(0).title)
    assert json.loads((tiny_study.folder / "jobs" / "02-o.json").read_text())["fault"] == told


def test_kernels_end_when_their_driver_is_gone(carry, tmp_path):
    mark = tmp_path / "pid"
    sleep = "import os, pathlib, time; pathlib.Path(mark).write_text(str(os.getpid()))"
    with carry() as (carrier, submit):
        submit("long", sleep, "time.sleep(600)", mark=str(mark))
        kernel = int(wait_for(lambda: mark.is_file() and mark.read_text(), 30))
        assert is_alive(kernel)
        carrier.client.close()
        wait_for(lambda: not is_alive(kernel), 5)


BAD = [
    ({"marker": Path("/nowhere/jobs/.run")}, "does not see the study in /nowhere: RUNS"),
    ({"data_root": "/nowhere/images"}, "does not see /nowhere/images: DATA"),
    ({"code": {**fingerprint(), "medunlearn": "0"}}, "has another medunlearn: "),
    ({"code": {**fingerprint(), "torch": "0.1"}}, "has another torch: "),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_a_worker_that_is_not_fit_is_named(workers, tmp_path, change, said):
    marker = tmp_path / ".run"
    marker.touch()
    terms = Terms("run", marker, "", fingerprint(), False, (), ())
    with Client(workers, set_as_default=False) as client:
        module._check_workers(client, terms)
        with pytest.raises(InputError, match=said) as caught:
            module._check_workers(client, terms._replace(**change))
    assert len(caught.value.faults) == 2
    for worker, fault in zip(workers.workers.values(), sorted(caught.value.faults), strict=True):
        assert "the worker tcp://" in fault
        assert socket.gethostname() in fault
        assert any(w.address in fault for w in (worker, *workers.workers.values()))


def test_a_worker_of_several_threads_is_refused_where_jobs_share_its_gpu(tmp_path):
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://",
        dashboard_address=None,
    ) as wide:  # fmt: skip
        (tmp_path / "jobs").mkdir()
        given = {"jobs": None, "libraries": (), "write": lambda _: None}
        with open_cluster(wide.scheduler_address, tmp_path, device="cpu", **given) as carrier:
            assert carrier.slots() == 2
        with (
            pytest.raises(InputError, match="has 2 threads, but a GPU takes one job"),
            open_cluster(wide.scheduler_address, tmp_path, device="cuda", **given),
        ):
            pass


@pytest.mark.skipif(fault_of_cuda() is None, reason="there is a CUDA device here")
def test_a_worker_without_a_gpu_is_named_by_a_command_that_needs_none_itself(
    workers, tiny_profile, drawn, tmp_path
):
    runs = shutil.copytree(drawn, tmp_path / "runs")
    options = ["--profile", tiny_profile, "--runs", str(runs), "--device", "cuda"]
    address = workers.scheduler_address
    done = subprocess.run(
        [sys.executable, "-m", "medunlearn", "reproduce", *options, "--cluster", address],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("cannot compute on cuda: ") == len(workers.workers)
    assert "Traceback" not in done.stderr


LATER = r"the worker tcp://.* does not see /nowhere/images: DATA"


def test_workers_that_join_later_are_looked_at_too_and_none_that_is_fit_ends_the_run(
    carry, monkeypatch
):
    monkeypatch.setattr(module, "_check_workers", lambda *_: None)
    with carry(data_root="/nowhere/images") as (carrier, submit):
        for left in (1, 0):
            with pytest.raises(NotStartedError, match=LATER):
                submit("any", "1").result(30)
            if left:
                assert carrier.slots() == left
        with pytest.raises(InputError, match=LATER) as caught:
            carrier.slots()
        assert len(caught.value.faults) == 2
        carrier.tend = lambda: 1
        assert carrier.slots() == 0
        carrier._unfit["tcp://127.0.0.1:1"] = "a worker that has left, and may come back mended"
        carrier.slots()
        assert "tcp://127.0.0.1:1" not in carrier._unfit


def test_a_worker_whose_name_is_unknown_here_is_refused_all_the_same(carry, monkeypatch):
    """Its address may be a name that only the workers' network knows."""
    unknown = UnfitWorkerError("tcp://nowhere.invalid:1", ["its GPU is gone"])

    def refuse(*_):
        raise unknown

    monkeypatch.setattr("medunlearn.study.worker.KernelsOfWorker.execute", refuse)
    with carry() as (_, submit), pytest.raises(NotStartedError, match="its GPU is gone"):
        submit("any", "1").result(30)


def test_a_worker_that_refuses_task_after_task_ends_the_run(carry, monkeypatch):
    """Though others are there: dask may hold them for busy."""
    monkeypatch.setattr(module, "_check_workers", lambda *_: None)
    monkeypatch.setattr("medunlearn.study.cluster_carrier.REFUSALS", 1)
    refused = "medunlearn.study.worker.faults_of_worker"
    monkeypatch.setattr(refused, lambda *_: ["its GPU is gone"])
    with carry() as (_, submit):
        for error in (NotStartedError, NotStartedError, InputError):
            with pytest.raises(error, match="its GPU is gone"):
                submit("any", "1").result(30)


def test_a_worker_that_is_not_fit_gets_no_more_jobs_and_the_others_do_the_work(
    carry, workers, monkeypatch
):
    bad, real = next(iter(workers.workers.values())).address, faults_of_worker
    taken, refused = [], []

    def faults(terms, dask_worker):
        broken = ["its GPU is gone"] if dask_worker.address == bad else []
        return broken + real(terms, dask_worker)

    monkeypatch.setattr(module, "_check_workers", lambda *_: None)
    monkeypatch.setattr("medunlearn.study.worker.faults_of_worker", faults)
    with carry() as (carrier, submit):
        both = [submit(f"{number}", "import time; time.sleep(1)") for number in range(2)]
        for future in both:
            (refused if future.exception(30) else taken).append(future)
        assert [str(future.exception()) for future in refused] == ["its GPU is gone"]
        assert carrier.slots() == 1
        # no more at a time than there are slots: others might be stolen by the idle worker
        assert [submit(f"{number}", "1").result(30).fault for number in range(2, 6)] == [None] * 4
        assert [future.result().fault for future in taken] == [None]


@pytest.mark.parametrize("given", ["mars", "Local", "127.0.0.1:8786", "http://here"])
def test_an_unknown_cluster_is_refused_with_the_choices(given):
    with pytest.raises(InputError, match=r"choose from .*local, slurm, tcp://host:port"):
        check_cluster(given, None)


@pytest.mark.parametrize(
    ("given", "package"),
    [("local", "distributed"), ("tcp://h:1", "distributed"), ("slurm", "dask_jobqueue")],
)
def test_a_missing_extra_says_how_to_install_it(monkeypatch, given, package):
    real = importlib.util.find_spec
    found = lambda name: None if name == package else real(name)  # noqa: E731
    monkeypatch.setattr(module, "find_spec", found)
    check_cluster("", None)
    with pytest.raises(InputError, match=rf"{package}: pip install {package}"):
        check_cluster(given, 2)


@pytest.mark.parametrize(
    ("count", "variable", "names"),
    [
        (0, None, []),
        (3, None, ["0", "1", "2"]),
        (2, "5,7", ["5", "7"]),
        (1, "GPU-8f2, GPU-0a1", ["GPU-8f2"]),
        (0, "", []),
        (0, "-1", []),
    ],
)
def test_devices_are_named_as_the_variable_names_them(monkeypatch, count, variable, names):
    monkeypatch.setattr(devices, "cuda_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert devices.visible_devices() == names
    assert devices.default_jobs("cuda") == max(1, len(names))
    assert devices.default_jobs("cpu") == devices.available_cores()


@pytest.mark.parametrize(
    ("given", "seen"),
    [(["5", "7"], {"5", "7"}), (["5"], {"5"}), ([], {"None"})],
)
def test_each_slot_of_this_machine_keeps_to_its_device(notebook, tmp_path, given, seen):
    path = notebook(
        "import os, time; time.sleep(0.5); print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    )
    with ThreadCarrier(2, given, libraries=()) as carrier:
        tasks = [Task(f"{n}", path, tmp_path / f"out-{n}.ipynb", {}) for n in range(4)]
        endings = [carrier.submit(task) for task in tasks]
        assert [ending.result().fault for ending in endings] == [None] * 4
    told = [text(tmp_path / f"out-{n}.ipynb").strip() for n in range(4)]
    assert set(told) == seen
    if len(seen) == 2:
        assert Counter(told) == {"5": 2, "7": 2}


# --- faults -----------------------------------------------------------------------------------


class Grid:
    """The command over tiny notebooks, as a process of its own."""

    def __init__(self, folder: Path, *options: str, device: str = "cpu", **variables: str):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.study.grid", str(folder), device, *options],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, **variables},
        )  # fmt: skip

    def log(self) -> list[list[str]]:
        path = self.folder / "models" / "log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def made(self) -> set[str]:
        return {path.name for path in self.folder.glob("models/02-?")}

    def busy(self) -> int:
        """A kernel in the middle of a job, when some are finished and more are to come."""

        def find():
            assert self.process.poll() is None, self.process.communicate()
            left = [line for line in self.log() if line[0] not in self.made()]
            return int(left[-1][1]) if self.made() and left else 0

        return wait_for(find)

    def __enter__(self) -> "Grid":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            for each in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                each.kill()
            self.process.wait()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def kernels_end(self) -> None:
        wait_for(lambda: not [line for line in self.log() if is_alive(int(line[1]))], 5)


def check_complete(grid: Grid, finished_before: set[str]) -> None:
    """Every job is done, and none that was finished before a fault was executed again."""
    assert grid.made() == {job.name for job in JOBS}
    starts = Counter(line[0] for line in grid.log())
    assert all(starts[name] == 1 for name in finished_before)


@contextmanager
def scheduler(folder: Path):
    """``dask scheduler`` and a ``dask worker`` of two processes; yields address and scheduler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, started = f"tcp://127.0.0.1:{port}", []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for what, *options in (
        ("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
        ("dask_worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"),
    ):
        command = [sys.executable, "-m", f"distributed.cli.{what}", *options]
        with (folder / f"{what}.log").open("w") as log:
            started.append(
                subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
            )
    try:
        yield address, started[0]
    finally:
        for process in started:
            family = psutil.Process(process.pid).children(recursive=True)
            for each in [*family, process]:
                each.kill()
            process.wait()


@pytest.mark.slow
def test_a_worker_killed_in_mid_job_costs_that_job_alone(tmp_path):
    """And every worker keeps to its GPU, also the one that takes the place of the dead."""
    with Grid(tmp_path, "--cluster", "local", "--jobs", "2", device="cuda") as grid:
        kernel = grid.busy()
        finished = grid.made()
        psutil.Process(kernel).parent().parent().kill()  # kernel, warm parent, worker
        wait_for(lambda: not is_alive(kernel), 5)
        code, out, err = grid.end()
        assert code == 0, err
        assert "dashboard: http" in out
        assert "submitted again: its worker tcp://" in out
        assert "(1 of 2)" in out
        assert err == ""
        check_complete(grid, finished)
        assert len(grid.log()) == len(JOBS) + 1
        assert {line[2] for line in grid.log()} == {"0", "1"}
        grid.kernels_end()


@pytest.mark.slow
def test_the_scheduler_killed_is_one_line_and_the_command_goes_on_without(tmp_path):
    with scheduler(tmp_path) as (address, process), Grid(tmp_path, "--cluster", address) as grid:
        grid.busy()
        process.kill()
        finished = grid.made()
        grid.kernels_end()
        code, _, err = grid.end()
    assert code == 1
    assert len(err.splitlines()) == 1
    assert f"the connection to the scheduler at {address} is lost" in err
    with Grid(tmp_path) as again:
        assert again.end()[0] == 0
        check_complete(again, finished)


@contextmanager
def place(where: str, folder: Path):
    """The value of CLUSTER: a scheduler is started for it if need be."""
    if where != "scheduler":
        yield where
        return
    with scheduler(folder) as (address, _):
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "local", "scheduler", "slurm"])
@pytest.mark.usefixtures("slurm")
def test_an_interrupt_ends_every_kernel_and_leaves_what_is_finished(tmp_path, where):
    with (
        place(where, tmp_path) as cluster,
        Grid(tmp_path, "--cluster", cluster, "--jobs", "2") as grid,
    ):
        grid.busy()
        finished = grid.made()
        os.killpg(grid.process.pid, signal.SIGINT)  # as a terminal does
        grid.kernels_end()
        code, _, err = grid.end()
        assert code == 130
        assert err.strip() == "stopped; the same command goes on from here"
        assert finished <= grid.made() < {job.name for job in JOBS}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", "scheduler"])
def test_no_kernel_outlives_a_driver_that_is_killed(tmp_path, where):
    with (
        place(where, tmp_path) as cluster,
        Grid(tmp_path, "--cluster", cluster, "--jobs", "2") as grid,
    ):
        grid.busy()
        grid.process.kill()
        grid.kernels_end()
        grid.end()


@pytest.mark.slow
def test_a_slurm_job_that_is_lost_is_submitted_again_and_all_are_cancelled_at_the_end(
    tmp_path, slurm
):
    with Grid(tmp_path, "--cluster", "slurm", "--jobs", "1") as grid:
        kernel = grid.busy()
        finished = grid.made()
        os.killpg(int((slurm / "submitted").read_text()), signal.SIGKILL)
        wait_for(lambda: not is_alive(kernel), 5)
        code, out, err = grid.end()
    assert code == 0, err
    assert "waiting for one" in out
    check_complete(grid, finished)
    jobs = (slurm / "submitted").read_text().split()
    assert len(jobs) == 2
    assert jobs[1] in (slurm / "cancelled").read_text().split()
    wait_for(lambda: not is_alive(int(jobs[1])), 5)
