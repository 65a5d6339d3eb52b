"""Levels and gaps to retraining, by forget size, by sex."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medunlearn.evaluation.measurements import FLOOR, NOTHING, PARTS, RETRAINED
from medunlearn.evaluation.results import GROUPS
from medunlearn.figures.style import (
    BAND,
    PART_TITLES,
    SEX_COLOURS,
    SEX_NAMES,
    draw_estimates,
    draw_floor,
    draw_margin,
    label_of,
    label_sizes,
    legend,
    limit,
    style_of,
)


def plot_levels(results: pd.DataFrame, measure: str = "accuracy") -> Figure:
    """Level on each partition of doing nothing and of retraining, by forget size."""
    chosen = _choose(results, measure, quantity="level")
    chosen = chosen[chosen["method"].isin([NOTHING, RETRAINED])]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
    for axis, part in zip(axes, PARTS, strict=True):
        for offset, method in ((-0.08, NOTHING), (0.08, RETRAINED)):
            rows = chosen[(chosen["method"] == method) & (chosen["partition"] == part)]
            draw_estimates(axis, np.arange(len(rows)) + offset, rows, method)
        label_sizes(axis, chosen)
        axis.set_title(PART_TITLES[part])
    axes[0].set_ylabel(f"{measure.replace('_', ' ')}, mean over patients")
    axes[0].set_ylim(0, 1.02)
    axes[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    legend(figure, [NOTHING, RETRAINED])
    return figure


def plot_gaps(
    results: pd.DataFrame,
    seeds: pd.DataFrame,
    margins: Mapping[str, float],
    measure: str = "accuracy",
) -> Figure:
    """Gap to retraining by forget size: one panel a partition, one colour and marker a method.

    Seeds (as from ``measure_seeds``) are faint points, margins half widths of the band.
    """
    chosen = _choose(results, measure)
    points = seeds[(seeds["composition"] == "random") & (seeds["group"] == "all")]
    methods = [m for m in dict.fromkeys(chosen["method"]) if m != FLOOR]
    sizes = sorted(chosen["forget_size"].unique())
    figure, axes = plt.subplots(3, 1, figsize=(9, 9), sharex=True, layout="constrained")
    for axis, part in zip(axes, PARTS, strict=True):
        draw_margin(axis, margins[part])
        for rank, method in enumerate(methods):
            offset = (rank - (len(methods) - 1) / 2) * 0.8 / len(methods)
            rows = chosen[(chosen["method"] == method) & (chosen["partition"] == part)]
            places = np.array([sizes.index(size) for size in rows["forget_size"]]) + offset
            ours = points[(points["method"] == method) & (points["partition"] == part)]
            at = [sizes.index(size) + offset for size in ours["forget_size"]]
            style = style_of(method)
            axis.plot(at, ours["gap"], ".", color=style["color"], alpha=0.3, markersize=4, zorder=1)
            draw_estimates(axis, places, rows, method)
        draw_floor(axis, chosen[chosen["partition"] == part], sizes)
        here = points[points["partition"] == part]
        limit(axis.set_ylim, [*here["gap"], -margins[part], margins[part]])
        axis.set_title(PART_TITLES[part], loc="left")
        axis.set_ylabel("gap (points)")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    label_sizes(axes[-1], chosen)
    axes[-1].set_xlabel("forget size, share of training patients")
    legend(figure, methods, floor=True)
    return figure


def plot_sexes(
    results: pd.DataFrame, forget_size: float, margins: Mapping[str, float], measure: str
) -> Figure:
    """Gap to retraining of women and of men, by method, at one forget size."""
    chosen = results[
        (results["measure"] == measure)
        & (results["quantity"] == "gap")
        & (results["forget_size"] == forget_size)
        & (results["composition"] == "random")
    ]
    methods = list(dict.fromkeys(chosen["method"]))
    figure, axes = plt.subplots(
        1, 3, figsize=(9, 0.8 + 0.45 * len(methods)), sharey=True, layout="constrained"
    )
    for axis, part in zip(axes, PARTS, strict=True):
        axis.axvspan(-margins[part], margins[part], color=BAND, zorder=0, linewidth=0)
        axis.axvline(0, color="black", linewidth=0.8)
        for sex, marker, offset in (("F", "o", -0.14), ("M", "s", 0.14)):
            rows = chosen[(chosen["group"] == sex) & (chosen["partition"] == part)]
            places = [methods.index(method) + offset for method in rows["method"]]
            spread = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
            style = {"fmt": marker, "color": SEX_COLOURS[sex], "markersize": 5, "capsize": 2}
            axis.errorbar(rows["estimate"], places, xerr=spread, label=SEX_NAMES[sex], **style)
        shown = chosen[chosen["partition"] == part]
        limit(axis.set_xlim, [*shown["estimate"], -2 * margins[part], 2 * margins[part]], room=0.5)
        axis.set_title(PART_TITLES[part])
        axis.grid(axis="y", visible=False)
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axis.set_xlabel("gap (points)")
    axes[0].set_yticks(range(len(methods)), [label_of(method) for method in methods])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _choose(results: pd.DataFrame, measure: str, quantity: str = "gap") -> pd.DataFrame:
    return results[
        (results["measure"] == measure)
        & (results["quantity"] == quantity)
        & (results["composition"] == "random")
        & (results["group"] == GROUPS[0])
    ].sort_values("forget_size", kind="stable")
