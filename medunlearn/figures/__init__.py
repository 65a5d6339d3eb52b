"""Every figure of the study, in one style."""

from medunlearn.figures.cohort import plot_difficulty, plot_examples
from medunlearn.figures.costs import plot_costs, plot_trials, plot_tuning_costs
from medunlearn.figures.error_rates import plot_error_rates, plot_power, plot_verdicts
from medunlearn.figures.estimates import choose_panels, plot_estimates, plot_shares
from medunlearn.figures.style import (
    display_figure,
    label_of,
    new_figure,
    save_figure,
    show_figure,
    show_figures,
    use_style,
)
from medunlearn.figures.trade_off import plot_trade_off

__all__ = [
    "choose_panels", "display_figure", "label_of", "new_figure", "plot_costs", "plot_difficulty",
    "plot_error_rates", "plot_estimates", "plot_examples", "plot_power", "plot_shares",
    "plot_trade_off", "plot_trials", "plot_tuning_costs", "plot_verdicts",
    "save_figure", "show_figure", "show_figures", "use_style",
]  # fmt: skip
