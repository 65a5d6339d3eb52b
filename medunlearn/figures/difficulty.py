"""How difficulty relates to what is learnt by heart, and to the gap of each method."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medunlearn.evaluation.measurements import FLOOR, NOTHING
from medunlearn.figures.style import BAND, PART_TITLES, label_of, limit, style_of

STRATUM_COLOURS = {"easy": "#0072B2", "medium": "#999999", "hard": "#D55E00"}


def plot_difficulty(difficulty: pd.DataFrame, cohort: pd.DataFrame) -> Figure:
    """Confidence of models that did not see a patient; on the left what seeing it adds."""
    table = cohort.merge(difficulty, on="sample")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    train = table.dropna(subset="memorisation")
    train = train.assign(tenth=pd.qcut(train["confidence_out"], 10, labels=False))
    means = train.groupby("tenth")[["confidence_out", "memorisation"]].mean()
    left.plot(means["confidence_out"], means["memorisation"], "o-", color="black", markersize=5)
    left.set(
        xlabel="confidence unseen (log odds), tenths of the images",
        ylabel="P(right | seen) - P(right | unseen)",
        title="learnt by heart",
    )
    bins = np.histogram_bin_edges(table["confidence_out"], 40)
    for stratum, colour in STRATUM_COLOURS.items():
        inside = (table["stratum"] == stratum) & (table["partition"] == "test")
        shown = table.loc[inside, "confidence_out"]
        right.hist(shown, bins.tolist(), color=colour, alpha=0.7, label=stratum)
    right.set(xlabel="confidence (log odds)", ylabel="images", title="test set, by stratum")
    right.legend()
    return figure


def plot_strata(
    results: pd.DataFrame, forget_size: float, margins: dict[str, float], methods: Sequence[str]
) -> Figure:
    """Gap in accuracy of easy and of hard patients, by method, with floor and ceiling."""
    chosen = results[
        (results["measure"] == "accuracy")
        & (results["quantity"] == "gap")
        & (results["forget_size"] == forget_size)
        & (results["composition"] == "random")
        & results["group"].isin(["easy", "hard"])
    ]
    named = [m for m in (FLOOR, NOTHING, *methods) if m in set(chosen["method"])]
    parts = ("forget", "test")
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 0.9 + 0.36 * len(named)), sharey=True, layout="constrained"
    )
    for axis, part in zip(axes, parts, strict=True):
        axis.axvspan(-margins[part], margins[part], color=BAND, zorder=0, linewidth=0)
        axis.axvline(0, color="black", linewidth=0.8)
        for group, offset in (("easy", -0.15), ("hard", 0.15)):
            rows = chosen[(chosen["group"] == group) & (chosen["partition"] == part)]
            rows = rows[rows["method"].isin(named)]
            places = [named.index(method) + offset for method in rows["method"]]
            spread = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
            style = {"fmt": "o" if group == "easy" else "s", "color": STRATUM_COLOURS[group]}
            axis.errorbar(
                rows["estimate"], places, xerr=spread, markersize=5, capsize=2, label=group, **style
            )
        values = chosen.loc[chosen["partition"] == part, "estimate"]
        limit(axis.set_xlim, [*values, -2 * margins[part], 2 * margins[part]], room=0.4)
        axis.set(title=PART_TITLES[part], xlabel="gap (points)")
        axis.grid(axis="y", visible=False)
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes[0].set_yticks(range(len(named)), [label_of(method) for method in named])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def plot_relearning(relearning: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Accuracy on the forget set while training goes on without it, mean over patients and seeds.

    Args:
        relearning: As from ``Tables.relearning``: ``step``, ``patient``, ``accuracy``, and the
            models' columns.
        methods: In the order of the legend.
    """
    named = relearning.assign(
        who=np.where(
            relearning["role"] == "unlearned",
            relearning["method"],
            np.where(relearning["oracle_set"] == "A", "retrain", FLOOR),
        )
    )
    means = named.pivot_table(index="who", columns="step", values="accuracy")
    figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
    for who in ("retrain", FLOOR, NOTHING, *methods):
        if who in means.index:
            style = style_of(who)
            width = 2.2 if who in {"retrain", NOTHING} else 1.2
            axis.plot(means.columns, means.loc[who], label=label_of(who), linewidth=width, **style)
    axis.set(xlabel="steps on the retain set", ylabel="accuracy on the forget set")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(loc="outside right upper")
    return figure
