"""A control without an effect: sex permuted among patients, a thousand times."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medunlearn.evaluation.controls.outcomes import ALPHA, Outcome, rejections
from medunlearn.evaluation.controls.resampling import Decisions, decide, replicate, too_few
from medunlearn.evaluation.measurements import LineUp, Measurements
from medunlearn.randomness import stream
from medunlearn.statistics.verdicts import Terms, p_values

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def permuted_sex(
    measurements: Measurements, terms: Terms, nothing: LineUp | None, permutations: int
) -> Iterator[Outcome]:
    """Sexes dealt out at random must not differ more often than the test's level allows.

    The contrast is that of class-balanced accuracy of doing nothing on the test set. Sexes are
    dealt freely, and within label x difficulty. The latter keeps what sex and difficulty have to
    do with each other, which may make a true difference: there the mean over permutations, which
    is due to that alone, is taken off first.

    This checks that persons are the units; seeds are checked by simulated studies. A gap may vary
    between persons by luck alone, a new one with each seed: then the spread over seeds holds all
    of it, and hides an error in the unit (simulated: gaps pass with every patient in it four
    times). Levels vary between persons in all seeds alike, so sexes are dealt for levels, too.
    """
    named = "label x difficulty" if len(measurements.difficulty) else "label"
    decisions = None if nothing is None else decide(measurements, nothing)
    for what, how in (("gap", "freely"), ("gap", f"within {named}"), ("level", "freely")):
        outcome = Outcome(
            f"sex permuted, {how}: {what}",
            f"different in at most {ALPHA:.0%} of permutations",
            "C2",
            nominal=ALPHA,
        )
        reason = too_few(terms, decisions, "do nothing")
        if decisions is None or reason:
            yield outcome.not_run(reason)
        else:
            values = decisions.ours - decisions.theirs * (what == "gap")
            cells = _cells(measurements, decisions) * (how != "freely")
            dealt = _deal(decisions, cells, permutations, stream("control", what, how))
            found = replicate((values, decisions.whole, women) for women in dealt)
            note = "; difficulty was not measured" if how == "within label" else ""
            yield _read(outcome, found, how != "freely", note)


def _cells(measurements: Measurements, decisions: Decisions) -> Ints:
    """Label of each patient, and difficulty if it was measured, as one code."""
    people = measurements.people.loc[decisions.patient_ids]
    cells = people["label"].astype(str) + " " + people["difficulty"].fillna("")
    return np.unique(cells, return_inverse=True)[1].astype(np.int64)


def _deal(
    decisions: Decisions, cells: Ints, times: int, random: np.random.Generator
) -> Iterator[NDArray[np.bool_]]:
    """Sexes permuted among the persons of each cell, as (patients,)."""
    women, cells = decisions.female_persons, cells[[each[0] for each in decisions.persons]]
    home = np.argsort(cells, kind="stable")
    for _ in range(times):
        dealt = np.empty_like(women)
        dealt[home] = women[np.lexsort((random.random(len(cells)), cells))]
        yield dealt[decisions.sources]


def _read(outcome: Outcome, found: Floats, centred: bool, note: str) -> Outcome:
    estimate, error, df = found
    centre = float(estimate.mean())
    difference, _ = p_values(estimate - centre * centred, error, df, np.nan)
    rate, limit, runs = rejections(difference)
    if not runs or np.ptp(estimate) < 1e-12:
        return outcome.came_out(None, "permutations make no difference")
    text = f"different in {rate:.1%} of {runs} (up to {limit:.1%} is chance){note}"
    return outcome.came_out(rate <= limit, text, estimate=centre, rate=rate, runs=runs)
