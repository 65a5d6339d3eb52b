"""Every figure of the study, in one style."""

from medunlearn.figures.estimates import plot_estimates
from medunlearn.figures.style import (
    BAND,
    display_figure,
    label_of,
    new_figure,
    show_figure,
    use_style,
)
from medunlearn.figures.trade_offs import plot_costs, plot_trade_off

__all__ = [
    "BAND", "display_figure", "label_of", "new_figure", "plot_costs", "plot_estimates",
    "plot_trade_off", "show_figure", "use_style",
]  # fmt: skip
