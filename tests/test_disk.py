"""A full disk: nothing half-written, and one line that says what to do."""

import errno
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from medunlearn import __main__ as command
from medunlearn.disk import DiskFullError, told_when_full, written_whole
from medunlearn.models import save_weights
from tests.conftest import filled_disk


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x" * 10_000),
        lambda path: pd.DataFrame({"x": torch.rand(5000).numpy()}).to_parquet(path),
        lambda path: pd.DataFrame({"x": range(5000)}).to_csv(path),
        lambda path: save_weights(nn.Linear(100, 100), path),
    ],
    ids=["text", "parquet", "csv", "safetensors"],
)
def test_whichever_library_writes_a_full_disk_is_named_with_the_remedy(tmp_path, write):
    path = tmp_path / "file"
    path.write_text("before")
    with filled_disk(1024), pytest.raises(DiskFullError) as caught, written_whole(path) as partial:
        write(partial)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    told = str(caught.value)
    assert f"the disk of {tmp_path}" in told
    assert "free some space, or give another folder with RUNS=" in told
    assert "\n" not in told
    assert caught.value.errno == errno.EFBIG


def test_other_errors_pass_as_they_are_and_leave_nothing(tmp_path):
    def fail():
        with written_whole(tmp_path / "file") as partial:
            partial.write_text("half")
            raise PermissionError(errno.EACCES, "mine")

    with pytest.raises(PermissionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_command_says_so_in_one_line_and_names_the_nearest_place(tmp_path, monkeypatch, capsys):
    def fail(_):
        with told_when_full(Path("/inner")):
            raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    monkeypatch.setattr(command, "_run", fail)
    assert command.main(["reproduce", "--runs", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the disk of /inner" in told


def test_two_that_write_the_same_file_at_once_both_end_well(tmp_path):
    """Notebooks opened at once on a new study write the same table, even with equal numbers."""
    path = tmp_path / "cohort.parquet"
    with written_whole(path) as first, first.open("w") as file:
        file.write("who")
        file.flush()
        with written_whole(path) as second:
            second.write_text("whole")
        assert path.read_text() == "whole"
        file.write("le")
        file.flush()
    assert [each.read_text() for each in tmp_path.iterdir()] == ["whole"]
