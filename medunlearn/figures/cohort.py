"""Who is in the study, how difficult they are, and how fast they are learnt again."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medunlearn.cohort.build import Cohort
from medunlearn.evaluation.measurements import FLOOR, NOTHING, RETRAINED
from medunlearn.figures.style import GROUP_STYLES, SEX_NAMES, label_of, new_figure, style_of


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
    figure.set_label("Images of women and of men, one row for each class and sex.")
    plt.close(figure)
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
    figure, (axis,) = new_figure(text, width=7.2, height=4)
    for name in (RETRAINED, FLOOR, NOTHING, *methods):
        if name in means.index:
            width = 2.2 if name in {RETRAINED, NOTHING} else 1.2
            look = {"label": label_of(name), "linewidth": width, **style_of(name)}
            axis.plot(means.columns, means.loc[name], **look)
    axis.set(xlabel="steps on the retain set", ylabel="accuracy on the forget set (%)")
    axis.set_xticks(means.columns.to_list())
    axis.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    figure.legend(loc="outside lower center", ncols=3)
    return figure
