"""What unlearning costs, how its settings were found, and what the search costs."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from medunlearn.figures.style import label_of, new_figure, style_of


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
