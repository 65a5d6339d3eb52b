"""Privacy against utility: what an attack finds, and what unlearning cost the others."""

import pandas as pd
from matplotlib.figure import Figure

from medunlearn.figures.estimates import describe, ends_of
from medunlearn.figures.style import frame, label_of, new_figure, style_of


def plot_trade_off(privacy: pd.DataFrame, utility: pd.DataFrame, attack: str) -> Figure:
    """Excess of an attack over retraining against the gap on the test set, one point a method.

    Args:
        privacy: ``method``, ``estimate``, ``low``, ``high``: difference from retraining in AUC.
        utility: The same of the gap in accuracy on the test set.
        attack: Name of the attack, for the axis.
    """
    titles = ["gap on the test set (points of accuracy)", f"{attack}: excess AUC (points)"]
    text = describe(dict(zip(titles, (utility, privacy), strict=True)), "Privacy against utility")
    figure, (axis,) = new_figure(text, width=7.5, height=4.4)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.axvline(0, color="black", linewidth=0.8)
    across, up = (
        100 * rows.set_index("method")[["estimate", "low", "high"]] for rows in (utility, privacy)
    )
    for method in up.index.intersection(across.index, sort=False):
        (x, *xs), (y, *ys) = across.loc[method], up.loc[method]
        spread = {"xerr": [[x - xs[0]], [xs[1] - x]], "yerr": [[y - ys[0]], [ys[1] - y]]}
        shape = {"linestyle": "", "elinewidth": 0.7, "markersize": 8, "label": label_of(method)}
        axis.errorbar(x, y, **spread, **shape, **style_of(method))  # type: ignore[arg-type]
    axis.set_xlim(frame([0.0, *ends_of(across)], 0.05))
    axis.set_ylim(frame([0.0, *ends_of(up)], 0.05))
    axis.annotate("as retrained", (0, 0), (6, 6), textcoords="offset points", size=9)
    axis.set(xlabel=titles[0], ylabel=titles[1])
    if up["estimate"].notna().any():
        figure.legend(loc="outside right upper")
    return figure
