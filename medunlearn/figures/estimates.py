"""Estimates with intervals, margins and verdicts: a panel for each partition, a line a method."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medunlearn.evaluation.measurements import FLOOR, PARTS
from medunlearn.figures.style import (
    BAND,
    GROUP_STYLES,
    SEX_NAMES,
    add_legend,
    frame,
    label_of,
    new_figure,
    style_of,
)
from medunlearn.statistics.verdicts import NOT_ESTIMABLE, NOT_TESTED

Place = dict[tuple[str, object], float]
"""Height of a line, by method and by what its lines are told apart by."""


def choose_panels(
    results: pd.DataFrame,
    margins: Mapping[str, float],
    measure: str = "accuracy",
    *,
    quantity: str = "gap",
    parts: Sequence[str] = PARTS,
    groups: Sequence[str] = ("all",),
) -> dict[str, pd.DataFrame]:
    """Rows of ``measure_results`` of random forget sets, by the title of a partition.

    Args:
        results: As from ``measure_results``, or the single seeds as from ``measure_seeds``.
        margins: By partition.
        measure: Of which the results are told.
        quantity: ``gap`` or ``level``, which has no margin.
        parts: Partitions, in order.
        groups: Of patients.
    """
    chosen = results[(results["composition"] == "random") & results["group"].isin(groups)]
    if "quantity" in results:
        chosen = chosen[(chosen["measure"] == measure) & (chosen["quantity"] == quantity)]
    return {
        f"{part} set": chosen[chosen["partition"] == part].assign(
            margin=margins[part] if quantity == "gap" else np.nan
        )
        for part in parts
    }


def plot_estimates(
    panels: Mapping[str, pd.DataFrame],
    *,
    axis_title: str,
    by: str = "",
    seeds: Mapping[str, pd.DataFrame] | None = None,
    zero: bool = True,
) -> Figure:
    """Estimate and interval of each method, the margin shaded, single seeds as faint points.

    Confirmatory contrasts have filled markers, exploratory ones hollow, if rows tell them apart.

    Args:
        panels: By title, rows with ``method``, ``estimate``, ``low``, ``high`` and ``margin``; with
            ``verdict``, it is written beside the line.
        axis_title: Of every panel: what is shown, in points.
        by: Column that tells the lines of a method apart: ``forget_size`` or ``group``.
        seeds: By the same titles, ``method``, ``by`` and ``gap`` of each seed.
        zero: Whether to draw the line of no difference.
    """
    every = pd.concat(panels.values())
    places = _place(every, by)
    judged, count = "verdict" in every, len(panels)
    figure, axes = new_figure(
        describe(panels, axis_title),
        count,
        width=1.6 + min(4.6, 11 / count) * count if judged else 9.5,
        height=0.9 + (0.33 if not by else 0.22) * (max(places.values()) + 1),
        sharey=True,
    )
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        single = None if seeds is None else seeds[title]
        _draw_panel(axis, rows, places, by, single, zero=zero)
        axis.set(title=title, xlabel=axis_title)
        if not zero:  # a level: all of the scale
            axis.set_xlim(0, 100)
    _label_lines(axes[0], places, by)
    if by == "group":
        told = {group: style for group, style in GROUP_STYLES.items() if group in set(every[by])}
        add_legend(figure, {SEX_NAMES.get(group, group): style for group, style in told.items()})
    return figure


def _place(rows: pd.DataFrame, by: str) -> Place:
    """Heights from the top: methods as they come, with room between those of several lines."""
    places: Place = {}
    height = -1.0
    for method in dict.fromkeys(rows["method"]):
        height += 0.6 if by else 0
        for level in sorted(set(rows.loc[rows["method"] == method, by])) if by else [""]:
            height += 1
            places[method, level] = height
    return places


def _draw_panel(
    axis: Axes,
    rows: pd.DataFrame,
    places: Place,
    by: str,
    single: pd.DataFrame | None,
    *,
    zero: bool,
) -> None:
    margin, ends = 100 * float(rows["margin"].max()), [0.0] if zero else []
    if np.isfinite(margin):
        axis.axvspan(-margin, margin, color=BAND, zorder=0, linewidth=0)
        ends += [-1.3 * margin, 1.3 * margin]
    if zero:
        axis.axvline(0, color="black", linewidth=0.8, zorder=1)
    for row in rows.to_dict("records"):
        place, group = places[row["method"], row.get(by, "")], str(row.get("group"))
        style = GROUP_STYLES[group] if group in GROUP_STYLES else style_of(row["method"])
        estimate, low, high = (100 * row[name] for name in ("estimate", "low", "high"))
        hollow = {} if row.get("confirmatory", True) else {"markerfacecolor": "white"}
        spread = [[estimate - low], [high - estimate]]
        shape = {"linestyle": "", "markersize": 6, "capsize": 2, "zorder": 3}
        axis.errorbar(estimate, place, xerr=spread, **shape, **style, **hollow)  # type: ignore[arg-type]
        if verdict := row.get("verdict"):
            colour = "grey" if verdict in {NOT_TESTED, NOT_ESTIMABLE} else "black"
            beside = {"xycoords": axis.get_yaxis_transform(), "va": "center", "size": 8}
            axis.annotate(verdict, (1.01, place), color=colour, **beside)  # type: ignore[arg-type]
    if single is not None:
        ends += _draw_seeds(axis, single, places, by)
    axis.set_xlim(frame([*ends, *ends_of(100 * rows[["estimate", "low", "high"]])], 0.06))
    axis.grid(axis="y", visible=False)


def _draw_seeds(axis: Axes, single: pd.DataFrame, places: Place, by: str) -> list[float]:
    """Faint points in the colour of the method; their values."""
    single = single[single["method"].isin({method for method, _ in places})]
    for method, rows in single.dropna(subset="gap").groupby("method"):
        at = [places[str(method), level] for level in rows[by]]
        colour = style_of(str(method))["color"]
        axis.plot(100 * rows["gap"], at, ".", color=colour, alpha=0.35, markersize=4, zorder=2)
    return (100 * single["gap"].dropna()).tolist()


def ends_of(points: pd.DataFrame) -> list[float]:
    """Every estimate and most intervals whole: one wide interval must not hide the others."""
    half = (points["high"] - points["low"]) / 2
    usual = np.fmin(half, 2 * half.median())
    shown = [points["estimate"], points["estimate"] - usual, points["estimate"] + usual]
    ends: list[float] = pd.concat(shown).tolist()
    return ends


def _label_lines(axis: Axes, places: Place, by: str) -> None:
    """Names of the methods, and beside them the forget sizes."""
    heights = pd.Series(places).groupby(level=0, sort=False).mean()
    axis.set_yticks(heights.to_list(), [label_of(method) for method in heights.index])
    axis.set_ylim(max(places.values()) + 0.6, min(places.values()) - 0.6)
    if by == "forget_size":
        axis.set_yticks(list(places.values()), [f"{size:.0%}" for _, size in places], minor=True)
        axis.yaxis.remove_overlapping_locs = False  # the middle size is as high as the name
        axis.tick_params(axis="y", which="minor", labelsize=8)
        axis.tick_params(axis="y", which="major", length=0, pad=34)


def describe(panels: Mapping[str, pd.DataFrame], axis_title: str) -> str:
    """The lowest and the highest estimate of each panel, in words."""
    told = [f"{axis_title}, one line a method with its interval."]
    for title, rows in panels.items():
        methods = rows[rows["method"] != FLOOR].dropna(subset="estimate")
        if len(methods):
            ends = methods.sort_values("estimate").iloc[[0, -1]]
            low, high = (
                f"{label_of(method)} {100 * estimate:+.1f}"
                for method, estimate in zip(ends["method"], ends["estimate"], strict=True)
            )
            told.append(f"{title}: from {low} to {high}.")
    return " ".join(told)
