import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from medunlearn.study.design import Cell, original, retrained, unlearned
from medunlearn.study.engine import RESUBMISSIONS, run_jobs
from medunlearn.study.jobs import Job
from medunlearn.study.tasks import CarrierError, Ending, NotStartedError, WorkerDiedError

CELL = Cell("random", 0.1)


def job(name, makes=(), needs=(), alone=False):
    return Job(name, name.split("-")[0], {}, tuple(makes), tuple(needs), alone)


O0, O1 = original(0), original(1)
R0, U0 = retrained(CELL, 0), unlearned("salun", CELL, 0)
GRAPH = [job("02-o", [O0, O1]), job("02-r", [R0]), job("03-u", [U0], [O0, R0])]


class World:
    """Executes jobs by remembering them; some fail, some take time."""

    def __init__(self, fails=(), takes=0.0):
        self.made, self.log, self.fails, self.takes = set(), [], set(fails), takes
        self.running, self.most, self.lock, self.beside = set(), 0, threading.Lock(), {}

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

    def run(self, jobs, workers=2, **others):
        self.lines = []
        with ThreadPoolExecutor() as pool:
            given = {
                "submit": lambda job: pool.submit(self.execute, job),
                "slots": lambda: workers,
                "done": self.made.__contains__,
                "write": self.lines.append,
            }
            return run_jobs(jobs, **given | others)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_inputs_come_first_whatever_the_order_and_number_of_workers(workers):
    world = World()
    assert world.run(GRAPH[::-1], workers) == {}
    assert world.log[-1] == "03-u"
    assert sorted(world.log) == ["02-o", "02-r", "03-u"]


def test_a_failed_job_stops_only_what_needs_it():
    world = World(fails=["02-r"])
    faults = world.run([*GRAPH, job("01-c")])
    assert set(faults) == {"02-r", "03-u"}
    assert "which could not be made" in faults["03-u"]
    assert set(world.log) == {"02-o", "02-r", "01-c"}


def test_a_job_that_needs_what_nobody_makes_fails_and_nothing_hangs():
    assert set(World().run([GRAPH[2]])) == {"03-u"}


def test_no_worker_is_idle_while_work_is_ready():
    world = World(takes=0.1)
    world.run([job(f"02-{n}", [original(n)]) for n in range(6)], workers=3)
    assert world.most == 3


def test_what_runs_alone_runs_last_and_beside_nothing():
    world = World(takes=0.05)
    world.run([job("08-cost", [], [O0], alone=True), *GRAPH, job("08-more", alone=True)])
    assert set(world.log[-2:]) == {"08-cost", "08-more"}
    assert world.beside["08-cost"] == {"08-cost"}
    assert world.beside["08-more"] == {"08-more"}


@pytest.mark.parametrize("workers", [2, 4])
def test_what_runs_alone_waits_for_a_long_job_though_workers_are_free(workers):
    """It is ready from the start, and a worker has nothing else to do once the short job ends."""
    ended = threading.Event()
    overlapped = []

    class Long(World):
        def execute(self, job):
            if job.alone:
                overlapped.append(not ended.is_set())
            elif job.name == "02-long":
                time.sleep(0.3)
                ended.set()
            return super().execute(job)

    Long().run([job("02-long", [O0]), job("02-short", [O1]), job("08-cost", alone=True)], workers)
    assert overlapped == [False]


def test_one_line_for_each_job_with_number_seconds_and_time_left():
    world = World(takes=0.02, fails=["02-r"])
    world.run(GRAPH, workers=1)
    assert len(world.lines) == 3
    assert world.lines[0].startswith("[  1 of 3] 02-o")
    assert " s, about " in world.lines[0]
    assert "FAILED: 02-r broke" in world.lines[1]
    assert "many lines" not in world.lines[1]


def test_an_interrupt_ends_the_run_and_starts_nothing_more():
    world = World(takes=0.05)

    def stop(_):
        raise KeyboardInterrupt

    jobs = [job(f"02-{n}", [original(n)]) for n in range(9)]
    with pytest.raises(KeyboardInterrupt):
        world.run(jobs, 1, write=stop)
    assert len(world.log) <= 2


class Deaths(World):
    """The first workers that execute a job die of it."""

    def __init__(self, job, number):
        super().__init__()
        self.left = Counter({job: number})

    def execute(self, job):
        self.left[job.name] -= 1
        if self.left[job.name] >= 0:
            self.log.append(f"{job.name} lost")
            raise WorkerDiedError("its worker w died")
        return super().execute(job)


@pytest.mark.parametrize("deaths", range(RESUBMISSIONS + 1))
def test_a_job_whose_worker_died_is_told_and_submitted_again(deaths):
    world = Deaths("02-r", deaths)
    assert world.run(GRAPH) == {}
    assert world.log.count("02-r lost") == deaths
    assert Counter(world.log)["03-u"] == Counter(world.log)["02-r"] == 1
    told = [line for line in world.lines if "submitted again: its worker w died" in line]
    assert len(told) == deaths
    assert len(world.lines) == len(GRAPH) + deaths


def test_a_job_that_kills_every_worker_is_given_up_and_the_others_are_not():
    world = Deaths("02-r", 99)
    faults = world.run([*GRAPH, job("01-c")])
    assert set(faults) == {"02-r", "03-u"}
    assert "3 workers died executing it; its worker w died" in faults["02-r"]
    assert world.log.count("02-r lost") == 1 + RESUBMISSIONS
    assert {"02-o", "01-c"} <= set(world.log)


def test_a_job_that_has_made_something_before_each_death_goes_on_to_its_end():
    """Walltimes end workers, too: a long job may need many of them."""

    class Walltimes(World):
        def execute(self, job):
            left = [spec for spec in job.models if spec not in self.made]
            if len(left) > 1:
                self.made.add(left[0])
                raise WorkerDiedError("its worker w died")
            return super().execute(job)

    world = Walltimes()
    assert world.run([job("08-cost", [original(n) for n in range(9)], alone=True)]) == {}
    assert sum("(1 of 2)" in line for line in world.lines) == 8


def test_what_no_fit_worker_took_is_carried_again_however_often(monkeypatch):
    unfit = iter(range(9))

    class Unfit(World):
        def execute(self, job):
            if job.name == "02-o" and next(unfit, None) is not None:
                raise NotStartedError("the worker w cannot compute on cuda")
            return super().execute(job)

    monkeypatch.setattr("medunlearn.study.engine.POLL", 0.01)
    world = Unfit()
    assert world.run(GRAPH) == {}
    again = [line for line in world.lines if "again: the worker w cannot compute on cuda" in line]
    assert len(again) == 9


def test_workers_that_join_get_work_at_once_and_without_any_the_run_waits():
    world = World(takes=0.2)
    there = iter([0, 0, 1])
    world.run([job(f"02-{n}", [original(n)]) for n in range(6)], slots=lambda: next(there, 3))
    assert len(world.log) == 6
    assert world.most == 3


def test_no_more_jobs_are_started_than_workers_are_left():
    """The first of three ends at once, and by then two workers have left."""

    class Uneven(World):
        def execute(self, job):
            time.sleep(0 if job.name == "02-0" else 0.1)
            return super().execute(job)

    world, left = Uneven(takes=0.02), iter([3])
    world.run([job(f"02-{n}", [original(n)]) for n in range(7)], slots=lambda: next(left, 1))
    assert [len(world.beside[f"02-{n}"]) for n in range(3, 7)] == [1] * 4


@pytest.mark.parametrize("number", [1, 2])
def test_what_runs_alone_waits_for_a_worker(number):
    world, there = World(), iter([0] * number)
    assert world.run([job("08-cost", alone=True)], slots=lambda: next(there, 1)) == {}
    assert world.log == ["08-cost"]


@pytest.mark.parametrize("where", ["slots", "submit"])
def test_a_lost_connection_ends_the_run_at_once(where):
    lost, world = Future(), World()
    lost.set_exception(CarrierError("gone"))

    def fail():
        raise CarrierError("gone")

    broken = {"slots": {"slots": fail}, "submit": {"submit": lambda _: lost}}[where]
    with pytest.raises(CarrierError, match="gone"):
        world.run(GRAPH, **broken)
    assert world.lines == []


def test_what_a_job_has_left_decides_and_not_its_word():
    world = World()
    faults = world.run(GRAPH, settle=lambda job, _: "left nothing" if job.name == "02-o" else None)
    assert faults["02-o"] == "left nothing"
    assert "02-r" not in faults
