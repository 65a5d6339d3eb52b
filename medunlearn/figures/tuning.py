"""How settings were found, and what the search cost."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medunlearn.figures.style import label_of, style_of


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
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    axis.plot(scores, **style_of(method), linestyle="", markersize=7, label=label_of(method))
    axis.axhline(doing_nothing, color=style_of("original")["color"], label="do nothing")
    for label, trial, colour, size in (
        ("chosen", chosen, "black", 13),
        ("oracle_tuned", oracle_tuned, "#bbbbbb", 18),
    ):
        axis.plot(
            [trial],
            [scores[trial]],
            marker="o",
            markersize=size,
            markerfacecolor="none",
            linestyle="",
            color=colour,
            label=label,
        )
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
    figure, axis = plt.subplots(figsize=(8, 0.8 + 0.32 * len(rows)), layout="constrained")
    for place, row in enumerate(rows.to_dict("records")):
        style = style_of(row["method"])
        for what, filled in (("estimate", "none"), ("total", style["color"])):
            low, high = ("low", "high") if what == "estimate" else (f"{what}_low", f"{what}_high")
            error = np.array([[row[what] - row[low]], [row[high] - row[what]]])
            drawn = {"fmt": style["marker"], "color": style["color"], "capsize": 2}
            axis.errorbar(row[what], place, xerr=error, markerfacecolor=filled, **drawn)
        axis.plot([row["estimate"], row["total"]], [place] * 2, color="#cccccc", zorder=0)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.annotate(" one retraining", (1, len(rows) - 1), ha="left", va="bottom", size=9)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(axis="x", color="#eeeeee")
    axis.set_yticks(range(len(rows)), [label_of(method) for method in rows["method"]])
    axis.set(xlabel="one request / one retraining: alone (open), with the search for it (full)")
    return figure
