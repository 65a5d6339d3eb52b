"""Every figure of the study, in one style."""

from collections.abc import Callable, Mapping, Sequence
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
from matplotlib.ticker import PercentFormatter

from medunlearn.cohort.build import Cohort
from medunlearn.evaluation.lineups import FLOOR, NOTHING, RETRAINED
from medunlearn.evaluation.measurements import PARTS
from medunlearn.evaluation.results import GROUPS
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
    figure.savefig(folder / f"{name}.png", bbox_inches="tight")
    # no date inside: the same study writes the same file
    figure.savefig(folder / f"{name}.pdf", bbox_inches="tight", metadata={"CreationDate": None})
    plt.close(figure)
    return figure


def label_of(method: str) -> str:
    """How a method is called in figures and tables."""
    return "retrained, fresh seeds (floor)" if method == FLOOR else get_method(method).label


def plot_examples(cohort: Cohort, columns: int = 6) -> Figure:
    """Women above men for each class: images in the order of the table, no choice of ours."""
    table, size = cohort.table, cohort.pixels.shape[-1]
    rows = [(name, code, sex) for code, name in enumerate(cohort.classes) for sex in ("F", "M")]
    figure, axes = plt.subplots(len(rows), columns, figsize=(columns * 1.1, len(rows) * 1.15))
    for line, (name, code, sex) in zip(axes, rows, strict=True):
        shown = table[(table["label"] == code) & (table["sex"] == sex)]
        for axis, sample in zip(line, shown["sample"].head(columns), strict=False):
            image = np.moveaxis(cohort.pixels[sample], 0, -1)
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, size, size, 0))
        for axis in line:
            axis.axis("off")
        line[0].text(-4, size / 2, f"{name}\n{SEX_NAMES[sex]}", ha="right", va="center", size=9)
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    return figure


def plot_levels(results: pd.DataFrame, measure: str = "accuracy") -> Figure:
    """Level on each partition of doing nothing and of retraining, by forget size."""
    chosen = _choose(results, measure, quantity="level")
    chosen = chosen[chosen["method"].isin([NOTHING, RETRAINED])]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
    for axis, part in zip(axes, PARTS, strict=True):
        for offset, method in ((-0.08, NOTHING), (0.08, RETRAINED)):
            rows = chosen[(chosen["method"] == method) & (chosen["partition"] == part)]
            _draw_estimates(axis, np.arange(len(rows)) + offset, rows, method)
        _label_sizes(axis, chosen)
        axis.set_title(PART_TITLES[part])
    axes[0].set_ylabel(f"{measure.replace('_', ' ')}, mean over patients")
    axes[0].set_ylim(0, 1.02)
    axes[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _legend(figure, [NOTHING, RETRAINED])
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
        _draw_margin(axis, margins[part])
        for rank, method in enumerate(methods):
            offset = (rank - (len(methods) - 1) / 2) * 0.8 / len(methods)
            rows = chosen[(chosen["method"] == method) & (chosen["partition"] == part)]
            places = np.array([sizes.index(size) for size in rows["forget_size"]]) + offset
            ours = points[(points["method"] == method) & (points["partition"] == part)]
            at = [sizes.index(size) + offset for size in ours["forget_size"]]
            style = _style(method)
            axis.plot(at, ours["gap"], ".", color=style["color"], alpha=0.3, markersize=4, zorder=1)
            _draw_estimates(axis, places, rows, method)
        _draw_floor(axis, chosen[chosen["partition"] == part], sizes)
        here = points[points["partition"] == part]
        _limit(axis.set_ylim, [*here["gap"], -margins[part], margins[part]])
        axis.set_title(PART_TITLES[part], loc="left")
        axis.set_ylabel("gap (points)")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    _label_sizes(axes[-1], chosen)
    axes[-1].set_xlabel("forget size, share of training patients")
    _legend(figure, methods, floor=True)
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
        _limit(axis.set_xlim, [*shown["estimate"], -2 * margins[part], 2 * margins[part]], room=0.5)
        axis.set_title(PART_TITLES[part])
        axis.grid(axis="y", visible=False)
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axis.set_xlabel("gap (points)")
    axes[0].set_yticks(range(len(methods)), [label_of(method) for method in methods])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def plot_costs(ratios: pd.DataFrame) -> Figure:
    """Cost of each method as a ratio to one retraining, by forget size, every repeat a point."""
    methods, sizes = list(dict.fromkeys(ratios["method"])), sorted(set(ratios["forget_size"]))
    figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for rank, method in enumerate(methods):
        offset = (rank - (len(methods) - 1) / 2) * 0.8 / len(methods)
        rows = ratios[ratios["method"] == method]
        at = np.array([sizes.index(size) for size in rows["forget_size"]]) + offset
        axis.plot(at, rows["ratio"], **_style(method), linestyle="", markersize=5, alpha=0.8)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.annotate("one retraining", (len(sizes) - 0.5, 1), ha="right", va="bottom", size=9)
    axis.set_ylim(0, max(1.15, 1.1 * ratios["ratio"].max()))
    _label_sizes(axis, ratios)
    axis.set(xlabel="forget size, share of training patients", ylabel="seconds / retraining")
    _legend(figure, methods)
    return figure


def _choose(results: pd.DataFrame, measure: str, quantity: str = "gap") -> pd.DataFrame:
    return results[
        (results["measure"] == measure)
        & (results["quantity"] == quantity)
        & (results["composition"] == "random")
        & (results["group"] == GROUPS[0])
    ].sort_values("forget_size", kind="stable")


def _style(method: str) -> dict[str, Any]:
    record = get_method(method)
    return {"color": record.colour, "marker": record.marker}


def _draw_estimates(
    axis: Axes, places: Sequence[float] | np.ndarray, rows: pd.DataFrame, method: str
) -> None:
    style = _style(method)
    spread = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
    drawn = {"fmt": style["marker"], "color": style["color"], "markersize": 6, "capsize": 2}
    axis.errorbar(places, rows["estimate"], yerr=spread, zorder=3, **drawn)


def _limit(
    set_limits: Callable[[float, float], object], values: Sequence[float], room: float = 0.15
) -> None:
    """Frame the estimates and seeds: with two seeds an interval may be wider than the scale."""
    low, high = np.nanmin(values), np.nanmax(values)
    set_limits(low - room * (high - low), high + room * (high - low))


def _draw_margin(axis: Axes, margin: float) -> None:
    axis.axhspan(-margin, margin, color=BAND, zorder=0, linewidth=0)
    axis.axhline(0, color="black", linewidth=0.8, zorder=1)


def _draw_floor(axis: Axes, chosen: pd.DataFrame, sizes: list[float]) -> None:
    """The noise floor: what two honest retrainings differ by, at the middle size."""
    columns = ["forget_size", "estimate", "low", "high"]
    for size, estimate, low, high in chosen.loc[chosen["method"] == FLOOR, columns].to_numpy():
        ends = [sizes.index(size) - 0.45, sizes.index(size) + 0.45]
        axis.plot(ends, [estimate] * 2, color="black", linewidth=1, linestyle="--")
        if np.isfinite(low):
            axis.fill_between(ends, low, high, color="black", alpha=0.12, linewidth=0)


def _label_sizes(axis: Axes, chosen: pd.DataFrame) -> None:
    sizes = sorted(chosen["forget_size"].unique())
    axis.set_xticks(range(len(sizes)), [f"{size:.0%}" for size in sizes])


def _legend(figure: Figure, methods: Sequence[str], *, floor: bool = False) -> None:
    handles: list[Artist] = [
        Line2D([], [], linestyle="", label=label_of(method), **_style(method)) for method in methods
    ]
    if floor:
        handles += [
            Line2D([], [], color="black", linestyle="--", label=label_of(FLOOR)),
            Rectangle((0, 0), 1, 1, color=BAND, label="margin"),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
