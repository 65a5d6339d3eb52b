"""Two timed runs never share a device, whatever process and user they belong to."""

import os
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from medunlearn.study import device_locks
from medunlearn.study.device_locks import clock_alone, device_shared

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from medunlearn.study import device_locks
device_locks.FOLDER = Path(sys.argv[1])
with getattr(device_locks, sys.argv[2])("cpu", lambda told: print(told, flush=True)):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(device_locks, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def other(folder):
    """Start another process that holds the device; a line to its input lets it go on."""
    started = []

    def start(how, *, waits=False):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), how],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline().startswith("waiting" if waits else "held")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Waiter(threading.Thread):
    """Asks for the device in a thread: each thread has its own lock."""

    def __init__(self, how):
        super().__init__(daemon=True)
        self.how, self.said, self.waits, self.got = how, [], threading.Event(), threading.Event()
        self.release = threading.Event()
        self.start()

    def run(self):
        # a partial has its device already
        given = () if isinstance(self.how, partial) else ("cpu",)
        with self.how(*given, write=self.say) as alone:
            self.alone = alone
            self.got.set()
            self.release.wait(30)

    def say(self, line):
        self.said.append(line)
        self.waits.set()


def test_models_are_made_side_by_side(other):
    other("device_shared")
    waiter = Waiter(device_shared)
    assert waiter.got.wait(20)
    waiter.release.set()
    assert waiter.said == []


@pytest.mark.parametrize(
    ("first", "then", "reason"),
    [
        ("device_shared", clock_alone, "another study computes"),
        ("clock_alone", clock_alone, "another study computes"),
        ("clock_alone", device_shared, "another study times"),
    ],
)
def test_a_clock_shares_the_device_with_nobody_and_who_waits_says_so_once(
    other, first, then, reason
):
    holder = other(first)
    waiter = Waiter(then)
    assert waiter.waits.wait(20)
    assert not waiter.got.is_set()
    holder.communicate("go\n")
    assert waiter.got.wait(20)
    waiter.release.set()
    waiter.join(20)
    assert waiter.said == [f"waiting for cpu: {reason} on this device"]


def test_a_process_that_is_killed_lets_go(other):
    holder, waiter = other("clock_alone"), Waiter(clock_alone)
    assert waiter.waits.wait(20)
    holder.kill()
    assert waiter.got.wait(20)
    assert waiter.alone is True
    waiter.release.set()


def test_models_that_come_later_do_not_overtake_a_waiting_clock(other):
    holder, clock = other("device_shared"), Waiter(clock_alone)
    assert clock.waits.wait(20)
    later = Waiter(device_shared)
    assert later.waits.wait(20)
    holder.communicate("go\n")
    assert clock.got.wait(20)
    assert not later.got.wait(0.2)
    clock.release.set()
    assert later.got.wait(20)
    later.release.set()
    assert len(later.said) == len(clock.said) == 1, "it waited twice, and said so once"


def test_devices_do_not_wait_for_each_other(other, monkeypatch):
    other("clock_alone")
    monkeypatch.setattr(device_locks, "_device_id", lambda device: device)
    said = []
    with device_shared("cuda", said.append):
        pass
    assert said == []


def test_a_clock_on_a_gpu_keeps_the_processor_to_itself(other, monkeypatch):
    holder = other("device_shared")  # models are made on the processor
    monkeypatch.setattr(device_locks, "_device_id", lambda device: device)
    waiter = Waiter(partial(clock_alone, "cuda"))
    assert waiter.waits.wait(20)
    assert not waiter.got.is_set()
    holder.communicate("go\n")
    assert waiter.got.wait(20)
    assert waiter.alone is True
    waiter.release.set()


def test_what_is_computed_inside_a_clock_does_not_wait_for_it():
    with clock_alone("cpu"):
        with device_shared("cpu"):
            pass
        with clock_alone("cpu") as alone:
            assert alone


def test_a_clock_inside_a_shared_device_is_refused_before_it_waits_for_itself():
    with device_shared("cpu"), pytest.raises(RuntimeError, match="wait for its own"):
        clock_alone("cpu").__enter__()


@pytest.mark.parametrize("without", ["fcntl", "folder", "lock"])
def test_where_there_are_no_locks_a_clock_goes_on_and_does_not_claim_to_be_alone(
    monkeypatch, tmp_path, without
):
    if without == "fcntl":
        monkeypatch.setattr(device_locks, "fcntl", None)
    elif without == "folder":
        monkeypatch.setattr(device_locks, "FOLDER", tmp_path / "nowhere")
    else:
        monkeypatch.setattr(device_locks.fcntl, "flock", no_lock)
    with clock_alone("cpu") as alone:
        assert alone is False
        with clock_alone("cpu") as inner:
            assert inner is False
    with device_shared("cpu"):
        pass


def no_lock(*_):
    raise OSError(37, "No locks available")


def test_an_error_inside_is_not_taken_for_a_missing_lock():
    with pytest.raises(OSError, match="mine"), clock_alone("cpu"):
        raise OSError(37, "mine")
    with clock_alone("cpu") as alone:
        assert alone, "the lock was not let go"


def test_other_users_can_take_the_locks(folder):
    before = os.umask(0o077)
    try:
        with clock_alone("cpu"):
            pass
    finally:
        os.umask(before)
    files = list(folder.iterdir())
    assert len(files) == 2
    assert all(stat.S_IMODE(file.stat().st_mode) & 0o444 == 0o444 for file in files)


def test_locks_lie_in_the_same_place_for_every_user():
    told = subprocess.run(
        [sys.executable, "-c", "from medunlearn.study.device_locks import FOLDER; print(FOLDER)"],
        cwd=ROOT, check=True, capture_output=True, text=True, env={**os.environ, "TMPDIR": "/var"},
    )  # fmt: skip
    assert told.stdout.strip() == "/tmp"


def test_a_lock_that_was_swept_away_keeps_nobody_out_but_the_new_one_does(folder, other):
    """Systems sweep old temporary files: who has waited for one that is gone takes the new one."""
    holder, waiter = other("clock_alone"), Waiter(clock_alone)
    assert waiter.waits.wait(20)
    (folder / "medunlearn-cpu.lock").unlink()
    holder.communicate("go\n")
    assert waiter.got.wait(20)
    late = Waiter(device_shared)
    assert late.waits.wait(20)
    assert not late.got.is_set()
    waiter.release.set()
    assert late.got.wait(20)
    late.release.set()
