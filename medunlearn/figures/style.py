"""What all figures share: fonts, colours, and a colour and marker for each method."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from medunlearn.disk import written_whole
from medunlearn.evaluation.measurements import FLOOR
from medunlearn.methods import get_method

PART_TITLES = {"retain": "retain set", "forget": "forget set", "test": "test set"}
SEX_COLOURS = {"F": "#882255", "M": "#117733"}
SEX_NAMES = {"F": "women", "M": "men"}
BAND = "#e8e8e8"


def use_style() -> None:
    """Set fonts, grid and resolution; called once in every notebook that draws."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        rc={
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": "#eeeeee",
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "axes.titlesize": 11,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "pdf.fonttype": 42,  # text stays text in the PDF
        },
    )


def save_figure(figure: Figure, folder: Path, name: str) -> Figure:
    """Write a figure as PNG and PDF, and return it to be shown."""
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / f"{name}.png") as partial:
        figure.savefig(partial, bbox_inches="tight")
    with written_whole(folder / f"{name}.pdf") as partial:
        # no date inside: the same study writes the same file
        figure.savefig(partial, bbox_inches="tight", metadata={"CreationDate": None})
    plt.close(figure)
    return figure


def label_of(method: str) -> str:
    """How a method is called in figures and tables."""
    return "retrained, fresh seeds (floor)" if method == FLOOR else get_method(method).label


def style_of(method: str) -> dict[str, Any]:
    """Colour and marker of a method, the same in every figure."""
    if method == FLOOR:
        return {"color": "#555555", "marker": "_"}
    record = get_method(method)
    return {"color": record.colour, "marker": record.marker}


def draw_estimates(
    axis: Axes, places: Sequence[float] | np.ndarray, rows: pd.DataFrame, method: str
) -> None:
    """Estimates with intervals in the method's colour and marker."""
    style = style_of(method)
    spread = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
    drawn = {"fmt": style["marker"], "color": style["color"], "markersize": 6, "capsize": 2}
    axis.errorbar(places, rows["estimate"], yerr=spread, zorder=3, **drawn)


def limit(
    set_limits: Callable[[float, float], object], values: Sequence[float], room: float = 0.15
) -> None:
    """Frame the estimates and seeds: with two seeds an interval may be wider than the scale."""
    low, high = np.nanmin(values), np.nanmax(values)
    set_limits(low - room * (high - low), high + room * (high - low))


def draw_margin(axis: Axes, margin: float) -> None:
    """Shade what would be called negligible, and draw the line of no difference."""
    axis.axhspan(-margin, margin, color=BAND, zorder=0, linewidth=0)
    axis.axhline(0, color="black", linewidth=0.8, zorder=1)


def draw_floor(axis: Axes, chosen: pd.DataFrame, sizes: list[float]) -> None:
    """The noise floor: what two honest retrainings differ by, at the middle size."""
    columns = ["forget_size", "estimate", "low", "high"]
    for size, estimate, low, high in chosen.loc[chosen["method"] == FLOOR, columns].to_numpy():
        ends = [sizes.index(size) - 0.45, sizes.index(size) + 0.45]
        axis.plot(ends, [estimate] * 2, color="black", linewidth=1, linestyle="--")
        if np.isfinite(low):
            axis.fill_between(ends, low, high, color="black", alpha=0.12, linewidth=0)


def label_sizes(axis: Axes, chosen: pd.DataFrame) -> None:
    """Forget sizes as ticks, evenly spaced."""
    sizes = sorted(chosen["forget_size"].unique())
    axis.set_xticks(range(len(sizes)), [f"{size:.0%}" for size in sizes])


def legend(figure: Figure, methods: Sequence[str], *, floor: bool = False) -> None:
    """One entry for each method below the panels; with the floor also the margin."""
    handles: list[Artist] = [
        Line2D([], [], linestyle="", label=label_of(method), **style_of(method))
        for method in methods
    ]
    if floor:
        handles += [
            Line2D([], [], color="black", linestyle="--", label=label_of(FLOOR)),
            Rectangle((0, 0), 1, 1, color=BAND, label="margin"),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
