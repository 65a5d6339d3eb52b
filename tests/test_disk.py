"""A full disk: nothing half-written, and one line that says what to do."""

import errno
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from medunlearn.disk import DiskFullError, told_when_full, written_whole
from medunlearn.figures import save_figure
from medunlearn.models import save_weights

ROOT = Path(__file__).parents[1]


@pytest.fixture
def full_disk():
    """No file may grow beyond 1 kB: what a full disk does to a process, without filling one."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def write_text(path):
    path.write_text("x" * 10_000)


def write_parquet(path):
    pd.DataFrame({"x": torch.rand(5000).numpy()}).to_parquet(path)


def write_csv(path):
    pd.DataFrame({"x": range(5000)}).to_csv(path)


def write_weights(path):
    save_weights(nn.Linear(100, 100), path)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("write", [write_text, write_parquet, write_csv, write_weights])
def test_whichever_library_writes_a_full_disk_is_named_with_the_remedy(tmp_path, write):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(DiskFullError) as caught, written_whole(path) as partial:
        write(partial)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    told = str(caught.value)
    assert f"the disk of {tmp_path}" in told
    assert "free some space, or give another folder with RUNS=" in told
    assert "\n" not in told
    assert caught.value.errno == errno.EFBIG


@pytest.mark.usefixtures("full_disk")
def test_a_figure_is_whole_or_what_it_was_before(tmp_path):
    import matplotlib.pyplot as plt

    (tmp_path / "gaps.png").write_text("before")
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    with pytest.raises(DiskFullError):
        save_figure(figure, tmp_path, "gaps")
    plt.close(figure)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_other_errors_pass_as_they_are_and_leave_nothing(tmp_path):
    def fail():
        with written_whole(tmp_path / "file") as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(PermissionError), told_when_full(tmp_path):
        raise PermissionError(errno.EACCES, "mine")
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_place_names_the_disk(tmp_path):
    with (
        pytest.raises(DiskFullError, match="the disk of /inner"),
        told_when_full(tmp_path),
        told_when_full(Path("/inner")),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("I/O error: No space left on device (os error 28)", errno.ENOSPC),
        ("Error writing bytes to file. Detail: [errno 28] No space left", errno.ENOSPC),
        ("Disk quota exceeded (os error 122)", errno.EDQUOT),
    ],
)
def test_the_words_of_a_library_are_understood(tmp_path, said, number):
    with pytest.raises(DiskFullError) as caught, told_when_full(tmp_path):
        raise RuntimeError(said)
    assert caught.value.errno == number


def test_a_command_says_so_in_one_line(tmp_path, tiny_profile):
    code = (
        "import resource, sys; from medunlearn import __main__ as command;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "sys.exit(command.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", "--profile", tiny_profile, "--runs", str(tmp_path)],
        check=False, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "RUNS" in done.stderr
    assert "Traceback" not in done.stderr
    found = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    assert found == [], "something half-written is left"
