"""Which device is chosen, and that two timed runs never share one, whoever they belong to."""

import os
import re
import stat
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from medunlearn import __main__ as command
from medunlearn.errors import InputError
from medunlearn.study import devices
from medunlearn.study.builder import Builder
from medunlearn.study.devices import check_device, clock_alone, device_shared
from medunlearn.study.status import status
from medunlearn.study.study import choose_device

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from medunlearn.study import devices
devices.LOCKS, runs = Path(sys.argv[1]), Path(sys.argv[3]) if sys.argv[3] else None
with getattr(devices, sys.argv[2])("cpu", runs):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many GPUs that torch can use."""
    return lambda count: monkeypatch.setattr(devices, "cuda_count", lambda: count)


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_gpu_that_torch_can_use_the_processor_is_chosen(machine, count):
    machine(count)
    assert choose_device("cpu") == "cpu"
    assert choose_device() == ("cuda" if count else "cpu")
    check_device("cpu")
    check_device("")
    with nullcontext() if count else pytest.raises(InputError, match=r"no CUDA .*choose cpu"):
        check_device("cuda")


def test_a_study_of_a_gpu_is_looked_at_without_one_and_nothing_is_computed(machine, tiny_study):
    machine(0)
    assert choose_device("cuda") == "cuda"
    study = replace(tiny_study, device="cuda")
    assert status(study)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="'cuda': torch sees no CUDA device"):
            Builder(study)


@pytest.mark.parametrize(
    ("arguments", "here"),
    [
        (["reproduce"], True),
        (["reproduce", "--cluster", "local"], True),
        (["tune"], True),
        (["reproduce", "--cluster", "tcp://host:1"], False),
        (["reproduce", "--cluster", "slurm", "--jobs", "2"], False),
        (["retime"], True),
        (["report"], False),
        (["status"], False),
    ],
)
def test_only_what_computes_here_needs_the_device_here(
    machine, monkeypatch, capsys, tmp_path, arguments, here
):
    """A login node has no GPU."""

    def opened(*_, **given):
        assert given["device"] == "cuda"
        raise InputError("here", ["it was opened"])

    machine(0)
    (tmp_path / "phantom-laptop").mkdir()
    monkeypatch.setattr(command, "open_study", opened)
    assert command.main([*arguments, "--device", "cuda", "--runs", str(tmp_path)]) == 2
    said = "'cuda': torch sees no CUDA device" if here else "it was opened"
    assert said in capsys.readouterr().err


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
    """A folder for all users of this host; only a `Waiter` may have to wait, and say so."""
    monkeypatch.setattr(devices, "LOCKS", tmp_path)
    say = lambda line, **_: threading.current_thread().say(line)  # noqa: E731
    monkeypatch.setattr(devices, "print", say, raising=False)
    return tmp_path


@pytest.fixture
def other(locks):
    """Start another process that holds the device; a line to its input lets it go on."""
    started = []

    def start(how, folder=locks, runs=""):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), how, str(runs)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Waiter(threading.Thread):
    """Asks for the device in a thread: each thread has its own lock."""

    def __init__(self, how, device="cpu", runs=None):
        super().__init__(daemon=True)
        self.how, self.device, self.runs, self.said = how, device, runs, []
        self.waits, self.got, self.release = (threading.Event() for _ in range(3))
        self.start()

    def run(self):
        with self.how(self.device, self.runs):
            self.got.set()
            self.release.wait(900)

    def say(self, line):
        self.said.append(line)
        self.waits.set()


@pytest.mark.parametrize("folder", ["host", "runs"])
@pytest.mark.parametrize(
    ("first", "then", "reason"),
    [
        ("device_shared", clock_alone, "another study computes"),
        ("clock_alone", clock_alone, "another study computes"),
        ("clock_alone", device_shared, "another study times"),
    ],
)
def test_a_clock_shares_the_device_with_nobody_and_who_waits_says_so_once(
    other, tmp_path_factory, folder, first, then, reason
):
    """Also where only RUNS is common, as in containers."""
    own, runs = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("runs")
    if folder == "runs":
        holder, waiter = other(first, own, runs), Waiter(then, runs=runs)
    else:
        holder, waiter = other(first), Waiter(then)
    assert waiter.waits.wait(900)
    assert not waiter.got.is_set()
    holder.communicate("go\n")
    assert waiter.got.wait(900)
    waiter.release.set()
    (said,) = waiter.said
    place = runs if folder == "runs" else devices.LOCKS
    assert re.fullmatch(
        rf"waiting for cpu: {reason} on this device \({place}/medunlearn-.*\)", said
    )


def test_models_are_made_side_by_side_but_later_ones_do_not_overtake_a_waiting_clock(other):
    holder = other("device_shared")
    with device_shared("cpu"):
        pass
    clock = Waiter(clock_alone)
    assert clock.waits.wait(900)
    later = Waiter(device_shared)
    assert later.waits.wait(900)
    holder.communicate("go\n")
    assert clock.got.wait(900)
    assert not later.got.wait(0.2)
    clock.release.set()
    assert later.got.wait(900)
    later.release.set()
    assert len(later.said) == len(clock.said) == 1, "it waited twice, and said so once"


def test_a_clock_on_a_gpu_keeps_the_processor_to_itself_but_models_do_not(other, monkeypatch):
    name = devices._device_id("cpu")
    monkeypatch.setattr(devices, "_device_id", lambda device: device.replace("cpu", name))
    holder = other("device_shared")  # models are made on the processor
    clock = Waiter(clock_alone, "cuda")
    assert clock.waits.wait(900)
    with device_shared("cuda"):
        pass
    holder.communicate("go\n")
    assert clock.got.wait(900)
    clock.release.set()


@pytest.mark.parametrize("without", ["folder", "lock"])
def test_where_there_are_no_locks_a_clock_goes_on_and_does_not_claim_to_be_alone(
    locks, monkeypatch, without
):
    def no_lock(*_):
        raise OSError(37, "No locks available")

    if without == "folder":
        monkeypatch.setattr(devices, "LOCKS", locks / "nowhere")
    else:
        monkeypatch.setattr(devices.fcntl, "flock", no_lock)
    with clock_alone("cpu") as alone, device_shared("cpu"):
        assert not alone


@pytest.mark.parametrize(
    ("namespace", "part", "alone"),
    [
        (devices.INITIAL_PID_NAMESPACE, "", True),
        (devices.INITIAL_PID_NAMESPACE, "/", True),
        (devices.INITIAL_PID_NAMESPACE, "/tmp/systemd-private-7a/tmp", False),
        (devices.INITIAL_PID_NAMESPACE, "/scratch/1234/.1234", False),
        (4026532448, "", False),
        (4026532448, "/", False),
        (4026532448, "/tmp", True),
    ],
)
def test_a_clock_with_a_folder_for_itself_does_not_claim_to_be_alone(
    monkeypatch, namespace, part, alone
):
    """A service or a Slurm job with a /tmp of its own; a container, with the host's or without."""
    mounts = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    mounts += f"30 27 0:31 {part} /tmp rw - tmpfs tmpfs rw\n" if part else ""
    monkeypatch.setattr(Path, "read_text", lambda _: mounts)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: SimpleNamespace(st_ino=namespace))
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert devices._is_host_wide(Path("/tmp")) == alone


@pytest.mark.parametrize("shared", [True, False])
def test_a_clock_says_that_it_is_alone_only_where_its_folder_is_the_hosts(
    locks, monkeypatch, shared
):
    monkeypatch.setattr(devices, "_is_host_wide", lambda folder: shared and folder == locks)
    with clock_alone("cpu", locks.parent) as alone:
        assert alone == shared


def test_an_error_inside_is_not_taken_for_a_missing_lock():
    with pytest.raises(OSError, match="mine"), clock_alone("cpu"):
        raise OSError(37, "mine")
    with clock_alone("cpu") as alone:
        assert alone, "the lock was not let go"


def test_other_users_can_take_the_locks(locks):
    before = os.umask(0o077)
    try:
        with clock_alone("cpu"):
            pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE(file.stat().st_mode) for file in locks.iterdir()] == [0o666] * 2


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
