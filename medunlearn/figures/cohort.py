"""Who is in the study, and how difficult they are."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medunlearn.cohort.build import Cohort
from medunlearn.figures.style import GROUP_STYLES, SEX_NAMES, new_figure


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
