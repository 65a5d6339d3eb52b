import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace

import pytest

from medunlearn.study import engine as module
from medunlearn.study.cells import Cell
from medunlearn.study.design import Job, original, retrained, unlearned
from medunlearn.study.engine import Ending, Engine, LostError, Progress, tell_seconds

CELL = Cell("random", 0.1)
O0, O1 = original(1000), original(1001)
R0, U0 = retrained(CELL, 1000), unlearned("salun", CELL, 1000)


def job(name, makes=(), needs=(), alone=False):
    return Job(name, name.split("-")[0], {}, tuple(makes), tuple(needs), alone)


GRAPH = [job("02-o", [O0, O1]), job("02-r", [R0]), job("03-u", [U0], [O0, R0])]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Makes a world of jobs; it has no notebooks, and waits for nothing."""
    monkeypatch.setattr(module, "study_parameters", lambda _: {})
    monkeypatch.setattr(module, "notebook_key", lambda *_: None)
    monkeypatch.setattr(module, "POLL", 0.02)
    monkeypatch.setattr(module, "LAG", 0)
    (tmp_path / "jobs").mkdir()

    def make(kind=None, **given):
        return (kind or World)(tmp_path, **given)

    return make


class World:
    """Workers that remember jobs instead of executing them; some fail, some take time."""

    def __init__(self, folder, fails=(), takes=0.0, slots=lambda: 2):
        self.study = SimpleNamespace(folder=folder)
        self.made, self.log, self.fails, self.takes = set(), [], set(fails), takes
        self.running, self.most, self.lock, self.beside = set(), 0, threading.Lock(), {}
        self.slots, self.lines, self.pool = slots, [], ThreadPoolExecutor(8)

    def submit(self, _function, _run, _notebook, output, _parameters, **_):
        return self.pool.submit(self.execute, self.jobs[output.stem])

    def nthreads(self):
        return {"worker": self.slots()}

    def execute(self, job):
        start = time.monotonic()
        with self.lock:
            self.running.add(job.name)
            self.most = max(self.most, len(self.running))
            self.beside[job.name] = set(self.running)
        time.sleep(self.takes)
        with self.lock:
            self.running.discard(job.name)
            self.log.append(job.name)
        if job.name in self.fails:
            return Ending(0, f"{job.name} broke\nin many lines")
        self.made |= set(job.models)
        return Ending(time.monotonic() - start)

    def run(self, jobs, write=None):
        self.jobs = {each.name: each for each in jobs}
        store = SimpleNamespace(is_done=self.made.__contains__, folder=self.study.folder)
        write = write or self.lines.append
        return Engine(self.study, store, write, self, "run", 8, int, self.slots()).run(jobs)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_inputs_come_first_whatever_the_order_and_number_of_places(world, slots):
    here = world(slots=lambda: slots)
    assert here.run(GRAPH[::-1]) == {}
    assert here.log[-1] == "03-u"
    assert sorted(here.log) == ["02-o", "02-r", "03-u"]


def test_a_failed_job_stops_only_what_needs_it(world):
    here = world(fails=["02-r"])
    faults = here.run([*GRAPH, job("01-c")])
    assert set(faults) == {"02-r", "03-u"}
    assert "which could not be made" in faults["03-u"]
    assert set(here.log) == {"02-o", "02-r", "01-c"}
    record = json.loads((here.study.folder / "jobs" / "02-r.json").read_text())
    assert record["fault"] == "02-r broke\nin many lines"


def test_a_job_that_needs_what_nobody_makes_fails_and_nothing_hangs(world):
    assert set(world().run([GRAPH[2]])) == {"03-u"}


@pytest.mark.parametrize("slots", [2, 4])
def test_what_runs_alone_runs_last_and_beside_nothing_though_places_are_free(world, slots):
    here = world(takes=0.05, slots=lambda: slots)
    here.run([job("08-cost", [], [O0], alone=True), *GRAPH, job("08-more", alone=True)])
    assert set(here.log[-2:]) == {"08-cost", "08-more"}
    assert here.beside["08-cost"] == {"08-cost"}
    assert here.beside["08-more"] == {"08-more"}


def test_a_job_is_told_when_it_starts_and_when_it_ends(world):
    here = world(takes=0.02, fails=["02-r"], slots=lambda: 1)
    here.run(GRAPH)
    lines = [" ".join(line.split()) for line in here.lines]
    assert lines[0] == "[ 0 of 3] 02-o started: 2 models"
    assert re.fullmatch(r"\[ 1 of 3\] 02-o done in \d+ s, about \d+ s left", lines[1])
    assert lines[3].startswith("[ 2 of 3] 02-r FAILED: 02-r broke")
    assert lines[4].startswith("[ 3 of 3] 03-u FAILED: needs")
    assert "many lines" not in lines[3]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (6000, "1.7 h")]
)
def test_seconds_are_told_in_the_unit_that_people_use(seconds, told):
    assert tell_seconds(seconds) == told


def test_the_time_left_is_told_from_the_pace_of_jobs_and_how_many_run_side_by_side():
    progress, left = Progress(9, (lines := []).append), [job("02-r", [R0]) for _ in range(5)]
    progress.end(job("02-o", [O0, O1]), Ending(20.0), left, [])
    progress.end(job("02-p", [O0, O1]), Ending(20.0), left, [job("02-r", [R0])])
    progress.end(job("02-q", [O0, O1]), Ending(20.0), [job("08-cost", [O0, O1], alone=True)], left)
    assert [line.split()[-3] for line in lines] == ["50", "30", "28"]


def test_an_interrupt_ends_the_run_and_starts_nothing_more(world):
    def stop(_):
        raise KeyboardInterrupt

    here = world(takes=0.05, slots=lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        here.run([job(f"02-{n}", [original(n)]) for n in range(9)], write=stop)
    assert len(here.log) <= 2


def test_workers_that_join_get_work_at_once_and_without_any_the_run_waits(world):
    there = iter([0, 0, 1])
    here = world(takes=0.2, slots=lambda: next(there, 3))
    here.run([*(job(f"02-{n}", [original(n)]) for n in range(6)), job("08-cost", alone=True)])
    assert len(here.log) == 7
    assert here.most == 3


def test_no_more_jobs_are_started_than_places_are_left(world):
    """The first of three ends at once, and by then two workers have left."""

    class Uneven(World):
        def execute(self, job):
            time.sleep(0 if job.name == "02-0" else 0.1)
            return super().execute(job)

    left = iter([3])
    here = world(Uneven, takes=0.02, slots=lambda: next(left, 1))
    here.run([job(f"02-{n}", [original(n)]) for n in range(7)])
    assert [len(here.beside[f"02-{n}"]) for n in range(3, 7)] == [1] * 4


@pytest.mark.parametrize("where", ["slots", "execute"])
def test_a_lost_connection_ends_the_run_at_once(world, where):
    def fail(*_):
        raise LostError("gone")

    here = world()
    setattr(here, where, fail)
    with pytest.raises(LostError, match="gone"):
        here.run(GRAPH)
    assert not any("done" in line for line in here.lines)


@pytest.mark.parametrize(("lag", "fault"), [(10, None), (0, "the notebook ended without ")])
def test_the_disk_decides_what_a_job_has_made_and_is_given_time_to_show(
    world, monkeypatch, lag, fault
):
    """A file of another host may be seen late."""
    monkeypatch.setattr(module, "LAG", lag)
    here, looks = world(), count()

    class Late(set):
        def __contains__(self, _):
            return next(looks) > 1

    here.made = Late()
    here.execute = lambda _: Ending(1.0)
    told = here.run([job("02-o", [O0])])
    assert told == ({"02-o": fault + O0.title} if fault else {})
