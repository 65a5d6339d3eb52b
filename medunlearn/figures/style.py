"""What all figures share: fonts, sizes, alternative texts, colour and marker of each method."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medunlearn.disk import written_whole
from medunlearn.evaluation.measurements import FLOOR
from medunlearn.methods import get_method

SEX_NAMES = {"F": "women", "M": "men"}
GROUP_STYLES = {
    "F": {"color": "#882255", "marker": "o"},
    "M": {"color": "#117733", "marker": "s"},
    "easy": {"color": "#0072B2", "marker": "o"},
    "medium": {"color": "#999999", "marker": "^"},
    "hard": {"color": "#D55E00", "marker": "s"},
}
"""Of groups of patients, the same in every figure."""

BAND = "#e8e8e8"
"""Shades what is negligible: between minus and plus the margin."""


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


def new_figure(
    alternative: str, columns: int = 1, *, width: float = 9, height: float, **options: Any
) -> tuple[Figure, Sequence[Axes]]:
    """A row of panels, and the text for those who do not see them.

    Args:
        alternative: What the figure shows, in a sentence.
        columns: Number of panels.
        width: Of the figure, in inches.
        height: Of the figure, in inches.
        options: Of ``plt.subplots``, such as ``sharey``.
    """
    figure, axes = plt.subplots(
        1, columns, figsize=(width, height), layout="constrained", squeeze=False, **options
    )
    figure.set_label(alternative)
    return figure, axes[0]


def save_figure(figure: Figure, folder: Path, name: str) -> Figure:
    """Write a figure as PNG and PDF, close it, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    # no date inside: the same study writes the same file
    for kind, facts in (
        ("png", {"Description": figure.get_label()}),
        ("pdf", {"CreationDate": None}),
    ):
        with written_whole(folder / f"{name}.{kind}") as partial:
            figure.savefig(partial, bbox_inches="tight", metadata=facts)
    plt.close(figure)
    return figure


def show_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG and PDF, and show it in a notebook with its alternative text."""
    from IPython.display import display  # only notebooks need it

    save_figure(figure, folder, name)
    alternative = {"image/png": {"alt": figure.get_label()}}
    display(figure, metadata=alternative)  # type: ignore[no-untyped-call]


def label_of(method: str) -> str:
    """How a method is called in figures and tables."""
    return "retrained, fresh seeds (floor)" if method == FLOOR else get_method(method).label


def style_of(method: str) -> dict[str, Any]:
    """Colour and marker of a method, the same in every figure."""
    if method == FLOOR:
        return {"color": "#555555", "marker": "P"}
    record = get_method(method)
    return {"color": record.colour, "marker": record.marker}


def frame(values: Iterable[float], room: float) -> tuple[float, float]:
    """The ends of an axis that shows these values, with some room beside them."""
    known = np.array([value for value in values if np.isfinite(value)])
    low, high = known.min(), known.max()
    room *= (high - low) or 1
    return low - room, high + room


def add_legend(figure: Figure, styles: dict[str, dict[str, Any]], **options: Any) -> None:
    """One entry for each name, below the panels."""
    handles = [Line2D([], [], linestyle="", label=name, **style) for name, style in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", **{"ncols": 4, **options})
