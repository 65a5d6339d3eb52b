"""The group of patients that is served worst, and what unlearning does to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST, patient_table
from medunlearn.evaluation.contrasts import Terms
from medunlearn.evaluation.lineups import FLOOR, RETRAINED, LineUp, Run, has_gap, line_ups
from medunlearn.evaluation.measurements import Measurements
from medunlearn.statistics.intervals import contrast_interval

BY_LABEL, BY_DIFFICULTY = "sex x label", "sex x label x difficulty"

ON_RETRAINED, ON_ITSELF = "retrained models", "the method itself"
"""Whose accuracy the group was chosen by."""

HALVES = "no other retrained models: chosen on half of the seeds, measured on the other half"

Floats = NDArray[np.float64]
Groups = Mapping[str, NDArray[np.bool_]]


def measure_worst_groups(measurements: Measurements, terms: Terms) -> pd.DataFrame:
    """Accuracy in the worst group of test patients, and its gap, for each method.

    The group is chosen by retrained models, lowest mean accuracy: the same group for all methods,
    a property of the task and not of the method. A method's own worst group need not be the same
    one, and its accuracy there is low partly by chance; it stands beside as ``the method itself``,
    its gap biased downwards.

    The retrained models that choose are not those that the gap is measured against. The lowest of
    several noisy means is lower than it should be; were the same models the yardstick, every gap
    would be too high, also that of a method without any effect (simulated: +2 points, see the
    tests). So set B chooses, which is trained like set A on fresh seeds. Where there is no set B,
    and for set B itself, the first, third, ... seed's models choose and the other seeds are
    measured. Test patients stay the same, so that a *level* is that of these patients and too low
    for those of another test set; a gap is free of that, both models answering for the same
    patients.

    Args:
        measurements: Of a study.
        terms: Its middle size, and how many patients a group needs.

    Returns:
        One row for each ``method``, ``grouping``, ``chosen_on`` and ``quantity`` (level or gap):
        ``group`` (sex, code of the patient's rarest label, difficulty), ``estimate``, ``low``,
        ``high``, ``standard_error``, ``df``, ``seeds``, ``patients``, ``note``. No rows of a
        grouping without two groups large enough.
    """
    cells = [
        each
        for each in line_ups(measurements.models)
        if each.composition == "random" and each.forget_size == terms.middle_size
    ]
    fresh = [run for each in cells if each.method == FLOOR for run in each.runs]
    rows = [
        row
        for grouping, groups in _groupings(measurements, terms.verdict_patients).items()
        for cell in cells
        for row in _rows(measurements, cell, fresh, grouping, groups)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    "method", "grouping", "chosen_on", "quantity", "group", "estimate", "low", "high",
    "standard_error", "df", "seeds", "patients", "note",
]  # fmt: skip


def _groupings(measurements: Measurements, least: int) -> dict[str, Groups]:
    """Test patients, ascending, of every group that is large enough."""
    ids = measurements.subsets.of("", TEST, "all").patient_ids
    table = patient_table(measurements.cohort).reindex(ids)
    known = table["sex"].isin(["F", "M"])
    both = table["sex"].astype(str) + " " + table["rarest"].astype(str)
    names = {BY_LABEL: both.where(known)}
    if not measurements.difficulty.empty:
        by_sample = measurements.difficulty.set_index("sample")["stratum"]
        first = measurements.cohort.drop_duplicates("patient").set_index("patient")["sample"]
        names[BY_DIFFICULTY] = names[BY_LABEL] + " " + first.reindex(ids).map(by_sample)
    found: dict[str, Groups] = {}
    for grouping, named in names.items():
        counts = named.value_counts()
        large = sorted(counts.index[counts >= least])
        if len(large) > 1:
            found[grouping] = {name: named.eq(name).fillna(False).to_numpy(bool) for name in large}
    return found


@dataclass(frozen=True)
class _Choice:
    """A group, and the line-up it is measured on."""

    chosen_on: str
    group: str
    cell: LineUp
    note: str = ""


def _rows(
    measurements: Measurements, cell: LineUp, fresh: list[Run], grouping: str, groups: Groups
) -> Iterator[dict[str, object]]:
    for choice in _choices(measurements, cell, fresh, groups):
        inside, line_up = groups[choice.group], choice.cell
        for quantity in ("level", "gap") if has_gap(cell.method) else ("level",):
            take = measurements.gaps if quantity == "gap" else measurements.levels
            values = np.stack(take(line_up, TEST, "all", "accuracy"))[:, inside]
            found = contrast_interval([values], level=measurements.level)
            yield {
                "method": cell.method,
                "grouping": grouping,
                "chosen_on": choice.chosen_on,
                "quantity": quantity,
                "group": choice.group,
                **found.columns,
                "note": choice.note,
            }


def _choices(
    measurements: Measurements, cell: LineUp, fresh: list[Run], groups: Groups
) -> Iterator[_Choice]:
    """The group by retrained models that are not measured here, and by the method itself."""
    if fresh and cell.method != FLOOR:
        if group := _worst(measurements, fresh, groups):
            yield _Choice(ON_RETRAINED, group, cell)
    elif len(cell.runs) > 1:
        retrained = cell.runs if cell.method == FLOOR else cell.base
        if group := _worst(measurements, retrained[::2], groups):
            rest = replace(cell, runs=cell.runs[1::2], base=cell.base[1::2])
            yield _Choice(ON_RETRAINED, group, rest, HALVES)
    if cell.method != RETRAINED and (group := _worst(measurements, cell.runs, groups)):
        yield _Choice(ON_ITSELF, group, cell)


def _worst(measurements: Measurements, runs: list[Run], groups: Groups) -> str:
    """Lowest accuracy, mean over those models that have one; empty if none has."""
    values = np.stack([measurements.values(run, TEST, "all", "accuracy") for run in runs])
    finite = values[np.isfinite(values).all(axis=1)]
    if not len(finite):
        return ""
    return min(groups, key=lambda name: float(finite[:, groups[name]].mean()))
