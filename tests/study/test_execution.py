import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest

from medunlearn.errors import InputError
from medunlearn.study.execution import JobError, execute
from medunlearn.study.kernels import WarmKernels

Writer = Callable[..., Path]


def outputs(path: Path) -> list[Any]:
    return [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]


def text(path: Path) -> str:
    return "".join(output.text for output in outputs(path) if output.output_type == "stream")


def test_output_is_complete_and_has_the_parameters(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    execute(notebook("print(x + 1)", "print('end')"), tmp_path / "out.ipynb", {"x": 41}, kernels)
    assert text(tmp_path / "out.ipynb") == "42\nend\n"
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input.ipynb", "out.ipynb"]


def test_unknown_parameters_are_all_told_with_the_known_ones(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="known are: x, mark") as caught:
        execute(notebook(), tmp_path / "out.ipynb", {"x": 1, "y": 2, "z": 3}, kernels)
    assert len(caught.value.faults) == 2
    assert not (tmp_path / "out.ipynb").exists()


def test_failing_cell_leaves_only_a_failed_notebook(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    output = tmp_path / "out.ipynb"
    output.write_text("of an earlier run")
    with pytest.raises(JobError, match=r"cell \[2\]: ZeroDivisionError: division by zero"):
        execute(notebook("1 / 0", "print('never')"), output, {}, kernels)
    assert not output.exists()
    assert not (tmp_path / "out.partial.ipynb").exists()
    assert "ZeroDivisionError" in (tmp_path / "out.failed.ipynb").read_text()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "the kernel died"),
        ("import os; os._exit(0)", "the kernel died"),
        ("raise SystemExit(0)", "did not run to its end"),
    ],
)
def test_a_kernel_that_ends_early_is_never_a_success(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path, cell: str, message: str
) -> None:
    with pytest.raises(JobError, match=message):
        execute(notebook("print('start')", cell, "x"), tmp_path / "out.ipynb", {}, kernels)
    assert not (tmp_path / "out.ipynb").exists()
    assert text(tmp_path / "out.failed.ipynb").startswith("start\n")


def test_death_after_the_last_cell_is_noticed(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    death = "import os, threading\nthreading.Timer(0.01, lambda: os.kill(os.getpid(), 9)).start()"
    with pytest.raises(JobError, match="the kernel died"):
        execute(
            notebook(death + "\nimport time; time.sleep(1)"), tmp_path / "out.ipynb", {}, kernels
        )
    assert not (tmp_path / "out.ipynb").exists()


def test_a_cell_has_a_time_limit(kernels: WarmKernels, notebook: Writer, tmp_path: Path) -> None:
    path = notebook("import time; time.sleep(60)")
    begin = time.monotonic()
    with pytest.raises(JobError, match="after 1 seconds"):
        execute(path, tmp_path / "out.ipynb", {}, kernels, cell_timeout=1)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("warm", [True, False])
def test_a_plot_is_an_image(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path, warm: bool
) -> None:
    path = notebook("import matplotlib.pyplot as plt", "plt.plot([1, 2]);")
    if warm:
        execute(path, tmp_path / "out.ipynb", {}, kernels)
    else:
        with WarmKernels(warm=False) as cold:
            execute(path, tmp_path / "out.ipynb", {}, cold)
    assert ["image/png" in output.data for output in outputs(tmp_path / "out.ipynb")] == [True]


def test_variables_reach_the_kernel(kernels: WarmKernels, notebook: Writer, tmp_path: Path) -> None:
    path = notebook("import os; print(os.environ['MARK'], os.environ['HOME'] != '')")
    execute(path, tmp_path / "out.ipynb", {}, kernels, environment={"MARK": "näh"})
    assert text(tmp_path / "out.ipynb") == "näh True\n"


def test_a_kernel_computes_with_one_thread(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    path = notebook(
        "import os, torch",
        "a = torch.rand(500, 500, requires_grad=True); (a @ a).sum().backward()",
        "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])",
    )
    execute(path, tmp_path / "out.ipynb", {}, kernels)
    assert text(tmp_path / "out.ipynb") == "1 1\n"


@pytest.mark.parametrize(
    ("threads", "runs"), [(8, 24), pytest.param(16, 144, marks=pytest.mark.slow)]
)
def test_many_threads_run_notebooks_at_once(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path, threads: int, runs: int
) -> None:
    path = notebook("print(x)")
    alive = threading.active_count()
    with ThreadPoolExecutor(threads) as pool:
        jobs = [
            pool.submit(execute, path, tmp_path / f"{run}.ipynb", {"x": run}, kernels)
            for run in range(runs)
        ]
    for run, job in enumerate(jobs):
        job.result()
        assert text(tmp_path / f"{run}.ipynb") == f"{run}\n"
    assert threading.active_count() == alive


def test_runs_inside_a_running_event_loop(
    kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    path = notebook("print(x)")

    def run(number: int) -> None:
        execute(path, tmp_path / f"{number}.ipynb", {"x": number}, kernels)

    async def session() -> None:
        run(0)
        await asyncio.gather(*(asyncio.to_thread(run, number) for number in (1, 2, 3)))

    asyncio.run(session())
    assert [text(tmp_path / f"{number}.ipynb") for number in range(4)] == [
        f"{n}\n" for n in range(4)
    ]


def test_close_from_another_thread_ends_all_runs(
    light_kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    path = notebook("open(mark, 'w')", "import time; time.sleep(600)")

    def run(number: int) -> None:
        mark = str(tmp_path / f"{number}.mark")
        execute(path, tmp_path / f"{number}.ipynb", {"mark": mark}, light_kernels)

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(run, number) for number in range(3)]
        while len(list(tmp_path.glob("*.mark"))) < 2:  # the third may still be starting
            time.sleep(0.05)
        begin = time.monotonic()
        light_kernels.close()
        errors = [job.exception() for job in jobs]
    assert time.monotonic() - begin < 10
    assert [str(error) for error in errors] == ["stopped, for the kernels were closed"] * 3
    assert all(isinstance(error, JobError) for error in errors)
    assert not light_kernels.folder.exists()
    with pytest.raises(JobError, match="closed"):
        execute(path, tmp_path / "out.ipynb", {}, light_kernels)
