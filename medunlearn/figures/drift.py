"""How far a stream of requests drifts from retraining, beside the same patients at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medunlearn.cohort.forget_sets import AT_ONCE, STREAM
from medunlearn.figures.estimates import describe, ends_of
from medunlearn.figures.style import PANEL, frame, label_of, new_figure, style_of


def plot_drift(results: pd.DataFrame) -> Iterator[Figure]:
    """Gap after each request of a stream; hollow, of the same patients by one request.

    Args:
        results: As from ``measure_results``.

    Yields:
        One figure for the forget set and one for the test set; none without a stream.
    """
    asked = "quantity == 'gap' and measure == 'accuracy' and group == 'all'"
    gaps = results[results["composition"].isin([STREAM, AT_ONCE])].query(asked)
    sizes = sorted(gaps.loc[gaps["composition"] == STREAM, "forget_size"].unique())
    for part in ("forget", "test") if sizes else ():
        rows = gaps[gaps["partition"] == part]
        title = f"{part.capitalize()} set"
        last = rows[(rows["forget_size"] == sizes[-1]) & (rows["composition"] == STREAM)]
        text = describe(f"{title} after {len(sizes)} requests", last, "gap to retraining (points)")
        figure, (axis,) = new_figure(text, width=PANEL, height=4.2)
        methods = list(dict.fromkeys(rows["method"]))
        for method, beside in zip(methods, np.linspace(-0.2, 0.2, len(methods)), strict=True):
            own, look = rows[rows["method"] == method], style_of(method)
            stream, at_once = (own[own["composition"] == way] for way in (STREAM, AT_ONCE))
            _draw_gaps(axis, stream, np.searchsorted(sizes, stream["forget_size"]) + beside, look)
            _draw_gaps(axis, at_once, len(sizes) + beside, {**look, "markerfacecolor": "white"})
        axis.axhline(0, color="black", linewidth=0.8, zorder=1)
        axis.set_ylim(frame([0, *ends_of(100 * rows[["estimate", "low", "high"]])], 0.06))
        names = [*map(str, range(1, len(sizes) + 1)), "at once"]
        axis.set_xticks(range(len(names)), names)
        axis.set(title=title, xlabel="requests", ylabel="gap to retraining (points)")
        handles = [Line2D([], [], label=label_of(name), **style_of(name)) for name in methods]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        yield figure


def _draw_gaps(axis: Axes, rows: pd.DataFrame, places: Any, look: dict[str, Any]) -> None:
    """Estimates with intervals, one after another, joined by a line."""
    middle, *ends = 100 * rows[["estimate", "low", "high"]].to_numpy().T
    axis.errorbar(
        places + 0 * middle, middle, np.abs(np.stack(ends) - middle), elinewidth=0.8, **look
    )
