"""Estimates with intervals, margins and verdicts, one line a method; and what spreads them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medunlearn.evaluation.measurements import PARTS
from medunlearn.evaluation.yardsticks import FLOOR
from medunlearn.figures.style import (
    BAND,
    GROUP_STYLES,
    PANEL,
    SEX_NAMES,
    frame,
    label_of,
    new_figure,
    style_of,
)
from medunlearn.statistics.verdicts import NOT_TESTED

Place = dict[tuple[str, object], float]
"""Height of a line, by method and by what its lines are told apart by."""

GREATEST = 100.0
"""Points: an interval as wide, or one beyond what is possible, says nothing: it is left out."""

SHORT = {"different but negligible": "negligible", "not estimable (ceiling)": "at the ceiling"}
"""Verdicts whose words are too long for a margin."""


def choose_panels(
    results: pd.DataFrame,
    margins: Mapping[str, float],
    *,
    parts: Sequence[str] = PARTS,
    groups: Sequence[str] = ("all",),
) -> dict[str, pd.DataFrame]:
    """Gaps in accuracy of random forget sets, by the title of a partition.

    Args:
        results: As from ``measure_results``, or the single seeds as from ``measure_seeds``.
        margins: By partition.
        parts: Partitions, in order.
        groups: Of patients.
    """
    chosen = results[(results["composition"] == "random") & results["group"].isin(groups)]
    if "quantity" in results:
        chosen = chosen.query("measure == 'accuracy' and quantity == 'gap'")
    return {
        f"{part} set": chosen[chosen["partition"] == part].assign(margin=margins[part])
        for part in parts
    }


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
            ``verdict``, it is written beside the line.
        axis_title: Of every panel: what is shown, in points.
        by: Column that tells the lines of a method apart: ``forget_size``, ``step`` or ``group``.
        seeds: By the same titles, ``method``, ``by`` and ``gap`` of each seed.

    Yields:
        One figure a panel: side by side on a wide screen, below each other on a narrow one.
    """
    for title, rows in panels.items():
        if rows["estimate"].isna().all():
            continue
        places = _place(rows, by)
        height = 1.3 + (0.3 if not by else 0.24) * (max(places.values()) + 1)
        text = describe(title, rows, axis_title)
        figure, (axis,) = new_figure(text, width=PANEL, height=height)
        _draw(axis, rows, places, by, None if seeds is None else seeds[title])
        axis.set(title=title[0].upper() + title[1:], xlabel=axis_title)
        _label_lines(axis, places, by)
        if by == "group":
            handles = [
                Line2D([], [], linestyle="", label=SEX_NAMES.get(name, name), **style)
                for name, style in GROUP_STYLES.items()
                if name in set(rows[by])
            ]
            figure.legend(handles=handles, loc="outside lower center", ncols=3)
        yield figure


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


def _draw(
    axis: Axes, rows: pd.DataFrame, places: Place, by: str, single: pd.DataFrame | None
) -> None:
    """Margin, lines and single seeds; the frame is set first, so that bars know where it ends."""
    points = 100 * rows[["estimate", "low", "high"]]
    too_wide = points["high"] - points["low"] > GREATEST
    points.loc[too_wide | (points.abs().max(axis=1) > GREATEST), ["low", "high"]] = np.nan
    margin, ends = 100 * float(rows["margin"].max()), [0.0, *ends_of(points)]
    if np.isfinite(margin):
        axis.axvspan(-margin, margin, color=BAND, zorder=0, linewidth=0)
        ends += [-1.3 * margin, 1.3 * margin]
    axis.axvline(0, color="black", linewidth=0.8, zorder=1)
    if single is not None:
        ends += _draw_seeds(axis, single, places, by)
    axis.set_xlim(frame(ends, 0.06))
    axis.grid(axis="y", visible=False)
    for row, (estimate, low, high) in zip(rows.to_dict("records"), points.to_numpy(), strict=True):
        place, group = places[row["method"], row.get(by, "")], str(row.get("group"))
        style = GROUP_STYLES[group] if group in GROUP_STYLES else style_of(row["method"])
        look = style if row.get("confirmatory", True) else {**style, "markerfacecolor": "white"}
        draw_bar(axis, place, low, high, style["color"])
        axis.plot(estimate, place, linestyle="", markersize=7, zorder=3, **look)
        reading = row.get("reading", row.get("verdict", ""))
        if reading and any(rows["verdict"] != NOT_TESTED):
            beside = {"xycoords": axis.get_yaxis_transform(), "va": "center", "size": 9}
            axis.annotate(_short(reading), (1.02, place), **beside)  # type: ignore[arg-type]


def _short(reading: str) -> str:
    return SHORT.get(reading, reading).split(", not confirmed")[0]


def draw_bar(axis: Axes, place: float, low: float, high: float, colour: str) -> None:
    """An interval; where the frame cuts it, an arrow says that it goes on."""
    if not np.isfinite(low):
        return
    left, right = axis.get_xlim()
    axis.plot([max(low, left), min(high, right)], [place] * 2, color=colour, linewidth=1.4)
    for end, cut, marker in ((left, low < left, "<"), (right, high > right, ">")):
        if cut:
            axis.plot(end, place, marker=marker, color=colour, markersize=6, clip_on=False)


def _draw_seeds(axis: Axes, single: pd.DataFrame, places: Place, by: str) -> list[float]:
    """Faint points in the colour of the method; their values."""
    lines = zip(single["method"], single[by], strict=True)
    single = single[[line in places for line in lines]].dropna(subset="gap")
    for method, rows in single.groupby("method"):
        at = [places[str(method), level] for level in rows[by]]
        colour = style_of(str(method))["color"]
        axis.plot(100 * rows["gap"], at, ".", color=colour, alpha=0.4, markersize=5, zorder=2)
    return (100 * single["gap"]).tolist()


def ends_of(points: pd.DataFrame) -> list[float]:
    """Every estimate and most intervals whole: one wide interval must not hide the others."""
    half = (points["high"] - points["low"]) / 2
    usual = np.fmin(half, 2 * half.median())
    shown = [points["estimate"], points["estimate"] - usual, points["estimate"] + usual]
    return list(pd.concat(shown))


def _label_lines(axis: Axes, places: Place, by: str) -> None:
    """Names of the methods, and beside them the forget sizes or steps."""
    heights = pd.Series(places).groupby(level=0, sort=False).mean()
    axis.set_yticks(heights.to_list(), [label_of(method) for method in heights.index])
    axis.set_ylim(max(places.values()) + 0.6, min(places.values()) - 0.6)
    if by in {"forget_size", "step"}:
        names = [f"{x:.0%}" if by == "forget_size" else str(x) for _, x in places]
        axis.set_yticks(list(places.values()), names, minor=True)
        axis.yaxis.remove_overlapping_locs = False  # the middle size is as high as the name
        axis.tick_params(axis="y", which="minor", labelsize=8)
        axis.tick_params(axis="y", which="major", length=0, pad=34)


def describe(title: str, rows: pd.DataFrame, axis_title: str) -> str:
    """The lowest and the highest estimate, in words."""
    told = f"{title}, {axis_title}, one line a method with its interval."
    known = rows[rows["method"] != FLOOR].dropna(subset="estimate").sort_values("estimate")
    ends = known.iloc[[0, -1]] if len(known) else known
    both = zip(ends["method"], ends["estimate"], strict=True)
    names = [f"{label_of(method)} {100 * estimate:+.1f}" for method, estimate in both]
    return f"{told} From {' to '.join(names)}." if names else told


def plot_shares(rows: pd.DataFrame) -> Figure:
    """What the variance of each contrast is due to, mean over methods, a bar for each contrast.

    Args:
        rows: Judged contrasts, with ``claim``, ``partition``, ``contrast``, ``measure`` and the
            shares of the variance; rows without shares are left out.
    """
    parts = {"share_seed": "#1A5E9A", "share_patient": "#B34700", "share_residual": "#767676"}
    names = rows["claim"] + " " + rows["contrast"] + ", " + rows["partition"]
    names += ", " + rows["measure"].str.replace("_", " ")
    means = 100 * rows[list(parts)].groupby(names, sort=False).mean().dropna()[::-1]
    text = "; ".join(f"{name}: seeds {share:.0f} %" for name, share in means["share_seed"].items())
    figure, (axis,) = new_figure(text, width=7.2, height=1.9 + 0.32 * len(means))
    named = means.rename(columns=lambda part: f"{part.removeprefix('share_')}s")
    named.plot.barh(ax=axis, stacked=True, width=0.65, color=[*parts.values()], legend=False)
    for bars in axis.containers:
        words = [f"{bar.get_width():.0f}" if bar.get_width() >= 8 else "" for bar in bars]
        axis.bar_label(bars, words, label_type="center", color="white", size=9)  # type: ignore[arg-type]
    figure.legend(loc="outside lower center", ncols=3)
    axis.set(xlabel="share of the variance (%)", xlim=(0, 100), ylabel="")
    axis.grid(visible=False)
    return figure


def plot_difficulty(difficulty: pd.DataFrame, cohort: pd.DataFrame) -> Figure:
    """What seeing a patient adds to confidence, and confidence on the test set by stratum."""
    table = cohort.merge(difficulty, on="sample")
    text = "Left: memorisation by tenths of confidence. Right: confidence on the test set."
    figure, (left, right) = new_figure(text, 2, width=9, height=3.4)
    train = table.dropna(subset="memorisation")
    train = train.assign(tenth=pd.qcut(train["confidence_out"], 10, labels=False))
    means = train.groupby("tenth")[["confidence_out", "memorisation"]].mean()
    left.plot(means["confidence_out"], 100 * means["memorisation"], "ko-", markersize=5)
    left.set(
        xlabel="confidence unseen (log odds), tenths",
        ylabel="right if seen - unseen (points)",
        title="training images: memorised",
    )
    strata = {name: GROUP_STYLES[name]["color"] for name in ("easy", "medium", "hard")}
    test = table[table["partition"] == "test"]
    look = {"palette": strata, "hue_order": list(strata), "bins": 40, "alpha": 0.7}
    sns.histplot(test, x="confidence_out", hue="stratum", ax=right, **look)
    right.set(xlabel="confidence (log odds)", ylabel="images", title="test set, by stratum")
    return figure
