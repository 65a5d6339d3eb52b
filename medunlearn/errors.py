"""The one error a user may cause."""

import difflib
from collections.abc import Collection, Sequence


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


def did_you_mean(given: str, known: Collection[str]) -> str:
    """``did you mean 'quick'?``, or nothing where no known word is near."""
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def choose_from(given: str, known: Collection[str]) -> str:
    """The remedy for a wrong word: ``did you mean 'quick'? choose from quick, laptop, full``."""
    return f"{did_you_mean(given, known)} choose from {', '.join(known)}".lstrip()
