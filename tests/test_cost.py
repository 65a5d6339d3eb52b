import pytest
import torch

from medunlearn.cost import Clock


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


def test_a_region_is_billed_its_own_seconds(clock):
    clock.fake.time += 5  # before: billed to nobody
    with clock("unlearning"):
        clock.fake.time += 3
    clock.fake.time += 7
    assert clock.regions["unlearning"].seconds == 3
    assert clock.regions["unlearning"].cpu_seconds == 1.5


def test_an_inner_region_is_not_billed_to_the_outer_one(clock):
    with clock("unlearning"):
        clock.fake.time += 1
        with clock("preparation"):
            clock.fake.time += 10
        clock.fake.time += 2
    assert clock.regions["unlearning"].seconds == 3
    assert clock.regions["preparation"].seconds == 10


def test_a_region_entered_again_adds_up(clock):
    for _ in range(3):
        with clock("unlearning"):
            clock.fake.time += 2
    assert clock.regions["unlearning"].seconds == 6


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


def test_peak_memory_is_that_of_the_process(clock):
    with clock("unlearning"):
        pass
    assert clock.regions["unlearning"].peak_bytes > 10_000_000


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_kernel_of_known_length_is_waited_for():
    cycles = 1_000_000_000
    torch.cuda._sleep(1000)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.cuda._sleep(cycles)
    end.record()
    torch.cuda.synchronize()
    made = Clock("cuda")
    with made("unlearning"):
        torch.cuda._sleep(cycles)
    assert made.regions["unlearning"].seconds == pytest.approx(
        start.elapsed_time(end) / 1000, rel=0.2
    )
