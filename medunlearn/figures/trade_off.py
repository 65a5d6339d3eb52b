"""Privacy against utility: what an attack finds, and what unlearning cost the others."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medunlearn.figures.style import label_of, limit, style_of


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
        style = style_of(row["method"])
        axis.errorbar(
            x,
            y,
            xerr=[[x - row["low_utility"]], [row["high_utility"] - x]],
            yerr=[[y - row["low_privacy"]], [row["high_privacy"] - y]],
            fmt=style["marker"],
            color=style["color"],
            elinewidth=0.7,
            markersize=8,
            label=label_of(row["method"]),
        )
    for set_limits, side in ((axis.set_xlim, "utility"), (axis.set_ylim, "privacy")):
        estimates = both[f"estimate_{side}"].to_numpy(float)
        half = (both[f"high_{side}"] - both[f"low_{side}"]).to_numpy(float) / 2
        usual = np.nanmedian(half) if np.isfinite(half).any() else 0.0
        ends = [0.0, *(estimates - usual), *(estimates + usual)]
        limit(set_limits, [end for end in ends if np.isfinite(end)], room=0.05)
    axis.annotate("as retrained", (0, 0), (6, 6), textcoords="offset points", size=9)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axis.set(xlabel="gap on the test set (points of accuracy)", ylabel=f"{attack}: excess AUC")
    if np.isfinite(both["estimate_privacy"]).any():
        figure.legend(loc="outside right upper")
    return figure
