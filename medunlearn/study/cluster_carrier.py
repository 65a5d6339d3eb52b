"""Executes tasks on the workers of a dask scheduler."""

import sys
from asyncio import CancelledError as Abandoned
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from medunlearn.errors import InputError
from medunlearn.study.tasks import CarrierError, Ending, NotStartedError, Task, WorkerDiedError

LOST = (OSError, ValueError, CancelledError, Abandoned)
"""What dask raises when it can speak to its scheduler no more."""
REFUSALS = 20
"""How often one worker may refuse tasks before that ends the run."""


@dataclass
class ClusterCarrier:
    """Executes tasks on the workers of a dask scheduler.

    Args:
        client: Connection to the scheduler.
        run: Name of the run, and of the plugin that serves it on every worker.
        lag: Seconds until a file written by a worker is surely seen here.
        limit: At most so many tasks at a time; none: as many as the workers have threads.
        write: Takes a line when workers leave.
        tend: Called again and again: asks for workers in place of those that ended, where nobody
            else does; returns how many are still to come.
    """

    client: Any
    run: str
    lag: float
    limit: int | None
    write: Callable[[str], None]
    tend: Callable[[], int] = lambda: 0

    def __post_init__(self) -> None:
        self._numbers = count()
        self._address = self.client.scheduler.address  # a lost scheduler has none
        self._workers: set[str] | None = None
        self._unfit = dict[str, str]()
        self._refusals = Counter[str]()
        self._carried = dict[Future[Ending], Any]()  # dask drops what nobody holds

    def slots(self) -> int:
        """Threads of all fit workers that are there now, up to the limit.

        Raises:
            CarrierError: The connection to the scheduler is lost.
            InputError: None of the workers is fit, and no other is to come.
        """
        threads, coming = self._threads(), self.tend()
        self._tell(set(threads))
        for gone in self._unfit.keys() - threads.keys():
            del self._unfit[gone]  # one that comes back there may have been mended
        fit = [number for address, number in threads.items() if address not in self._unfit]
        if threads and not fit and not coming:
            raise InputError("CLUSTER", [self._unfit[address] for address in threads])
        return min(int(sum(fit)), self.limit or sys.maxsize)

    def _threads(self) -> dict[str, int]:
        """Threads of each worker that is there now."""
        try:
            threads: dict[str, int] | None = (
                self.client.nthreads() if self.client.status == "running" else None
            )
        except LOST:
            threads = None
        if threads is None:
            raise self._lost()
        return threads

    def submit(self, task: Task) -> Future[Ending]:
        """Start a task on whichever worker dask chooses of those that are fit."""
        from medunlearn.study.worker import execute_on_worker

        ending = Future[Ending]()
        key = f"{task.name}-{self.run}-{next(self._numbers)}"
        fit = list(self._threads().keys() - self._unfit.keys()) if self._unfit else None
        # others, if those are gone by then: they may have come since
        where = {"workers": fit, "allow_other_workers": True} if fit else {}
        try:
            carried = self.client.submit(
                execute_on_worker, self.run, task, key=key, pure=False, **where
            )
        except Exception as error:
            raise self._lost() from error
        self._carried[ending] = carried
        carried.add_done_callback(lambda _: self._pass_on(ending))
        return ending

    def _pass_on(self, ending: Future[Ending]) -> None:
        """Give a task's end to the engine, and in its words what dask says of a lost one."""
        from distributed import KilledWorker
        from distributed.comm.addressing import resolve_address

        from medunlearn.study.worker import UnfitWorkerError

        carried = self._carried.pop(ending)
        try:
            ending.set_result(carried.result())
        except KilledWorker as death:
            ending.set_exception(WorkerDiedError(f"its worker {death.last_worker.address} died"))
        except UnfitWorkerError as unfit:  # it has joined after the start
            address = unfit.address
            with suppress(
                OSError
            ):  # as the scheduler knows it; a name of its network may be none here
                address = resolve_address(address)
            self._unfit[address] = str(unfit)
            self._refusals[address] += 1
            again = NotStartedError(f"{unfit}")
            endless = self._refusals[address] > REFUSALS  # for one, the others are paused
            ending.set_exception(InputError("CLUSTER", [f"{unfit}"]) if endless else again)
        except LOST:
            ending.set_exception(self._lost())
        except Exception as error:  # for one, a worker that cannot import the package
            fault = f"a worker cannot execute jobs: {error!r}"
            ending.set_exception(InputError("CLUSTER", [fault]))

    def _lost(self) -> CarrierError:
        return CarrierError(
            f"the connection to the scheduler at {self._address} is lost; what is "
            "finished is kept: the same command, with another CLUSTER or none, goes on from here"
        )

    def _tell(self, workers: set[str]) -> None:
        if left := sorted((self._workers or set()) - workers):
            self.write(f"{'':<12} {', '.join(left)} left: {len(workers)} workers")
        if not workers and (left or self._workers is None):
            self.write("no worker is there: waiting for one")
        self._workers = workers
