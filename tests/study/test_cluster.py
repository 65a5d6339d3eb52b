"""Jobs on dask workers. The faults run the command itself over tiny notebooks (``grid.py``)."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from distributed import KilledWorker, LocalCluster
from distributed.comm.core import CommClosedError

from medunlearn.errors import InputError
from medunlearn.study import worker
from medunlearn.study.cluster import open_engine
from medunlearn.study.engine import LostError
from medunlearn.study.worker import Kernels
from tests.study.conftest import until
from tests.study.grid import JOBS

ROOT = Path(__file__).parents[2]
LIMIT = 30  # seconds until a kernel is gone: moments, but for a busy machine


def is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def there():
    """A scheduler that runs already, with two workers, all in this process."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://",
        dashboard_address=":0",
    ) as here:  # fmt: skip
        yield here


@pytest.fixture
def carry(there, notebook, tmp_path, monkeypatch):
    """Open workers for a study of its own; submit notebooks of the given cells to them."""
    monkeypatch.setattr(worker, "LIBRARIES", ())

    @contextmanager
    def opened(cluster=there.scheduler_address, jobs=None, device="cpu", write=print):
        study = SimpleNamespace(folder=tmp_path, data_root="", device=device)
        with open_engine(study, None, jobs=jobs, cluster=cluster, write=write) as engine:

            def submit(name, *cells, **parameters):
                output = tmp_path / "jobs" / f"{name}.ipynb"
                future = engine.submit(notebook(*cells, name=name), output, parameters)
                return lambda: engine.ending(future)

            yield engine, submit

    return opened


@pytest.mark.parametrize("where", ["", "local", "scheduler"])
def test_notebooks_run_and_tell_their_faults_and_nothing_is_left(carry, there, tmp_path, where):
    where = there.scheduler_address if where == "scheduler" else where
    with carry(where) as (_, submit):
        good = submit("good", "print(x + 1)", x=41)
        bad = submit("bad", "1 / 0")
        assert good().fault is None
        assert good().seconds > 0
        assert good().host == socket.gethostname()
        assert "ZeroDivisionError" in bad().fault
    assert '"42\\n"' in (tmp_path / "jobs" / "good.ipynb").read_text()
    names = {path.name for path in (tmp_path / "jobs").iterdir()}
    assert names == {"good.ipynb", "bad.failed.ipynb"}
    for each in there.workers.values():
        assert not [name for name in each.plugins if name.startswith("medunlearn-")]


def test_places_follow_the_workers_up_to_the_limit(carry, there):
    told = []
    with carry(write=told.append) as (workers, _), carry(jobs=1) as (limited, _):
        assert (workers.slots(), limited.slots()) == (2, 1)
        there.scale(3)
        until(lambda: workers.slots() == 3)
        there.scale(2)
        until(lambda: workers.slots() == 2)
        assert limited.slots() == 1
    assert [line.strip() for line in told] == [f"{n} notebooks at a time" for n in (2, 3, 2)]


def test_a_job_that_kills_its_workers_is_given_up_with_what_to_look_at(carry):
    """As a walltime does that is shorter than the start of a notebook on a loaded node."""
    dead = Future()
    dead.set_exception(KilledWorker("02-o", SimpleNamespace(address="tcp://node7:1"), 10))
    with carry("local") as (workers, _):
        fault = workers.ending(dead).fault
    assert fault.startswith("11 workers died executing it, the last one at tcp://node7:1")
    assert "walltime" in fault


def test_every_worker_that_is_not_fit_is_named_with_what_it_lacks(carry, there, monkeypatch):
    codes = iter(["old", *["new"] * 9])
    monkeypatch.setattr(worker, "code_version", lambda: next(codes))
    with pytest.raises(InputError, match="has other code than the command") as caught, carry():
        pass
    assert {fault.split()[2] for fault in caught.value.faults} == {
        each.address for each in there.workers.values()
    }
    kernels = Kernels(Path("/nowhere"), "cpu")
    assert (
        kernels.fault()
        == "does not see /nowhere: RUNS must lie in a file system that all workers share"
    )


def test_a_worker_that_joins_and_is_not_fit_is_sent_away_and_told(carry, there, monkeypatch):
    told = []
    with carry(write=told.append) as (workers, _):
        monkeypatch.setattr(Kernels, "fault", lambda _: "cannot compute on cuda: its GPU is gone")
        there.scale(3)
        until(lambda: any("is sent away, for it cannot compute" in line for line in told))
        until(lambda: workers.slots() == 2)
        there.scale(2)


def test_a_scheduler_that_does_not_answer_is_one_clear_error(carry, monkeypatch):
    monkeypatch.setattr("medunlearn.study.cluster.CONNECT_TIMEOUT", 1)
    with (
        pytest.raises(InputError, match="does not answer: start one with `dask scheduler`"),
        carry("tcp://127.0.0.1:1"),
    ):
        pass


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

        return until(find)

    def __enter__(self) -> "Grid":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            for each in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                each.kill()
            self.process.wait()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=900)
        return self.process.returncode, out, err

    def kernels_end(self) -> None:
        until(lambda: not [line for line in self.log() if is_alive(int(line[1]))], LIMIT)


def check_complete(grid: Grid, finished_before: set[str]) -> None:
    """Every job is done, and none that was finished before a fault was executed again."""
    assert grid.made() == {job.name for job in JOBS}
    starts = Counter(line[0] for line in grid.log())
    assert all(starts[name] == 1 for name in finished_before)


@contextmanager
def scheduler(folder: Path):
    """``dask scheduler`` and two times ``dask worker``; yields the address and these processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, started = f"tcp://127.0.0.1:{port}", []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    worker = ("dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    for what, *options in (
        ("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
        worker,
        worker,
    ):
        command = [sys.executable, "-m", f"distributed.cli.{what}", *options]
        with (folder / f"{what}.log").open("a") as log:
            started.append(
                subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
            )
    try:
        yield address, started
    finally:
        for process in started:
            family = []
            with suppress(psutil.NoSuchProcess):
                family = psutil.Process(process.pid).children(recursive=True)
            for each in [*family, process]:
                each.kill()
            process.wait()


@pytest.mark.parametrize(
    ("error", "raised"),
    [(CommClosedError, LostError), (CancelledError, LostError), (OSError, OSError)],
)
def test_a_scheduler_that_is_lost_before_the_client_knows_is_told_and_nothing_else(
    carry, error, raised
):
    with pytest.raises(raised), carry():  # its client is connected all the time
        raise error


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_command_on_this_machine_is_silent_but_for_its_progress(tmp_path, device):
    with Grid(tmp_path, "--jobs", "2", device=device) as grid:
        code, out, err = grid.end()
        assert (code, err) == (0, "")
        check_complete(grid, set())
        grid.kernels_end()
    assert out.count("waiting for cpu: a test does") == len(JOBS)
    assert {line[2] for line in grid.log()} == ({"0", "1"} if device == "cuda" else {"None"})


@pytest.mark.slow
def test_a_worker_killed_in_mid_job_costs_that_job_alone(tmp_path):
    with (
        scheduler(tmp_path) as (address, (_, *workers)),
        Grid(tmp_path, "--cluster", address) as grid,
    ):
        kernel = grid.busy()
        finished = grid.made()
        (owner,) = {p.pid for p in psutil.Process(kernel).parents()} & {w.pid for w in workers}
        os.kill(owner, signal.SIGKILL)
        until(lambda: not is_alive(kernel), LIMIT)
        code, out, err = grid.end()
        assert code == 0, err
        assert " 1 notebooks at a time" in out
        assert err == ""
        check_complete(grid, finished)
        grid.kernels_end()


@pytest.mark.slow
def test_the_scheduler_killed_is_one_line_and_the_command_goes_on_without(tmp_path):
    with (
        scheduler(tmp_path) as (address, (process, *_)),
        Grid(tmp_path, "--cluster", address) as grid,
    ):
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


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "scheduler"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_kernel_outlives_a_command_that_is_stopped_and_what_is_finished_stays(
    tmp_path, where, how
):
    with ExitStack() as stack:
        cluster = stack.enter_context(scheduler(tmp_path))[0] if where else ""
        grid = stack.enter_context(Grid(tmp_path, "--cluster", cluster, "--jobs", "2"))
        grid.busy()
        finished = grid.made()
        os.killpg(grid.process.pid, how)  # as a terminal does
        grid.kernels_end()
        code, _, err = grid.end()
    if how == signal.SIGINT:
        assert (code, err.strip()) == (130, "stopped; the same command goes on from here")
    assert finished <= grid.made() < {job.name for job in JOBS}
