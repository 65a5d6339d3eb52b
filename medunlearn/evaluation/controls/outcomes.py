"""What came of a control: a row of the table that the synthesis prints before all verdicts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

PASSED, FAILED, UNINFORMATIVE, NOT_RUN = "passed", "failed", "uninformative", "not run"

ALPHA = 0.05
POWER = 0.80

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """A control, or a part of one.

    Args:
        control: Its name.
        asked: What must come out.
        guards: Claims whose verdicts are switched off if it fails, separated by commas.
        state: ``passed``, ``failed``, ``uninformative`` (the study is too small to tell) or
            ``not run``.
        found: What came out, or why nothing did.
        estimate: Of the contrast in question, with ``low`` and ``high``.
        low: Lower limit.
        high: Upper limit.
        rate: Share of ``runs``.
        nominal: What the rate is compared with.
        runs: Contrasts, replicates or permutations that had a result.
    """

    control: str
    asked: str
    guards: str
    state: str = NOT_RUN
    found: str = ""
    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    rate: float = float("nan")
    nominal: float = float("nan")
    runs: int = 0

    def not_run(self, reason: str) -> "Outcome":
        """The same, with the reason."""
        return replace(self, state=NOT_RUN, found=reason)

    def came_out(self, passed: bool | None, found: str, **numbers: Any) -> "Outcome":
        """The same as it came out: passed, failed or (None) uninformative."""
        state = {True: PASSED, False: FAILED, None: UNINFORMATIVE}[passed]
        return replace(self, state=state, found=found, **numbers)


def rejections(p: Floats, nominal: float = ALPHA) -> tuple[float, float, int]:
    """How often a test rejects in a simulation, and how often it may.

    Args:
        p: One p-value for each run; NaN where there was no test.
        nominal: Level of the test.

    Returns:
        Share of the tests with p < nominal; nominal + 2 Monte Carlo standard errors sqrt(nominal
        (1 - nominal) / runs), what a test that keeps its level stays under in 98 % of simulations;
        how many tests there were. Shares are NaN if there was none.
    """
    known = p[~np.isnan(p)]
    if not len(known):
        return float("nan"), float("nan"), 0
    limit = nominal + 2 * (nominal * (1 - nominal) / len(known)) ** 0.5
    return float((known < nominal).mean()), limit, len(known)
