"""Notebooks run to their end or are no success, and no kernel outlives who started it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from medunlearn.study.jupyter_kernels import JobError, WarmKernels
from medunlearn.study.worker import execute
from tests.study.conftest import until

Writer = Callable[..., Path]
MARK = "import os, pathlib, time; pathlib.Path(mark).write_text(f'{os.getpid()} {os.getppid()}')"
SLEEP = "time.sleep(600)"
LIMIT = 30  # seconds until nothing may be alive: moments, but for a busy machine
OWNER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from medunlearn.study.jupyter_kernels import JobError, WarmKernels
from medunlearn.study.worker import execute

folder, libraries, jobs = Path(sys.argv[1]), sys.argv[2].split(), int(sys.argv[3])


def run(number, notebook):
    output, mark = folder / f"{number}.ipynb", folder / f"{number}.mark"
    try:
        execute(Path(notebook), output, {"mark": str(mark)}, kernels)
    except JobError as error:
        print(number, error, flush=True)


if __name__ == "__main__":
    with ThreadPoolExecutor(jobs) as pool, closing(WarmKernels(libraries)) as kernels:
        list(pool.map(run, range(10), sys.argv[4:]))
"""


def outputs(path: Path) -> list[Any]:
    return [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]


def text(path: Path) -> str:
    return "".join(output.text for output in outputs(path) if output.output_type == "stream")


def pids(mark: Path) -> tuple[int, int]:
    """Process ids of a kernel and of its parent."""
    until(lambda: mark.exists() and len(mark.read_text().split()) == 2)
    kernel, parent = map(int, mark.read_text().split())
    return kernel, parent


def start_owner(folder: Path, libraries: str, jobs: int, *notebooks: Path) -> psutil.Popen:
    """A process that runs notebooks, so many at a time; errors go to its output."""
    script = folder / "owner.py"
    script.write_text(OWNER)
    return psutil.Popen(
        [sys.executable, str(script), str(folder), libraries, str(jobs), *map(str, notebooks)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])},
    )


def assert_gone(processes: list[psutil.Process]) -> None:
    assert processes
    _, alive = psutil.wait_procs(processes, timeout=LIMIT)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["import os; os.kill(os.getpid(), 9)", "x"], "Kernel died"),
        (["import os; os._exit(0)", "x"], "Kernel died"),
        (["raise SystemExit(0)", "x"], "did not run to its end"),
        (["1 / 0", "print('never')"], r"cell \[3\]: ZeroDivisionError: division by zero"),
        # after the last cell has begun, and after its output is there
        (["import os, time", "time.sleep(0.2); os.kill(os.getpid(), 9)"], "Kernel died"),
    ],
)
def test_a_kernel_that_ends_early_is_never_a_success(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path, cells: list[str], message: str
) -> None:
    (tmp_path / "out.ipynb").write_text("of an earlier run")
    with pytest.raises(JobError, match=message):
        execute(notebook("print('start')", *cells), tmp_path / "out.ipynb", {}, kernels)
    assert {path.name for path in tmp_path.iterdir()} == {"input.ipynb", "out.failed.ipynb"}
    assert text(tmp_path / "out.failed.ipynb").startswith("start\n")


def test_a_kernel_has_its_variables_one_thread_and_may_start_processes_of_its_own(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes with functions of its cells: one that is not forked from the kernel lacks them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    path = notebook(
        "import os, torch; print(os.environ['MARK'], os.environ['HOME'] != '')",
        "a = torch.rand(500, 500, requires_grad=True); (a @ a).sum().backward()",
        "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])",
        "from multiprocessing import Pool",
        "def twice(n): return 2 * n",
        "with Pool(2) as pool: print(pool.map(twice, [x, 3]))",
    )
    execute(path, tmp_path / "out.ipynb", {"x": 4}, kernels, environment={"MARK": "näh"})
    assert text(tmp_path / "out.ipynb") == "näh True\n1 1\n[8, 6]\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input.ipynb", "out.ipynb"]


def test_many_threads_run_notebooks_at_once_and_so_does_a_running_event_loop(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    """Sixteen at a time raced for TCP ports, until sockets had a path of their own."""
    path, runs = notebook("print(x)"), 48
    alive = threading.active_count()

    def run(number: int) -> None:
        execute(path, tmp_path / f"{number}.ipynb", {"x": number}, kernels)

    async def session() -> None:
        run(0)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(run, range(1, runs)))

    asyncio.run(session())
    assert [text(tmp_path / f"{n}.ipynb") for n in range(runs)] == [f"{n}\n" for n in range(runs)]
    assert threading.active_count() <= alive + 1, "jupyter_core keeps one, for a running loop"


def test_close_from_another_thread_ends_all_runs_and_leaves_no_file(
    notebook: Writer, tmp_path: Path
) -> None:
    path, own = notebook(MARK, SLEEP), WarmKernels()
    folder = Path(own._files.name)
    assert folder.stat().st_mode & 0o777 == 0o700

    def run(number: int) -> None:
        execute(path, tmp_path / f"{number}.ipynb", {"mark": str(tmp_path / f"{number}.m")}, own)

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(run, number) for number in range(3)]
        kernels = [psutil.Process(pids(tmp_path / f"{n}.m")[0]) for n in range(2)]
        own.close()  # the third may still be starting
        assert_gone(kernels)
        errors = [job.exception() for job in jobs]
    assert all(isinstance(error, JobError) for error in errors)
    with pytest.raises(JobError, match="closed"):
        execute(path, tmp_path / "out.ipynb", {}, own)
    assert not folder.exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_owner(notebook: Writer, tmp_path: Path, end: signal.Signals) -> None:
    path = notebook("import subprocess; subprocess.Popen(['sleep', '600'])", MARK, SLEEP)
    owner = start_owner(tmp_path, "", 2, path, path)
    for number in range(2):
        pids(tmp_path / f"{number}.mark")
    family = owner.children(recursive=True)
    assert len(family) == 6, "fork server, resource tracker, two kernels, two of theirs"
    owner.send_signal(end)
    assert_gone(family)
    owner.communicate()
    assert not list(tmp_path.glob("[01].ipynb"))
    assert len(list(tmp_path.glob("*.failed.ipynb"))) == (2 if end == signal.SIGINT else 0)


def test_where_a_fork_is_not_sound_a_kernel_starts_as_usual_and_ends_with_its_owner(
    notebook: Writer, tmp_path: Path
) -> None:
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    plot = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
    cold = "import sys; assert 'starts_a_thread' not in sys.modules; import medunlearn, tqdm.auto"
    owner = start_owner(tmp_path, "starts_a_thread", 1, notebook(cold, plot, MARK, SLEEP))
    pids(tmp_path / "0.mark")
    partial = tmp_path / "0.partial.ipynb"
    until(lambda: "image/png" in partial.read_text())
    assert "Warning" not in partial.read_text(), "tqdm would like to have ipywidgets"
    family = owner.children(recursive=True)
    owner.kill()
    owner.communicate()
    assert_gone(family)
