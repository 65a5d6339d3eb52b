"""Privacy against utility; and what unlearning costs beside one retraining."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from medunlearn.evaluation.yardsticks import FLOOR, NOTHING
from medunlearn.figures.style import BAND, frame, label_of, new_figure, style_of

SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
AROUND = [(x * far, y * far) for far in (9, 18, 30) for x, y in SIDES]
"""Where a name may stand beside its point, in points of type; the first is best."""

HALO = [withStroke(linewidth=2.5, foreground="white")]


def plot_trade_off(
    privacy: pd.DataFrame, utility: pd.DataFrame, margins: tuple[float, float]
) -> Figure:
    """Excess of an attack over retraining against the gap on the test set, one point a method.

    Points stand beside their names. Shaded is what lies within both margins: as good as retraining.
    An interval wider than the frame is not drawn.

    Args:
        privacy: ``method``, ``estimate``, ``low``, ``high``: difference from retraining in AUC.
        utility: The same of the gap in accuracy on the test set.
        margins: Of accuracy and of the AUC.
    """
    names = ["estimate", "low", "high"]
    up, across = (100 * rows.set_index("method")[names] for rows in (privacy, utility))
    both = across.join(up.add_suffix("_up")).dropna(subset=["estimate", "estimate_up"])
    width, height = (100 * margin for margin in margins)
    rows = [(label_of(str(m)), *both.loc[m, ["estimate", "estimate_up"]]) for m in both.index]
    places = "; ".join(f"{name}: accuracy {x:+.1f}, attack {y:+.1f}" for name, x, y in rows)
    text = f"Privacy against utility, points relative to retraining. {places}."
    figure, (axis,) = new_figure(text, width=6.2, height=4.9)
    shade = Rectangle((-width, -height), 2 * width, 2 * height, color=BAND, linewidth=0, zorder=0)
    axis.add_patch(shade)
    axis.axhline(0, color="#767676", linewidth=0.8, zorder=1)
    axis.axvline(0, color="#767676", linewidth=0.8, zorder=1)
    wide = np.ptp(axis.set_xlim(frame([-1.6 * width, 1.6 * width, *both["estimate"]], 0.12)))
    high = np.ptp(axis.set_ylim(frame([-1.6 * height, 1.6 * height, *both["estimate_up"]], 0.12)))
    for method, x, left, right, y, low, top in both.itertuples():
        style = style_of(str(method))
        thin = {"color": style["color"], "linewidth": 0.8, "alpha": 0.5, "zorder": 2}
        if right - left < wide:
            axis.plot([left, right], [y, y], **thin)
        if top - low < high:
            axis.plot([x, x], [low, top], **thin)
        axis.plot(x, y, markersize=9, zorder=3, **style)
    look: dict[str, Any] = {"transform": axis.transAxes, "style": "italic", "size": 11}
    look["color"] = "#595959"
    axis.text(0.985, 0.985, "accurate but still recognisable", ha="right", va="top", **look)
    axis.text(0.015, 0.015, "forgotten but damaged", ha="left", va="bottom", **look)
    axis.text(width, height, "as good as retraining", color="#404040", size=9, ha="right")
    axis.set(
        xlabel="accuracy on the test set, minus retraining (points)",
        ylabel="attack's AUC, minus retraining (points)",
    )
    axis.grid(visible=False)
    _name_points(axis, both.index.to_list(), both[["estimate", "estimate_up"]].to_numpy())
    return figure


def _name_points(axis: Axes, methods: Sequence[str], spots: NDArray[np.float64]) -> None:
    """Each name beside its point, where it covers no other point and no other name."""
    axis.figure.draw_without_rendering()  # type: ignore[union-attr]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in axis.transData.transform(spots)]
    taken += [text.get_window_extent() for text in axis.texts]
    for method, spot in zip(methods, spots, strict=True):
        text = axis.annotate(
            label_of(method), spot, AROUND[0], textcoords="offset points", size=10,
            weight="bold" if method in {NOTHING, FLOOR} else "normal", zorder=4, path_effects=HALO,
        )  # fmt: skip
        _move(axis, text, min(AROUND, key=lambda place: _move(axis, text, place, taken)), taken)
        taken.append(text.get_window_extent())


def _move(axis: Axes, text: Annotation, place: tuple[int, int], taken: Sequence[Bbox]) -> int:
    """Put a name beside its point; what it hides there, and whether it leaves the frame."""
    x, y = text.xyann = place
    text.set_horizontalalignment("center" if x == 0 else "left" if x > 0 else "right")
    text.set_verticalalignment("center" if y == 0 else "bottom" if y > 0 else "top")
    box = text.get_window_extent()
    outside = not axis.bbox.contains(*box.min) or not axis.bbox.contains(*box.max)
    return sum(box.overlaps(other) for other in taken) + 5 * outside


def plot_costs(ratios: pd.DataFrame) -> Figure:
    """Cost of one request of each method beside one retraining: a bar, and every repeat a point.

    Args:
        ratios: As from ``cost_ratios``, of one forget size.
    """
    medians = ratios.groupby("method")["ratio"].median().sort_values(ascending=False)
    names = [label_of(str(method)) for method in medians.index]
    told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in zip(names, medians, strict=True))
    text = f"Seconds of one request divided by seconds of one retraining: {told}."
    figure, (axis,) = new_figure(text, width=7.2, height=1.2 + 0.32 * len(medians))
    colours = [style_of(str(method))["color"] for method in medians.index]
    axis.barh(names, medians, height=0.6, color=colours, alpha=0.55)
    axis.plot(ratios["ratio"], ratios["method"].map(label_of), "|", color="black", markersize=8)
    ends = ratios.groupby("method")["ratio"].max()[medians.index]
    for name, ratio, end in zip(names, medians, ends, strict=True):
        axis.annotate(f"{ratio:.2f}", (end, name), (6, 0), textcoords="offset points", va="center")
    axis.axvline(1, color="black", linewidth=1)
    axis.set(xlabel="one request / one retraining (line: 1.0)")
    axis.set_xlim(0, max(1.15, 1.15 * ratios["ratio"].max()))
    axis.grid(axis="y", visible=False)
    return figure
