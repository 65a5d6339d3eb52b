"""Who is in the study."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from medunlearn.cohort.build import Cohort
from medunlearn.figures.style import SEX_NAMES


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
    plt.close(figure)  # shown by who asked for it, and not once more at the end of the cell
    return figure
