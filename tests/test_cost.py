import math
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from medunlearn import cost
from medunlearn.cost import Clock, reset_host_peak, stamp


class Fake:
    """A clock that only moves when told to."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    fake = Fake()
    made = Clock("cpu", now=fake, cpu_now=lambda: fake.time / 2)
    made.fake = fake
    return made


def test_a_region_is_billed_its_own_seconds_and_not_those_of_one_inside(clock):
    for _ in range(2):  # a region entered again adds up
        clock.fake.time += 5  # outside: billed to nobody
        with clock("unlearning"):
            clock.fake.time += 1
            with clock("preparation"):
                clock.fake.time += 10
            clock.fake.time += 2
    assert clock.regions["unlearning"].seconds == 6
    assert clock.regions["unlearning"].cpu_seconds == 3
    assert clock.regions["preparation"].seconds == 20


def test_an_error_inside_closes_the_region(clock):
    def fail():
        with clock("unlearning"):
            clock.fake.time += 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    clock.fake.time += 50
    with clock("preparation"):
        clock.fake.time += 2
    assert clock.regions["unlearning"].seconds == 1
    assert clock.regions["preparation"].seconds == 2


MIB, ROOT = 2**20, Path(__file__).parents[1]


PEAKS = """
import numpy as np
from medunlearn.cost import Clock
def use(mebibytes):
    np.ones(mebibytes * 2**20 // 8)  # written to, so that it is really there, and given back
clock = Clock("cpu")
for size in (16, 200, 16):
    with clock("unlearning"):
        use(size)
        with clock("preparation"):
            use(16 if size == 200 else 400)
        use(size)
with clock("modest"):
    use(16)
print(*(clock.regions[name].peak_bytes for name in ("unlearning", "preparation", "modest")))
"""


@pytest.mark.skipif(not reset_host_peak(), reason="this system does not set back a peak")
def test_each_region_has_its_own_highest_peak_and_not_that_of_one_inside():
    """In a process of its own: memory of earlier tests may be given back meanwhile."""
    told = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, check=True, cwd=ROOT)
    outer, inner, modest = (float(peak) / MIB for peak in told.stdout.split())
    assert 100 < inner - outer < 300
    assert outer - modest > 100


def test_a_peak_that_cannot_be_told_apart_is_not_told(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "_RESET", tmp_path / "no" / "such" / "file")
    clock = Clock("cpu")
    for _ in range(2):
        with clock("unlearning"):
            pass
    assert math.isnan(clock.regions["unlearning"].peak_bytes)


def test_setting_back_and_reading_of_the_peak_is_not_billed(clock, monkeypatch):
    def slow(answer):
        def act():
            clock.fake.time += 1000
            return answer

        return act

    monkeypatch.setattr(cost, "reset_host_peak", slow(True))
    monkeypatch.setattr(cost, "host_peak_bytes", slow(1.0))
    with clock("unlearning"):
        clock.fake.time += 1
        with clock("preparation"):
            clock.fake.time += 2
        clock.fake.time += 3
    assert clock.regions["unlearning"].seconds == 4
    assert clock.regions["unlearning"].cpu_seconds == 2
    assert clock.regions["preparation"].seconds == 2


def test_no_clock_is_one_that_can_be_set():
    """A wall clock that jumps, as by NTP, changes no duration."""
    clock = Clock("cpu")
    for read in (clock.now, clock.cpu_now):
        told = time.get_clock_info(read.__name__)
        assert told.monotonic
        assert not told.adjustable


def test_a_row_is_stamped_with_device_and_software():
    told = stamp("cpu")
    assert told["device"]
    assert told["device_type"] == "cpu"
    assert told["torch"] == torch.__version__
    assert told["python"] == platform.python_version()
    assert told["threads"] == torch.get_num_threads()


no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def sleep(cycles=1_000_000_000):
    torch.cuda._sleep(cycles)


@pytest.mark.cuda
@no_cuda
def test_a_region_waits_for_its_own_kernels_and_for_no_earlier_one():
    """Against the host's clock, which knows nothing of CUDA events."""
    sleep(1000)
    torch.cuda.synchronize()
    start = time.perf_counter()
    sleep()
    torch.cuda.synchronize()
    by_hand, clock = time.perf_counter() - start, Clock("cuda")
    with clock("unlearning"):
        sleep()
    assert clock.regions["unlearning"].seconds == pytest.approx(by_hand, rel=0.05)
    sleep()
    with clock("preparation"):
        pass
    assert clock.regions["preparation"].seconds < by_hand / 10


@pytest.mark.cuda
@no_cuda
def test_each_region_has_its_own_peak_of_the_device():
    clock = Clock("cuda")
    with clock("preparation"):
        torch.ones(256 * MIB, dtype=torch.uint8, device="cuda")
    with clock("unlearning"):
        torch.ones(16 * MIB, dtype=torch.uint8, device="cuda")
    hungry, modest = clock.regions["preparation"], clock.regions["unlearning"]
    assert hungry.peak_bytes - modest.peak_bytes == 240 * MIB
