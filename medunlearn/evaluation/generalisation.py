"""C3: what unlearning costs on patients that nobody trained on, and whether size makes it worse."""

from collections.abc import Iterator

import pandas as pd

from medunlearn.evaluation.contrasts import Terms, make_row, refuse
from medunlearn.evaluation.lineups import FLOOR, NOTHING, RETRAINED, LineUp, has_gap, line_ups
from medunlearn.evaluation.measurements import Measurements
from medunlearn.statistics.intervals import Interval, contrast_interval, slope_interval

MEASURE = "accuracy"


def generalisation_contrasts(
    measurements: Measurements, terms: Terms
) -> Iterator[dict[str, object]]:
    """Gap on the test set at the middle size, and its slope per doubling of the forget size.

    Beside the gap U - R stands U - O, what a clinic would see; of retraining itself, which loses
    patients to learn from, that is R - O. Test patients are the same at every size.
    """
    cells = [
        cell
        for cell in line_ups(measurements.models)
        if cell.composition == "random" and (has_gap(cell.method) or cell.method == RETRAINED)
    ]
    nothing = {cell.forget_size: cell for cell in cells if cell.method == NOTHING}
    for method in dict.fromkeys(cell.method for cell in cells):
        sizes = {cell.forget_size: cell for cell in cells if cell.method == method}
        gaps = {size: _gaps(measurements, cell) for size, cell in sizes.items()}
        if method != RETRAINED:
            yield from _rows(measurements, terms, method, "U - R", gaps)
        if method not in {NOTHING, FLOOR} and set(sizes) <= set(nothing):
            # U - O = (U - R) - (O - R), of the seeds that have both
            changes = {
                size: (gaps[size] - _gaps(measurements, nothing[size])).dropna(how="all")
                for size in sizes
            }
            yield from _rows(measurements, terms, method, "U - O", changes)


def _gaps(measurements: Measurements, cell: LineUp) -> pd.DataFrame:
    """U - R of each seed (rows) and test patient (columns)."""
    values = measurements.gaps(cell, "test", "all", MEASURE)
    return pd.DataFrame(values, index=[run.seed for run in cell.runs])


def _rows(
    measurements: Measurements,
    terms: Terms,
    method: str,
    what: str,
    values: dict[float, pd.DataFrame],
) -> Iterator[dict[str, object]]:
    """The mean at the middle size and, where there are two sizes or more, the slope."""
    level = measurements.level
    if (middle := values.get(terms.middle_size)) is not None and len(middle):
        found = contrast_interval([middle.to_numpy()], (1,), level=level)
        yield _row(terms, method, what, found, terms.margins["test"], primary=False)
    seeds = sorted(set.intersection(*(set(each.index) for each in values.values())))
    if len(values) > 1 and seeds:
        by_size = [values[size].loc[seeds].to_numpy() for size in sorted(values)]
        found = slope_interval(by_size, sorted(values), level=level)
        absent = ", ".join(f"{size:g}" for size in terms.sizes if size not in values)
        row = _row(
            terms,
            method,
            f"slope of {what}",
            found,
            terms.margins["slope"],
            primary=what == "U - R",
        )
        unbalanced = f"unbalanced: forget size {absent} is missing" if absent else ""
        yield {**row, "refused": row["refused"] or unbalanced}


def _row(
    terms: Terms, method: str, contrast: str, found: Interval, margin: float, *, primary: bool
) -> dict[str, object]:
    return make_row(
        terms,
        claim="C3",
        contrast=contrast,
        partition="test",
        measure=MEASURE,
        adjustment="",
        method=method,
        found=found,
        margin=margin,
        primary=primary,
        refused=refuse(terms, found.runs, found.patients),
    )
