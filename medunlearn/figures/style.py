"""What all figures share: fonts, sizes, alternative texts, colour and marker of each method."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from seaborn.utils import relative_luminance

from medunlearn.disk import written_whole
from medunlearn.evaluation.yardsticks import FLOOR
from medunlearn.methods import get_method

GROUP_STYLES: dict[str, dict[str, Any]] = {
    "easy": {"color": "#1A5E9A", "marker": "o"},
    "hard": {"color": "#B34700", "marker": "s"},
}
"""Of groups of patients, the same in every figure."""

BAND = "#ececec"
"""Shades what is negligible: between minus and plus the margin."""

CONTRAST = 3.0
"""Of markers and lines against what is behind them, at least (WCAG 2.2, 1.4.11)."""


def use_style() -> None:
    """Set fonts, grid and resolution; called once in every notebook that draws."""
    sns.set_theme(context="notebook", style="ticks")
    plt.style.use(Path(__file__).with_name("study.mplstyle"))


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


def show_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG and PDF, and show it in a notebook."""
    folder.mkdir(parents=True, exist_ok=True)
    # no date inside: the same study writes the same file
    facts = {"png": {"Description": figure.get_label()}, "pdf": {"CreationDate": None}}
    for kind, told in facts.items():
        with written_whole(folder / f"{name}.{kind}") as partial:
            figure.savefig(partial, bbox_inches="tight", metadata=told)
    display_figure(figure)


def display_figure(figure: Figure) -> None:
    """Show a figure in a notebook, once, with its alternative text."""
    from IPython.display import display  # only notebooks need it

    plt.close(figure)
    alternative = {"image/png": {"alt": figure.get_label()}}
    display(figure, metadata=alternative)  # type: ignore[no-untyped-call]


def label_of(method: str) -> str:
    """How a method is called in figures and tables."""
    return "retrained again (set B)" if method == FLOOR else get_method(method).label


def style_of(method: str) -> dict[str, Any]:
    """Colour and marker of a method, the same in every figure, dark enough to be seen."""
    if method == FLOOR:
        return {"color": "#555555", "marker": "P"}
    record = get_method(method)
    return {"color": darken(record.colour), "marker": record.marker}


def darken(colour: str) -> str:
    """The same hue, as dark as it must be to stand out from the band."""
    rgb = np.array(to_rgb(colour))
    while contrast(to_hex(tuple(rgb)), BAND) < CONTRAST:
        rgb = rgb * 0.97
    return to_hex(tuple(rgb))


def contrast(one: str, other: str) -> float:
    """Ratio of the luminances of two colours, 1 to 21 (WCAG 2.2)."""
    dark, light = sorted(map(relative_luminance, (one, other)))
    return float((light + 0.05) / (dark + 0.05))


def frame(values: Iterable[float], room: float) -> tuple[float, float]:
    """The ends of an axis that shows these values, with some room beside them."""
    known = np.array([value for value in values if np.isfinite(value)])
    low, high = known.min(), known.max()
    room *= (high - low) or 1
    return low - room, high + room
