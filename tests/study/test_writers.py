import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medunlearn.study import writers
from medunlearn.study.writers import fate_of, is_abandoned, make_folder, writer_of

DAY = 24 * 3600
proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path, ".partial", "abc123")


def named(folder, **changes):
    """The folder as a process with other properties would have named it."""
    writer, end = writer_of(folder), folder.name.rsplit("-", 1)[1]
    fields = {**vars(writer), **changes}
    other = folder.with_name("-".join([".partial", *fields.values(), end]))
    return folder.rename(other)


def age(folder, seconds):
    then = time.time() - seconds
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


def test_the_name_tells_the_model_and_who_writes_it(folder):
    writer = writer_of(folder)
    assert writer.key == "abc123"
    assert writer.process == str(os.getpid())
    assert writer.fate == "alive"
    assert not is_abandoned(folder)


def test_a_host_may_have_dashes_in_its_name(folder):
    writer = writer_of(named(folder, host="node-17-gpu"))
    assert (writer.key, writer.host, writer.process) == ("abc123", "node-17-gpu", str(os.getpid()))


def test_what_a_dead_process_of_this_host_left_is_abandoned_at_once(folder):
    told = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert is_abandoned(named(folder, process=told.stdout.strip()))


@proc
def test_a_number_that_another_process_has_got_since_is_not_the_writer(folder):
    assert fate_of(named(folder, started="1")) == "dead"


@proc
def test_a_process_that_has_ended_but_was_not_waited_for_is_dead(folder):
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = writers._started(str(child.pid))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays there, as a zombie
    assert fate_of(named(folder, process=str(child.pid), started=started)) == "dead"
    child.wait()


def test_without_proc_the_number_alone_decides(folder, monkeypatch):
    class NoProc(type(folder)):
        def __new__(cls, path):
            return super().__new__(cls, str(path).replace("/proc", "/no-such-folder"))

    monkeypatch.setattr(writers, "Path", NoProc)
    assert writers._started(str(os.getpid())) == "0"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert writers._started(str(child.pid)) is None


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"space": "17"}])
def test_what_another_host_or_container_writes_is_kept_until_it_is_old(folder, other):
    foreign = named(folder, **other, process="1")
    (foreign / "weights").write_text("half")
    assert fate_of(foreign) == "unknown"
    assert not is_abandoned(foreign)
    age(foreign, 1 * DAY)
    assert not is_abandoned(foreign), "a clock may be hours away"
    age(foreign, 3 * DAY)
    assert is_abandoned(foreign)
    (foreign / "weights").write_text("more")
    assert not is_abandoned(foreign), "somebody has just written"


@pytest.mark.parametrize("hours", [-12, 12])
def test_a_clock_that_jumps_by_hours_takes_nothing_away(folder, monkeypatch, hours):
    foreign, real = named(folder, host="elsewhere"), time.time
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    assert not is_abandoned(foreign)


def test_a_name_that_tells_nothing_is_kept_until_it_is_old(tmp_path):
    (odd := tmp_path / ".partial-x").mkdir()
    assert writer_of(odd) is None
    assert not is_abandoned(odd)
    age(odd, 3 * DAY)
    assert is_abandoned(odd)
