"""What passes between the engine and its carriers: tasks, how they ended, and what went wrong."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Task(NamedTuple):
    """All that is told to whoever executes a job: a notebook, where it goes, its parameters."""

    name: str
    notebook: Path
    output: Path
    parameters: dict[str, Any]


class Ending(NamedTuple):
    """How a task ended where it ran: seconds, its fault if it has one, and the host."""

    seconds: float
    fault: str | None = None
    host: str = ""


class WorkerDiedError(RuntimeError):
    """A task was lost together with the worker that executed it."""


class NotStartedError(RuntimeError):
    """A task came to a worker that cannot execute it, and may be carried to another."""


class CarrierError(RuntimeError):
    """Nothing can be carried any more; the message says why and what to do."""


class Carrier(Protocol):
    """Takes tasks to where they run; the graph is not its business, nor are results."""

    lag: float
    """Seconds until a file written where tasks run is surely seen here."""

    def slots(self) -> int:
        """Tasks that may run at once, now: workers join and leave.

        Raises:
            CarrierError: The connection to the workers is lost.
        """

    def submit(self, task: Task) -> Future[Ending]:
        """Start a task; its future may raise any of the three errors of this module."""
