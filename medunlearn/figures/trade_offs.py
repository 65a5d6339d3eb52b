"""Privacy against utility; and what unlearning costs, how its settings were found, at what cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import Bbox

from medunlearn.evaluation.yardsticks import FLOOR, NOTHING
from medunlearn.figures.style import BAND, frame, label_of, new_figure, style_of

CORNERS = {
    "accurate but still recognisable": (0.985, 0.985, "right", "top"),
    "forgotten but damaged": (0.015, 0.015, "left", "bottom"),
}
"""What lies in a corner: its place in the frame and how the words are set."""

SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
AROUND = [(x * far, y * far) for far in (9, 18, 30) for x, y in SIDES]
"""Where a name may stand beside its point, in points of type; the first is best."""

HALO = [withStroke(linewidth=2.5, foreground="white")]


def plot_trade_off(
    privacy: pd.DataFrame, utility: pd.DataFrame, margins: tuple[float, float]
) -> Figure:
    """Excess of an attack over retraining against the gap on the test set, one point a method.

    Points stand beside their names. Shaded is what lies within both margins: as good as retraining.

    Args:
        privacy: ``method``, ``estimate``, ``low``, ``high``: difference from retraining in AUC.
        utility: The same of the gap in accuracy on the test set.
        margins: Of accuracy and of the AUC.
    """
    shown = ["estimate", "low", "high"]
    up, across = (100 * rows.set_index("method")[shown] for rows in (privacy, utility))
    methods = up["estimate"].dropna().index.intersection(across["estimate"].dropna().index)
    up, across = up.loc[methods], across.loc[methods]
    width, height = (100 * margin for margin in margins)
    figure, (axis,) = new_figure(describe_places(across, up), width=6.2, height=4.9)
    axis.add_patch(
        Rectangle((-width, -height), 2 * width, 2 * height, color=BAND, linewidth=0, zorder=0)
    )
    axis.axhline(0, color="#767676", linewidth=0.8, zorder=1)
    axis.axvline(0, color="#767676", linewidth=0.8, zorder=1)
    axis.set_xlim(frame([-1.6 * width, 1.6 * width, *across["estimate"]], 0.12))
    axis.set_ylim(frame([-1.6 * height, 1.6 * height, *up["estimate"]], 0.12))
    for method in methods:
        _draw_cross(axis, across.loc[method], up.loc[method], style_of(str(method)))
    for words, (x, y, side, edge) in CORNERS.items():
        place: dict[str, Any] = {"transform": axis.transAxes, "ha": side, "va": edge}
        axis.text(x, y, words, style="italic", color="#595959", size=11, **place)
    inside = {"color": "#404040", "size": 9, "ha": "right", "va": "bottom"}
    axis.text(width, height, "as good as retraining", **inside)  # type: ignore[arg-type]
    axis.set(
        xlabel="accuracy on the test set, minus retraining (points)",
        ylabel="attack's AUC, minus retraining (points)",
    )
    axis.grid(visible=False)
    _name_points(axis, methods.to_list(), across["estimate"], up["estimate"])
    return figure


def _draw_cross(
    axis: Axes, across: "pd.Series[float]", up: "pd.Series[float]", style: dict[str, str]
) -> None:
    """A point with both intervals, thin, so that they do not hide others; none beyond the frame."""
    thin = {"color": style["color"], "linewidth": 0.8, "alpha": 0.5, "zorder": 2}
    if np.diff(axis.get_xlim()) > across["high"] - across["low"]:
        axis.plot([across["low"], across["high"]], [up["estimate"]] * 2, **thin)  # type: ignore[arg-type]
    if np.diff(axis.get_ylim()) > up["high"] - up["low"]:
        axis.plot([across["estimate"]] * 2, [up["low"], up["high"]], **thin)  # type: ignore[arg-type]
    axis.plot(across["estimate"], up["estimate"], markersize=9, linestyle="", zorder=3, **style)  # type: ignore[arg-type]


def _name_points(
    axis: Axes, methods: Sequence[str], across: "pd.Series[float]", up: "pd.Series[float]"
) -> None:
    """Each name beside its point, where it covers no other point and no other name."""
    axis.figure.draw_without_rendering()  # type: ignore[union-attr]
    points = axis.transData.transform(np.column_stack([across, up]))
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in points]
    taken += [text.get_window_extent() for text in axis.texts]
    for method, spot in zip(methods, np.column_stack([across, up]), strict=True):
        strong = "normal" if method not in {NOTHING, FLOOR} else "bold"
        text = axis.annotate(
            label_of(method), spot, AROUND[0], textcoords="offset points", size=10,
            weight=strong, zorder=4, path_effects=HALO,
        )  # fmt: skip
        hidden = [_move(axis, text, place, taken) for place in AROUND]
        _move(axis, text, AROUND[hidden.index(min(hidden))], taken)
        taken.append(text.get_window_extent())


def _move(axis: Axes, text: Annotation, place: tuple[int, int], taken: Sequence[Bbox]) -> int:
    """Put a name beside its point; what it hides there, and whether it leaves the frame."""
    x, y = text.xyann = place
    text.set_horizontalalignment("center" if x == 0 else "left" if x > 0 else "right")
    text.set_verticalalignment("center" if y == 0 else "bottom" if y > 0 else "top")
    box = text.get_window_extent()
    outside = not axis.bbox.contains(*box.min) or not axis.bbox.contains(*box.max)
    return sum(box.overlaps(other) for other in taken) + 5 * outside


def describe_places(across: pd.DataFrame, up: pd.DataFrame) -> str:
    """Where each method lies, in words."""
    places = [
        f"{label_of(str(method))}: accuracy {x:+.1f}, attack {y:+.1f}"
        for method, x, y in zip(across.index, across["estimate"], up["estimate"], strict=True)
    ]
    return f"Privacy against utility, points relative to retraining. {'; '.join(places)}."


def plot_costs(ratios: pd.DataFrame) -> Figure:
    """Cost of one request of each method beside one retraining: a bar, and every repeat a point.

    Args:
        ratios: As from ``cost_ratios``, of one forget size.
    """
    medians = ratios.groupby("method")["ratio"].median().sort_values(ascending=False)
    told = ", ".join(f"{label_of(str(m))} {ratio:.2f}" for m, ratio in medians.items())
    text = f"Seconds of one request divided by seconds of one retraining: {told}."
    figure, (axis,) = new_figure(text, width=7.2, height=1.2 + 0.32 * len(medians))
    for place, (method, ratio) in enumerate(medians.items()):
        colour = style_of(str(method))["color"]
        axis.barh(place, ratio, height=0.6, color=colour, alpha=0.55)
        each = ratios.loc[ratios["method"] == method, "ratio"]
        axis.plot(each, [place] * len(each), "|", color="black", markersize=8)
        axis.annotate(f"{ratio:.2f}", (max(ratio, each.max()), place), (6, 0), va="center",
                      textcoords="offset points", size=9)  # fmt: skip
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xlim(0, max(1.15, 1.15 * ratios["ratio"].max()))
    axis.set_yticks(range(len(medians)), [label_of(str(method)) for method in medians.index])
    axis.set(xlabel="one request / one retraining (line: 1.0)")
    axis.grid(axis="y", visible=False)
    return figure


def plot_trials(
    scores: Sequence[float], *, method: str, chosen: int, oracle_tuned: int, doing_nothing: float
) -> Figure:
    """The score of each trial in the order they were made; low is good.

    Args:
        scores: Of each trial; trial 0 is the usual setting.
        method: Whose settings.
        chosen: The trial in use.
        oracle_tuned: The trial nearest to retraining, for comparison.
        doing_nothing: Score of the originals as they are.
    """
    text = f"Scores of {len(scores)} trials of {label_of(method)}; trial {chosen} was chosen."
    figure, (axis,) = new_figure(text, width=7, height=3)
    axis.plot(scores, **style_of(method), linestyle="", markersize=7, label=label_of(method))
    axis.axhline(doing_nothing, color=style_of("original")["color"], label="do nothing")
    ring: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "linestyle": ""}
    for label, trial, colour, size in (
        ("chosen", chosen, "black", 13),
        ("oracle_tuned", oracle_tuned, "#767676", 18),
    ):
        axis.plot(trial, scores[trial], **ring, markersize=size, color=colour, label=label)
    axis.set(xlabel="trial (0: usual settings)", ylabel="score (0 is best)")
    axis.set_xticks(range(len(scores)))
    axis.set_ylim(0, 1.1 * max(*scores, doing_nothing))
    figure.legend(loc="outside right upper")
    return figure


def plot_tuning_costs(costs: pd.DataFrame) -> Figure:
    """Cost of one request without and with tuning, in retrainings, with intervals.

    Args:
        costs: As from ``add_tuning``, of one forget size.
    """
    rows = costs.dropna(subset=["total"]).sort_values("total", ascending=False)
    text = f"One request of {len(rows)} methods in retrainings, alone and with the search for it."
    figure, (axis,) = new_figure(text, width=7.2, height=1.2 + 0.32 * len(rows))
    for place, row in enumerate(rows.to_dict("records")):
        style = {"linestyle": "", "capsize": 2, **style_of(row["method"])}
        for what, of, fill in (("estimate", "", "none"), ("total", "total_", style["color"])):
            spread = [[row[what] - row[f"{of}low"]], [row[f"{of}high"] - row[what]]]
            axis.errorbar(row[what], place, xerr=spread, markerfacecolor=fill, **style)
        both = [row["estimate"], row["total"]]
        axis.plot(both, [place] * 2, color="#767676", linewidth=0.8, zorder=0)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.annotate(" one retraining", (1, len(rows) - 1), ha="left", va="bottom", size=9)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="x", color="#eeeeee")
    axis.set_yticks(range(len(rows)), [label_of(method) for method in rows["method"]])
    axis.set(xlabel="one request / one retraining: alone (open), with the search for it (full)")
    return figure
