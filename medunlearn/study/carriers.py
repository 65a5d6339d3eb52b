"""Executes tasks on kernels of this process."""

import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Self

from medunlearn.study.devices import pin
from medunlearn.study.kernels import LIBRARIES, WarmKernels, execute
from medunlearn.study.tasks import Ending, Task


class ThreadCarrier:
    """Executes tasks on kernels of this process, each in a thread that waits for its notebook.

    Args:
        workers: Tasks at a time.
        devices: Values for CUDA_VISIBLE_DEVICES: every slot keeps to one of them.
        libraries: Modules that the kernels' warm parent imports.
    """

    lag = 0.0

    def __init__(
        self, workers: int, devices: Sequence[str] = (), libraries: Sequence[str] = LIBRARIES
    ) -> None:
        self.kernels = WarmKernels(libraries=libraries)
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="job")
        self._places: SimpleQueue[dict[str, str]] = SimpleQueue()
        for slot in range(workers):
            self._places.put(pin(slot, devices))

    def __enter__(self) -> Self:
        self.kernels.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.kernels.close()  # ends the threads that wait for their notebooks

    def slots(self) -> int:
        """As many as were asked for."""
        return self._workers

    def submit(self, task: Task) -> Future[Ending]:
        """Start a task as soon as a slot is free."""
        return self._pool.submit(self._run, task)

    def _run(self, task: Task) -> Ending:
        place = self._places.get()
        try:
            return carry_out(task, self.kernels, place)
        finally:
            self._places.put(place)


def carry_out(task: Task, kernels: WarmKernels, environment: Mapping[str, str]) -> Ending:
    """Execute a task; whatever fails in it is told, not raised: it may have to travel far.

    Args:
        task: The task.
        kernels: Where its kernel comes from.
        environment: Variables for the kernel beside those of this process.
    """
    start, fault = time.monotonic(), None
    try:
        execute(task.notebook, task.output, task.parameters, kernels, environment=environment)
    except Exception as error:
        fault = str(error) or type(error).__name__
    return Ending(time.monotonic() - start, fault, socket.gethostname())
