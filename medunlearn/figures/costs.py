"""What unlearning costs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medunlearn.figures.style import (
    label_sizes,
    legend,
    style_of,
)


def plot_costs(ratios: pd.DataFrame) -> Figure:
    """Cost of each method as a ratio to one retraining, by forget size, every repeat a point."""
    methods, sizes = list(dict.fromkeys(ratios["method"])), sorted(set(ratios["forget_size"]))
    figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for rank, method in enumerate(methods):
        offset = (rank - (len(methods) - 1) / 2) * 0.8 / len(methods)
        rows = ratios[ratios["method"] == method]
        at = np.array([sizes.index(size) for size in rows["forget_size"]]) + offset
        axis.plot(at, rows["ratio"], **style_of(method), linestyle="", markersize=5, alpha=0.8)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.annotate("one retraining", (len(sizes) - 0.5, 1), ha="right", va="bottom", size=9)
    axis.set_ylim(0, max(1.15, 1.1 * ratios["ratio"].max()))
    label_sizes(axis, ratios)
    axis.set(xlabel="forget size, share of training patients", ylabel="seconds / retraining")
    legend(figure, methods)
    return figure
