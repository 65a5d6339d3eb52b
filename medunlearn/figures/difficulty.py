"""How difficulty relates to what is memorised, and how fast a forget set returns."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medunlearn.evaluation.measurements import FLOOR, NOTHING, RETRAINED
from medunlearn.figures.style import GROUP_STYLES, label_of, new_figure, style_of


def plot_difficulty(difficulty: pd.DataFrame, cohort: pd.DataFrame) -> Figure:
    """What seeing a patient adds to confidence, and confidence on the test set by stratum."""
    table = cohort.merge(difficulty, on="sample")
    text = "Left: memorisation by tenths of confidence. Right: confidence on the test set."
    figure, (left, right) = new_figure(text, 2, height=3.2)
    train = table.dropna(subset="memorisation")
    train = train.assign(tenth=pd.qcut(train["confidence_out"], 10, labels=False))
    means = train.groupby("tenth")[["confidence_out", "memorisation"]].mean()
    left.plot(means["confidence_out"], 100 * means["memorisation"], "ko-", markersize=5)
    left.set(
        xlabel="confidence unseen (log odds), tenths",
        ylabel="right if seen - unseen (points)",
        title="training images: memorised",
    )
    bins = np.histogram_bin_edges(table["confidence_out"], 40).tolist()
    for stratum in ("easy", "medium", "hard"):
        inside = (table["stratum"] == stratum) & (table["partition"] == "test")
        colour = GROUP_STYLES[stratum]["color"]
        right.hist(
            table.loc[inside, "confidence_out"], bins, color=colour, alpha=0.7, label=stratum
        )
    right.set(xlabel="confidence (log odds)", ylabel="images", title="test set, by stratum")
    right.legend()
    return figure


def plot_relearning(relearning: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Accuracy on the forget set while training goes on without it, mean over patients and seeds.

    Args:
        relearning: As from ``Tables.relearning``: ``step``, ``patient``, ``accuracy``, and the
            models' columns.
        methods: In the order of the legend.
    """
    retrained = np.where(relearning["oracle_set"] == "A", RETRAINED, FLOOR)
    who = relearning["method"].where(relearning["role"] == "unlearned", retrained)
    means = relearning.pivot_table("accuracy", index=who.rename("who"), columns="step")
    text = "Accuracy on the forget set by steps of further training on the retain set."
    figure, (axis,) = new_figure(text, height=3.6)
    for name in (RETRAINED, FLOOR, NOTHING, *methods):
        if name in means.index:
            width = 2.2 if name in {RETRAINED, NOTHING} else 1.2
            look = {"label": label_of(name), "linewidth": width, **style_of(name)}
            axis.plot(means.columns, means.loc[name], **look)
    axis.set(xlabel="steps on the retain set", ylabel="accuracy on the forget set (%)")
    axis.set_xticks(means.columns.to_list())
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    figure.legend(loc="outside right upper")
    return figure
