"""Estimates with intervals, margins and verdicts, one line a method."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medunlearn.evaluation.yardsticks import FLOOR
from medunlearn.figures.style import BAND, GROUP_STYLES, frame, label_of, new_figure, style_of
from medunlearn.statistics.verdicts import NOT_TESTED

PANEL = 5.4
"""Width of a panel, in inches: its letters can be read on a telephone."""

GREATEST = 100.0
"""Points: an interval as wide, or one beyond what is possible, says nothing: it is left out."""

SHORT = {"different but negligible": "negligible", "not estimable (ceiling)": "at the ceiling"}
"""Verdicts whose words are too long for a margin."""


def plot_estimates(
    panels: Mapping[str, pd.DataFrame],
    *,
    axis_title: str,
    by: str = "",
    seeds: Mapping[str, pd.DataFrame] | None = None,
) -> Iterator[Figure]:
    """Estimate and interval of each method, the margin shaded, single seeds as faint points.

    Confirmatory contrasts have filled markers, exploratory ones hollow, if rows tell them apart.

    Args:
        panels: By title, rows with ``method``, ``estimate``, ``low``, ``high`` and ``margin``; with
            ``verdict`` and ``reading``, the latter is written beside the line.
        axis_title: Of every panel: what is shown, in points.
        by: Column that tells the lines of a method apart, such as ``forget_size`` or ``group``.
        seeds: By the same titles, ``method``, ``by`` and ``gap`` of each seed.

    Yields:
        One figure a panel: side by side on a wide screen, below each other on a narrow one.
    """
    for title, rows in panels.items():
        if rows["estimate"].isna().all():
            continue
        rows = rows.assign(line=rows[by] if by else "")
        lines = _place(rows)
        height = 1.3 + (0.24 if by else 0.3) * (lines["place"].max() + 1)
        text = _describe(title, rows, axis_title)
        figure, (axis,) = new_figure(text, width=PANEL, height=height)
        single = pd.DataFrame(columns=["method", "gap", "place"])
        if seeds is not None:
            single = seeds[title].assign(line=seeds[title][by]).merge(lines).dropna(subset="gap")
        _draw(axis, rows.merge(lines), single)
        axis.set(title=title[0].upper() + title[1:], xlabel=axis_title)
        _label_lines(axis, lines, by)
        yield figure


def _place(rows: pd.DataFrame) -> pd.DataFrame:
    """Heights from the top: methods as they come, with room between those of several lines."""
    lines = rows[["method", "line"]].drop_duplicates().sort_values("line")
    order = {method: rank for rank, method in enumerate(dict.fromkeys(rows["method"]))}
    lines = lines.sort_values("method", key=lambda names: names.map(order), kind="stable")
    room = 0.6 if lines["method"].duplicated().any() else 0
    return lines.assign(place=np.arange(len(lines)) + room * lines["method"].map(order))


def _draw(axis: Axes, rows: pd.DataFrame, single: pd.DataFrame) -> None:
    """Margin, lines and single seeds; the frame is set first: an arrow says that a bar goes on."""
    points = 100 * rows[["estimate", "low", "high"]]
    too_wide = points["high"] - points["low"] > GREATEST
    points.loc[too_wide | (points.abs().max(axis=1) > GREATEST), ["low", "high"]] = np.nan
    margin, ends = 100 * float(rows["margin"].max()), [0, *_ends(points), *(100 * single["gap"])]
    if np.isfinite(margin):
        axis.axvspan(-margin, margin, color=BAND, zorder=0, linewidth=0)
        ends += [-1.3 * margin, 1.3 * margin]
    axis.axvline(0, color="black", linewidth=0.8, zorder=1)
    left, right = axis.set_xlim(frame(ends, 0.06))
    axis.grid(axis="y", visible=False)
    for method, own in single.groupby("method"):
        look = {"color": style_of(str(method))["color"], "alpha": 0.4, "markersize": 5}
        axis.plot(100 * own["gap"], own["place"], ".", zorder=2, **look)
    is_told = "verdict" in rows and (rows["verdict"] != NOT_TESTED).any()
    for row, (estimate, low, high) in zip(rows.to_dict("records"), points.to_numpy(), strict=True):
        place, style = row["place"], GROUP_STYLES.get(str(row["line"])) or style_of(row["method"])
        colour = style["color"]
        axis.plot(np.clip([low, high], left, right), [place] * 2, color=colour, linewidth=1.4)
        for end, cut, marker in ((left, low < left, "<"), (right, high > right, ">")):
            if cut:
                axis.plot(end, place, marker=marker, color=colour, markersize=6, clip_on=False)
        face = colour if row.get("confirmatory", True) else "white"
        axis.plot(estimate, place, markersize=7, zorder=3, **{**style, "markerfacecolor": face})
        if is_told:
            told = SHORT.get(row["reading"], row["reading"]).split(", not confirmed")[0]
            spot = (1.02, place)
            axis.annotate(told, spot, xycoords=axis.get_yaxis_transform(), va="center", size=9)


def _ends(points: pd.DataFrame) -> list[float]:
    """Every estimate and most intervals whole: one wide interval must not hide the others."""
    half = (points["high"] - points["low"]) / 2
    usual, middle = np.fmin(half, 2 * half.median()), points["estimate"]
    return [*middle, *(middle - usual), *(middle + usual)]


def _label_lines(axis: Axes, lines: pd.DataFrame, by: str) -> None:
    """Names of the methods, and beside them what tells their lines apart."""
    heights = lines.groupby("method", sort=False)["place"].mean()
    axis.set_yticks(heights.to_list(), [label_of(method) for method in heights.index])
    axis.set_ylim(lines["place"].max() + 0.6, lines["place"].min() - 0.6)
    if by:
        names = [f"{x:.0%}" if by == "forget_size" else str(x) for x in lines["line"]]
        axis.set_yticks(lines["place"].to_list(), names, minor=True)
        axis.yaxis.remove_overlapping_locs = False  # the middle size is as high as the name
        axis.tick_params(axis="y", which="minor", labelsize=8)
        axis.tick_params(axis="y", which="major", length=0, pad=34)


def _describe(title: str, rows: pd.DataFrame, axis_title: str) -> str:
    """The lowest and the highest estimate, in words."""
    known = rows[rows["method"] != FLOOR].dropna(subset="estimate").sort_values("estimate")
    ends = known.iloc[[0, -1]] if len(known) else known
    both = zip(ends["method"], ends["estimate"], strict=True)
    names = " to ".join(f"{label_of(method)} {100 * estimate:+.1f}" for method, estimate in both)
    return f"{title}, {axis_title}, one line a method with its interval. From {names}."
