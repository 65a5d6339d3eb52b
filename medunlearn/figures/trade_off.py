"""Privacy against utility: what an attack finds, and what unlearning cost the others."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medunlearn.figures.style import label_of, style_of


def plot_trade_off(privacy: pd.DataFrame, utility: pd.DataFrame, attack: str) -> Figure:
    """Excess of an attack over retraining against the gap on the test set, one point a method.

    Args:
        privacy: ``method``, ``estimate``, ``low``, ``high``: difference from retraining in AUC.
        utility: The same of the gap in accuracy on the test set.
        attack: Name of the attack, for the axis.
    """
    both = privacy.merge(utility, on="method", suffixes=("_privacy", "_utility"))
    figure, axis = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.axvline(0, color="black", linewidth=0.8)
    for row in both.to_dict("records"):
        x, y = row["estimate_utility"], row["estimate_privacy"]
        spread = {
            "xerr": [[x - row["low_utility"]], [row["high_utility"] - x]],
            "yerr": [[y - row["low_privacy"]], [row["high_privacy"] - y]],
        }
        style = style_of(row["method"])
        drawn = {"fmt": style["marker"], "color": style["color"], "elinewidth": 0.7}
        axis.errorbar(x, y, markersize=8, label=label_of(row["method"]), **spread, **drawn)
    axis.annotate("as retrained", (0, 0), (6, 6), textcoords="offset points", size=9)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axis.set(xlabel="gap on the test set (points of accuracy)", ylabel=f"{attack}: excess AUC")
    if np.isfinite(both["estimate_privacy"]).any():
        figure.legend(loc="outside right upper")
    return figure
