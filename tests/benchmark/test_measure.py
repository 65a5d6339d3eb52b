import pytest

from medunlearn.benchmark import measure
from medunlearn.benchmark.measure import compare, figure, interleave, stamp


def test_sides_take_turns_and_the_first_rounds_are_not_counted(monkeypatch):
    order, now = [], iter(range(100))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(now))
    sides = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    seconds = interleave(sides, rounds=3, device="cpu", burn_in=2)
    assert "".join(order) == "ab" * 5
    assert seconds == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_ratios_are_of_the_same_round():
    """Drift doubles both sides: paired, the ratio stays 2."""
    first, second = compare("x", {"ours": [1, 2, 4], "theirs": [2, 4, 8]}, 100)
    assert (first.minimum, first.median, first.ratio) == (1, 2, None)
    assert (second.minimum, second.median, second.n) == (2, 4, 3)
    assert (second.ratio, second.low, second.high) == (2, 2, 2)
    assert (first.rate, second.rate) == (50, 25)


def test_the_spread_of_the_ratios_is_their_middle_half():
    _, line = compare("x", {"ours": [1] * 5, "theirs": [1, 2, 3, 4, 100]})
    assert (line.low, line.ratio, line.high) == (2, 3, 4)
    assert line.rate is None


def test_each_side_may_handle_images_of_its_own():
    one, two = compare("x", {"1": [2.0], "2": [2.0]}, {"1": 10, "2": 20})
    assert (one.rate, two.rate) == (5, 10)


def test_a_figure_may_be_one_value_or_many():
    assert figure("x", "y", 3, "s").n == 1
    assert figure("x", "y", [3, 1, 2], "%").median == 2
    assert figure("x", "y", [3, 1, 2], "%").minimum == 1


@pytest.mark.parametrize("named", ["device", "torch", "threads", "cores", "load average"])
def test_the_stamp_says_where(named):
    assert stamp("cpu")[named] not in ("", None, 0)
