"""Every figure of the study, in one style."""

from medunlearn.figures.drift import plot_drift
from medunlearn.figures.estimates import choose_panels, plot_difficulty, plot_estimates, plot_shares
from medunlearn.figures.style import (
    BAND,
    display_figure,
    label_of,
    new_figure,
    show_figure,
    show_figures,
    use_style,
)
from medunlearn.figures.trade_offs import plot_costs, plot_trade_off, plot_trials, plot_tuning_costs

__all__ = [
    "BAND", "choose_panels", "display_figure", "label_of", "new_figure", "plot_costs",
    "plot_difficulty", "plot_drift", "plot_estimates", "plot_shares", "plot_trade_off",
    "plot_trials", "plot_tuning_costs", "show_figure", "show_figures", "use_style",
]  # fmt: skip
