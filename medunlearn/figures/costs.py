"""What unlearning costs, how its settings were found, and what the search costs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medunlearn.figures.style import add_legend, label_of, new_figure, style_of


def plot_costs(ratios: pd.DataFrame) -> Figure:
    """Cost of each method as a ratio to one retraining, by forget size, every repeat a point."""
    methods, sizes = list(dict.fromkeys(ratios["method"])), sorted(set(ratios["forget_size"]))
    text = "Seconds of each method divided by seconds of one retraining, by forget size."
    figure, (axis,) = new_figure(text, height=3.4)
    for rank, method in enumerate(methods):
        offset = (rank - (len(methods) - 1) / 2) * 0.8 / len(methods)
        rows = ratios[ratios["method"] == method]
        at = np.array([sizes.index(size) for size in rows["forget_size"]]) + offset
        look: dict[str, Any] = {
            "linestyle": "",
            "markersize": 6,
            "alpha": 0.8,
            "clip_on": False,
            "zorder": 3,
        }
        axis.plot(at, rows["ratio"], **look, **style_of(method))
    axis.axhline(1, color="black", linewidth=0.8)
    across = axis.get_yaxis_transform()
    axis.annotate("one retraining", (1, 1), xycoords=across, ha="right", va="bottom", size=9)
    axis.set_ylim(0, max(1.15, 1.1 * ratios["ratio"].max()))
    axis.set_xticks(range(len(sizes)), [f"{size:.0%}" for size in sizes])
    axis.set(xlabel="forget size, share of training patients", ylabel="seconds / retraining")
    add_legend(figure, {label_of(method): style_of(method) for method in methods})
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
        ("oracle_tuned", oracle_tuned, "#bbbbbb", 18),
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
    figure, (axis,) = new_figure(text, width=8, height=0.8 + 0.32 * len(rows))
    for place, row in enumerate(rows.to_dict("records")):
        style = {"linestyle": "", "capsize": 2, **style_of(row["method"])}
        for what, (low, high), fill in (
            ("estimate", ("low", "high"), "none"),
            ("total", ("total_low", "total_high"), style["color"]),
        ):
            spread = np.array([[row[what] - row[low]], [row[high] - row[what]]])
            axis.errorbar(row[what], place, xerr=spread, markerfacecolor=fill, **style)
        axis.plot([row["estimate"], row["total"]], [place] * 2, color="#cccccc", zorder=0)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.annotate(" one retraining", (1, len(rows) - 1), ha="left", va="bottom", size=9)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(axis="x", color="#eeeeee")
    axis.set_yticks(range(len(rows)), [label_of(method) for method in rows["method"]])
    axis.set(xlabel="one request / one retraining: alone (open), with the search for it (full)")
    return figure
