"""Every figure of the study, in one style."""

from medunlearn.figures.cohort import plot_examples
from medunlearn.figures.costs import plot_costs
from medunlearn.figures.difficulty import plot_difficulty, plot_relearning, plot_strata
from medunlearn.figures.error_rates import plot_error_rates, plot_power, plot_verdicts
from medunlearn.figures.forest import plot_forest
from medunlearn.figures.gaps import plot_gaps, plot_levels, plot_sexes
from medunlearn.figures.style import label_of, save_figure, use_style
from medunlearn.figures.trade_off import plot_trade_off
from medunlearn.figures.tuning import plot_trials, plot_tuning_costs

__all__ = [
    "label_of",
    "plot_costs",
    "plot_difficulty",
    "plot_error_rates",
    "plot_examples",
    "plot_forest",
    "plot_gaps",
    "plot_levels",
    "plot_power",
    "plot_relearning",
    "plot_sexes",
    "plot_strata",
    "plot_trade_off",
    "plot_trials",
    "plot_tuning_costs",
    "plot_verdicts",
    "save_figure",
    "use_style",
]
