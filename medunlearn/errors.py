"""The one error a user may cause."""

from collections.abc import Sequence


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what and how to mend it.

    Args:
        subject: What was being read, for example ``data_manifests/ham10000.yaml``.
        faults: Every fault found, each naming place, value, what was expected and the remedy.
    """

    def __init__(self, subject: str, faults: Sequence[str]) -> None:
        self.subject = subject
        self.faults = list(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{subject}: {count}", *(f"  - {f}" for f in self.faults)]))
