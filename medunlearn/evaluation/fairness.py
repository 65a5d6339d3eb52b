"""Exploratory: calibration of women and of men, and the group of patients that is served worst."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.performance import CALIBRATION, calibration_parts
from medunlearn.evaluation.results import possible
from medunlearn.evaluation.subsets import Flags, Floats
from medunlearn.evaluation.yardsticks import FLOOR, LineUp, has_gap, middle_line_ups
from medunlearn.randomness import stream
from medunlearn.statistics.intervals import contrast_interval
from medunlearn.statistics.verdicts import Terms

SIDES = {"all": ("all",), "F": ("F",), "M": ("M",), "F - M": ("F", "M")}

RESAMPLES = 500

Pairs = Sequence[tuple[Floats, Floats]]
"""By seed: what each patient adds to each bin, (patients, bins), of both models."""

COLUMNS = [
    "method", "grouping", "quantity", "group", "estimate", "low", "high", "standard_error", "df",
    "seeds", "patients", "note",
]  # fmt: skip

Groups = Mapping[str, Flags]
"""By name: whether each test patient, ascending, is in it."""


def measure_calibration(measurements: Measurements, forget_size: float) -> pd.DataFrame:
    """Calibration error on the test set of each method's models, minus that of the retrained ones.

    Intervals are of a crossed bootstrap over seeds and patients: exploratory, no verdict.

    Returns:
        One row for each ``method`` and ``group`` (all, F, M, F - M): ``level``, the gap
        ``estimate``, and its limits ``low`` and ``high``.
    """
    rows, of = [], measurements.subset
    line_ups = middle_line_ups(measurements.models, forget_size)
    for method, line_up in line_ups.items():
        pairs = _pairs(measurements, line_up) if has_gap(method) else []
        for group, sides in SIDES.items() if pairs else ():
            if measurements.patients(line_up, TEST, sides):
                where = (line_up, TEST, CALIBRATION, sides, (1, -1)[: len(sides)])
                level, gap = (measurements.interval(*where, gap=x).estimate for x in (False, True))
                everyone = of("", TEST, "all").patient_ids
                members = [np.isin(everyone, of("", TEST, side).patient_ids) for side in sides]
                random = stream("bootstrap", CALIBRATION, method, group)
                limits = bootstrap_gap(pairs, members, random, level=measurements.level)
                rows.append((method, group, level, gap, *limits))
    return pd.DataFrame(rows, columns=["method", "group", "level", "estimate", "low", "high"])


def bootstrap_gap(
    pairs: Pairs, members: Sequence[Flags], random: np.random.Generator, *, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a gap, seeds and patients both drawn anew with replacement.

    The pigeonhole bootstrap of Owen (2007, Ann. Appl. Stat. 1:386): every seed of a resample sees
    the same patients. Exploratory: the residual of seed and patient is counted more than once, and
    few seeds spread too little when drawn from themselves, so a 95 % interval covers between .88
    and .999 (simulated, 4 to 16 seeds). A calibration error grows with noise and so lies too high
    in every resample; in a gap to another model this largely cancels.

    Args:
        pairs: Of each seed, the model and the one it is held to.
        members: Which patients are in each group; of two groups, the first minus the second.
        random: Draws the resamples.
        level: Of the interval.

    Returns:
        Lower and upper limit. NaN with fewer than two seeds or patients, whose spread cannot be
        seen, or where any resample has no value.
    """
    seeds, patients = len(pairs), len(members[0])
    if seeds < 2 or patients < 2:
        return np.nan, np.nan
    chosen = random.integers(seeds, size=(RESAMPLES, seeds))
    drawn = random.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES)
    times = drawn.astype(np.float64)
    by_seed = np.stack([_error(times, a, members) - _error(times, b, members) for a, b in pairs], 1)
    values = np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])  # NaN if any is
    return float(low), float(high)


def _pairs(measurements: Measurements, line_up: LineUp) -> Pairs:
    """NaN of a model that diverged."""
    subset = measurements.subset("", TEST, "all")

    def parts(row: int) -> Floats:
        if not measurements.is_finite[row]:
            return np.full((len(subset.patient_ids), 1), np.nan)
        return calibration_parts(subset, measurements.predicted(row, subset))

    both = zip(line_up.runs, line_up.base, strict=True)
    return [(parts(ours.row), parts(theirs.row)) for ours, theirs in both]


def _error(times: Floats, parts: Floats, members: Sequence[Flags]) -> Floats:
    """Calibration error of each resample, (resamples,); of the first group minus the second.

    Args:
        times: How often each patient is drawn, (resamples, patients).
        parts: What each patient adds to each bin, (patients, bins).
        members: Of each group, (patients,).
    """
    errors = [
        np.abs(times[:, inside] @ parts[inside]).sum(axis=1) / times[:, inside].sum(axis=1)
        for inside in members
    ]
    return np.asarray(errors[0] - errors[1] if len(errors) > 1 else errors[0])


def measure_worst_groups(measurements: Measurements, terms: Terms) -> pd.DataFrame:
    """Accuracy in the worst group of test patients, and its gap, for each method.

    The group is chosen by retrained models, lowest mean accuracy: the same group for all methods,
    a property of the task and not of the method.

    The retrained models that choose are not those that the gap is measured against. The lowest of
    several noisy means is lower than it should be; were the same models the yardstick, every gap
    would be too high, also that of a method without any effect (simulated: +2 points, see the
    tests). So set B chooses, which is trained like set A on fresh seeds, and is not measured
    itself. Test patients stay the same, so that a *level* is that of these patients and too low
    for those of another test set; a gap is free of that, both models answering for the same
    patients.

    Args:
        measurements: Of a study.
        terms: Its middle size, and how many patients a group needs.

    Returns:
        One row for each ``method``, ``grouping`` and ``quantity`` (level or gap): ``group`` (sex,
        code of the patient's rarest label, difficulty), ``estimate``, ``low``, ``high``,
        ``standard_error``, ``df``, ``seeds``, ``patients``, ``note``, which names the groups that
        were too small. A grouping without two groups large enough has one row, without a method:
        its note says so. No row without a model of set B.
    """
    cells, rows = middle_line_ups(measurements.models, terms.middle_size), []
    fresh = cells.pop(FLOOR).runs if FLOOR in cells else []
    known = [run for run in fresh if measurements.is_finite[run.row]]
    judges = [measurements.values(run, TEST, "all", "accuracy") for run in known]
    for grouping, groups, small in _groupings(measurements, terms.verdict_patients):
        if len(groups) < 2:
            empty = [np.nan] * len(COLUMNS[4:-1])
            rows.append(("", grouping, "", "", *empty, f"no two groups left; {small}"))
        if len(groups) < 2 or not judges:
            continue
        worst = min(groups, key=lambda name: float(np.stack(judges)[:, groups[name]].mean()))
        for cell, quantity in product(cells.values(), ("level", "gap")):
            if quantity == "level" or has_gap(cell.method):
                take = measurements.levels if quantity == "level" else measurements.gaps
                inside = np.stack(take(cell, TEST, "all", "accuracy"))[:, groups[worst]]
                found = contrast_interval([inside], level=measurements.level)
                found = possible(found, level=quantity == "level")
                rows.append(
                    (cell.method, grouping, quantity, worst, *found.columns.values(), small)
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def _groupings(measurements: Measurements, least: int) -> list[tuple[str, Groups, str]]:
    """Name, every group that is large enough, and which others were dropped."""
    people = measurements.people.loc[measurements.subset("", TEST, "all").patient_ids]
    both = people["sex"].astype(str) + " " + people["label"].astype(str)
    names = {"sex x label": both.where(people["sex"].isin(["F", "M"]))}
    if len(measurements.difficulty):
        names["sex x label x difficulty"] = names["sex x label"] + " " + people["difficulty"]
    found = list[tuple[str, Groups, str]]()
    for grouping, named in names.items():
        counts = named.value_counts()
        few = sorted(f"{name} ({count})" for name, count in counts.items() if count < least)
        told = f"dropped, fewer than {least} patients: {', '.join(few)}" if few else ""
        large = sorted(counts.index[counts >= least])
        groups = {name: named.eq(name).fillna(False).to_numpy(bool) for name in large}
        if len(counts):  # a cohort may not tell the sex
            found.append((grouping, groups, told))
    return found
