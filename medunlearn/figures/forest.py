"""Contrasts with their intervals, margins and verdicts, one line a method."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medunlearn.figures.style import BAND, label_of, limit, style_of
from medunlearn.statistics.verdicts import NOT_ESTIMABLE, NOT_TESTED


def plot_forest(
    panels: Mapping[str, pd.DataFrame], *, axis_title: str = "difference (points)"
) -> Figure:
    """Forest plot: estimate, interval and verdict of each method, the margin shaded.

    Confirmatory contrasts have filled markers, exploratory ones hollow.

    Args:
        panels: By title, rows as from `verdicts.judge`, one for each method.
        axis_title: Of every panel.
    """
    methods = list(dict.fromkeys(m for rows in panels.values() for m in rows["method"]))
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(1.6 + min(4.6, 11 / len(panels)) * len(panels), 0.9 + 0.33 * len(methods)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
        _draw_panel(axis, rows, methods)
        axis.set(title=title, xlabel=axis_title)
    axes[0][0].set_yticks(range(len(methods)), [label_of(method) for method in methods])
    axes[0][0].set_ylim(len(methods) - 0.4, -0.6)
    return figure


def _draw_panel(axis: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    margin = float(rows["margin"].max())
    if np.isfinite(margin):
        axis.axvspan(-margin, margin, color=BAND, zorder=0, linewidth=0)
    axis.axvline(0, color="black", linewidth=0.8, zorder=1)
    for row in rows.to_dict("records"):
        place, style = methods.index(row["method"]), style_of(row["method"])
        axis.errorbar(
            row["estimate"],
            place,
            xerr=[[row["estimate"] - row["low"]], [row["high"] - row["estimate"]]],
            fmt=style["marker"],
            color=style["color"],
            markerfacecolor=style["color"] if row["confirmatory"] else "white",
            markersize=6,
            capsize=2,
            zorder=3,
        )
        tested = row["verdict"] not in {NOT_TESTED, NOT_ESTIMABLE}
        axis.annotate(
            row["verdict"],
            (1.01, place),
            xycoords=axis.get_yaxis_transform(),
            va="center",
            size=8,
            color="black" if tested else "grey",
        )
    _frame(axis, rows, margin)
    axis.grid(axis="y", visible=False)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))


def _frame(axis: Axes, rows: pd.DataFrame, margin: float) -> None:
    """Show every estimate and most intervals whole: one wide interval must not hide the others."""
    ends = [0.0] if not np.isfinite(margin) else [-1.3 * margin, 1.3 * margin]
    estimates = rows["estimate"].to_numpy(float)
    half = (rows["high"] - rows["low"]).to_numpy(float) / 2
    if np.isfinite(half).any():
        usual = np.fmin(half, 2 * np.nanmedian(half))
        ends += [*(estimates - usual), *(estimates + usual)]
    shown = np.array([*ends, *estimates])
    shown = shown[np.isfinite(shown)]
    if np.ptp(shown):
        limit(axis.set_xlim, shown.tolist(), room=0.06)
