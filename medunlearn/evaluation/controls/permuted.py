"""A control without an effect: sex permuted among patients, a thousand times."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medunlearn.cohort.partition import patient_table
from medunlearn.evaluation.controls.decisions import Decisions, decide, sex_contrast, too_few
from medunlearn.evaluation.controls.outcomes import (
    ALPHA,
    FAILED,
    PASSED,
    UNINFORMATIVE,
    Outcome,
    rejections,
)
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
    of it, and hides a fault in the unit (simulated: gaps pass with every patient in it four
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
        if decisions is None:
            yield outcome.not_run("not measured: do nothing")
        elif reason := too_few(terms, decisions):
            yield outcome.not_run(reason)
        else:
            cells = _cells(measurements, decisions) * (how != "freely")
            right = decisions.tally(decisions.ours)
            values = right - decisions.tally(decisions.theirs) if what == "gap" else right
            found = _permute(decisions, values, cells, permutations, stream("control", what, how))
            note = "; difficulty was not measured" if how == "within label" else ""
            yield _read(outcome, *found, centred=how != "freely", note=note)


def _cells(measurements: Measurements, decisions: Decisions) -> Ints:
    """Label of each patient, and difficulty if it was measured, as one code."""
    ids = decisions.patient_ids
    labels = patient_table(measurements.cohort)["rarest"].reindex(ids).astype(str)
    if measurements.difficulty.empty:
        return np.unique(labels, return_inverse=True)[1].astype(np.int64)
    by_sample = measurements.difficulty.set_index("sample")["stratum"]
    rows = measurements.cohort.drop_duplicates("patient").set_index("patient").reindex(ids)
    both = labels + " " + rows["sample"].map(by_sample).astype(str)
    return np.unique(both, return_inverse=True)[1].astype(np.int64)


def _permute(
    decisions: Decisions, values: Floats, cells: Ints, times: int, random: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Estimate, standard error and df of each permutation of persons within cells."""
    _, first, sources = np.unique(decisions.sources, return_index=True, return_inverse=True)
    women, cells = decisions.women[first], cells[first]
    home = np.argsort(cells, kind="stable")
    rows = []
    for _ in range(times):
        dealt = np.empty_like(women)
        dealt[home] = women[np.lexsort((random.random(len(cells)), cells))]
        found = sex_contrast(values, decisions.whole, dealt[sources], 0.95)
        rows.append((found.estimate, found.standard_error, found.df))
    estimate, error, df = np.array(rows).T
    return estimate, error, df


def _read(
    outcome: Outcome, estimate: Floats, error: Floats, df: Floats, *, centred: bool, note: str
) -> Outcome:
    centre = float(estimate.mean())
    difference, _ = p_values(estimate - centre * centred, error, df, np.nan)
    rate, limit, runs = rejections(difference)
    if not runs or np.ptp(estimate) < 1e-12:
        return replace(outcome, state=UNINFORMATIVE, found="permutations make no difference")
    return replace(
        outcome,
        state=FAILED if rate > limit else PASSED,
        found=f"different in {rate:.1%} of {runs} (up to {limit:.1%} is chance){note}",
        estimate=centre,
        rate=rate,
        runs=runs,
    )
