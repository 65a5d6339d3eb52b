import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from jupyter_core.utils import run_sync

from medunlearn.study.execution import JobError, execute
from medunlearn.study.kernels import WarmKernels

Writer = Callable[..., Path]
MARK = "import os, pathlib, time; pathlib.Path(mark).write_text(f'{os.getpid()} {os.getppid()}')"
LIMIT = 5  # seconds until nothing may be alive
OWNER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from medunlearn.study.execution import execute
from medunlearn.study.kernels import WarmKernels
notebook, folder, warm = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "warm"
with ThreadPoolExecutor() as pool, WarmKernels(warm, libraries=sys.argv[4:]) as kernels:
    (folder / "folder").write_text(str(kernels.folder))
    jobs = [
        pool.submit(execute, notebook, Path(f"{name}.ipynb"), {"mark": f"{name}.mark"}, kernels)
        for name in (folder / "0", folder / "1")
    ]
    for job in jobs:
        job.result()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks kernels on Linux alone")


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def assert_gone(processes: list[psutil.Process]) -> None:
    assert processes
    _, alive = psutil.wait_procs(processes, timeout=LIMIT)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def pids(mark: Path) -> tuple[int, int]:
    """Process ids of a kernel and of its parent."""
    wait_for(lambda: mark.exists() and len(mark.read_text().split()) == 2)
    kernel, parent = map(int, mark.read_text().split())
    return kernel, parent


def start_owner(notebook: Path, folder: Path, *arguments: str) -> psutil.Popen:
    return psutil.Popen(
        [sys.executable, "-c", OWNER, str(notebook), str(folder), *arguments],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


@pytest.mark.parametrize(
    ("kind", "end"),
    [("warm", signal.SIGKILL), ("warm", signal.SIGINT), ("cold", signal.SIGKILL)],
)
def test_nothing_outlives_the_owner(
    notebook: Writer, tmp_path: Path, kind: str, end: signal.Signals
) -> None:
    # A kernel's own children die with it only where the warm parent kills the whole group.
    child = "import subprocess; subprocess.Popen(['sleep', '600'])" if kind == "warm" else ""
    owner = start_owner(notebook(child, MARK, "time.sleep(600)"), tmp_path, kind)
    for number in range(2):
        pids(tmp_path / f"{number}.mark")
    family = owner.children(recursive=True)
    assert len(family) == (7 if kind == "warm" else 2)
    owner.send_signal(end)
    assert_gone(family)
    owner.wait()
    assert not list(tmp_path.glob("[01].ipynb"))
    assert len(list(tmp_path.glob("*.failed.ipynb"))) == (2 if end == signal.SIGINT else 0)
    assert kind == "cold" or not Path((tmp_path / "folder").read_text()).exists()


def test_an_owner_killed_during_the_imports_leaves_nothing(
    notebook: Writer, tmp_path: Path
) -> None:
    owner = start_owner(notebook(), tmp_path, "warm", "torch", "monai.networks.nets")
    wait_for(lambda: len(owner.children(recursive=True)) == 3)
    family = owner.children(recursive=True)
    owner.kill()
    owner.wait()  # a zombie would be found among the children of later tests
    assert_gone(family)


def test_server_killed_ends_its_kernels_and_later_ones_start_cold(
    light_kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    end = f"assert os.getppid() != {os.getpid()}; os.kill(os.getppid(), 9); time.sleep(600)"
    with pytest.raises(JobError, match="the kernel died"):
        execute(notebook(MARK, end), tmp_path / "a.ipynb", {"mark": str(mark)}, light_kernels)
    wait_for(lambda: not psutil.pid_exists(pids(mark)[0]), LIMIT)
    execute(notebook(MARK), tmp_path / "b.ipynb", {"mark": str(mark)}, light_kernels)
    assert pids(mark)[1] == os.getpid()


def test_client_killed_ends_its_kernel(
    light_kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    end = (
        "import psutil\n"
        f"for process in psutil.Process({os.getpid()}).children():\n"
        "    if 'kernel_client' in str(process.cmdline()): process.kill()\n"
        "time.sleep(600)"
    )
    with pytest.raises(JobError, match="the kernel died"):
        execute(notebook(MARK, end), tmp_path / "out.ipynb", {"mark": str(mark)}, light_kernels)
    wait_for(lambda: not psutil.pid_exists(pids(mark)[0]), LIMIT)


def test_an_interrupt_of_the_main_thread_ends_the_kernel(
    light_kernels: WarmKernels, notebook: Writer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    path = notebook(MARK, f"os.kill({os.getpid()}, 2); time.sleep(600)")
    with pytest.raises(KeyboardInterrupt):
        execute(path, tmp_path / "out.ipynb", {"mark": str(mark)}, light_kernels)
    wait_for(lambda: not psutil.pid_exists(pids(mark)[0]), LIMIT)
    assert (tmp_path / "out.failed.ipynb").exists()
    execute(notebook(), tmp_path / "out.ipynb", {}, light_kernels)


def test_no_process_and_no_file_is_left(notebook: Writer, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with WarmKernels(libraries=()) as kernels:
        folder = kernels.folder
        assert folder.stat().st_mode & 0o777 == 0o700
        execute(notebook(), tmp_path / "a.ipynb", {}, kernels)
        with pytest.raises(JobError):
            execute(notebook("1 / 0"), tmp_path / "b.ipynb", {}, kernels)
        assert sorted(path.name for path in folder.iterdir()) == ["kernels", "server"]
        assert len(set(psutil.Process().children(recursive=True)) - before) == 1
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not folder.exists()


def test_an_interrupt_and_an_exit_code_pass_the_client(
    light_kernels: WarmKernels, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    with light_kernels.kernel() as manager:
        client = manager.client()
        client.start_channels()
        run_sync(client.wait_for_ready)(timeout=60)
        # or the kernel would drop, for a moment after the error, what it is asked next
        code = f"import os, time; open({str(started)!r}, 'w'); time.sleep(600)"
        client.execute(code, stop_on_error=False)
        wait_for(started.exists)
        run_sync(manager.interrupt_kernel)()
        reply = run_sync(client.get_shell_msg)(timeout=60)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        client.execute("os._exit(3)")
        assert manager.provisioner.process.wait(timeout=60) == 3


def test_a_fork_of_a_threaded_parent_is_avoided(
    notebook: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "starts_a_thread.py"
    module.write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WarmKernels(libraries=("starts_a_thread",)) as kernels:
        execute(notebook(MARK), tmp_path / "out.ipynb", {"mark": str(tmp_path / "mark")}, kernels)
    assert pids(tmp_path / "mark")[1] == os.getpid()


def test_a_warm_kernel_looks_like_an_ordinary_one(
    notebook: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = """
import json, os, signal, sys, threading
open(mark, "w").write(json.dumps({
    "path": sys.path,
    "program": os.path.basename(sys.argv[0]).removesuffix(".py"),
    "folder": os.getcwd(),
    "module": __name__,
    "threads": sorted(thread.name.split("-")[0] for thread in threading.enumerate()),
    "interrupt": str(signal.getsignal(signal.SIGINT)),
    "child": str(signal.getsignal(signal.SIGCHLD)),
    "terminal": [os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in (1, 2)],
    "group": os.getpgid(0) == os.getpid() == os.getsid(0),
    "variables": sorted(os.environ),
}))
"""
    (tmp_path / "sets_a_variable.py").write_text("import os; os.environ['MARK'] = '1'")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    looks = []
    for warm in (True, False):
        with WarmKernels(warm, libraries=("sets_a_variable",)) as kernels:
            mark = tmp_path / f"{warm}.mark"
            path = notebook("" if warm else "import sets_a_variable", look)
            execute(path, tmp_path / f"{warm}.ipynb", {"mark": str(mark)}, kernels)
            looks.append(json.loads(mark.read_text()))
    assert looks[0] == looks[1]
