"""Figures of simulated studies: error rates, verdicts, and what margin can be reached."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from medunlearn.figures.style import BAND, new_figure
from medunlearn.statistics.error_rates import ALPHA, ANALYSES, OURS, false_verdicts
from medunlearn.statistics.verdicts import DIFFERENT, EQUIVALENT, INCONCLUSIVE, NEGLIGIBLE

ANALYSIS_TITLES = {
    OURS: "patients and seeds\n(this study)",
    "images": "images",
    "seeds": "seeds only",
    "patients": "patients only",
}
COLOURS = sns.color_palette("colorblind")
VERDICT_COLOURS = {
    EQUIVALENT: COLOURS[2],
    NEGLIGIBLE: COLOURS[9],
    INCONCLUSIVE: "#d0d0d0",
    DIFFERENT: COLOURS[3],
}
SPREAD_MARKERS = ("o", "X")


def plot_error_rates(rates: pd.DataFrame) -> Figure:
    """False verdicts and coverage by unit of analysis, every cell of the grid a point.

    Args:
        rates: As from ``error_rates``.
    """
    false = false_verdicts(rates)
    shown = (
        (false[false["false"] == DIFFERENT], "rate", "called different,\nthough there is nothing"),
        (false[false["false"] == EQUIVALENT], "rate", "called equivalent,\nthough at the margin"),
        (rates, "coverage", "true value inside\nthe 95 % interval"),
    )
    text = "False verdicts and coverage of the study's own and of three other analyses."
    figure, axes = new_figure(text, 3, width=10, height=4.6, sharey=True)
    for axis, (rows, column, title) in zip(axes, shown, strict=True):
        wanted = 1 - ALPHA if column == "coverage" else ALPHA
        error = 2 * (ALPHA * (1 - ALPHA) / rows["replicates"].min()) ** 0.5
        axis.axvspan(wanted - error, wanted + error, color=BAND, zorder=0, linewidth=0)
        axis.axvline(wanted, color="black", linewidth=0.8)
        _scatter_cells(axis, rows, column)
        axis.set_title(title)
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axis.set_xlabel("share of simulated studies (%)")
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(ANALYSES)), [ANALYSIS_TITLES[name] for name in ANALYSES])
    axes[0].invert_yaxis()
    axes[0].set_ylabel("taken for independent")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def plot_verdicts(rates: pd.DataFrame) -> Figure:
    """Shares of the verdicts by true contrast, seeds and patients, by the study's own analysis.

    Args:
        rates: As from ``error_rates``, of one setting of spreads and images.
    """
    ours = rates[rates["analysis"] == OURS].sort_values(["patients", "seeds"], kind="stable")
    truths = sorted(ours["contrast"].unique())
    text = "Shares of the verdicts by true contrast, number of patients and number of seeds."
    figure, axes = new_figure(text, len(truths), width=10, height=3.4, sharey=True)
    for axis, truth in zip(axes, truths, strict=True):
        rows = ours[ours["contrast"] == truth]
        names = [f"{n:,} patients, {s} seeds" for n, s in rows[["patients", "seeds"]].to_numpy()]
        shares = rows[list(VERDICT_COLOURS)].set_axis(names)
        look = {"stacked": True, "width": 0.8, "legend": False}
        shares.plot.barh(ax=axis, color=VERDICT_COLOURS, **look)
        axis.set(title=f"true contrast {100 * truth:g} points", xlim=(0, 1))
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axis.set_xlabel("share of simulated studies (%)")
        axis.grid(visible=False)
    axes[0].invert_yaxis()
    handles = [Patch(color=colour, label=name) for name, colour in VERDICT_COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def plot_power(power: pd.DataFrame, margin: float) -> Figure:
    """Smallest margin reached by patients and seeds: simulated (points) and by formula (lines).

    Args:
        power: As from ``power_curve``, with a column ``design`` that names the panels.
        margin: The study's, drawn as a band.
    """
    designs = list(dict.fromkeys(power["design"]))
    text = "Smallest margin reached, by patients and seeds; more of either make it smaller."
    figure, axes = new_figure(text, len(designs), height=3.8, sharey=True)
    for axis, design in zip(axes, designs, strict=True):
        axis.axhspan(0, margin, color=BAND, zorder=0, linewidth=0)
        for rank, (seeds, rows) in enumerate(power[power["design"] == design].groupby("seeds")):
            spread = [rows["margin"] - rows["low"], rows["high"] - rows["margin"]]
            style = {"color": COLOURS[rank], "marker": "osD"[rank % 3], "markersize": 5}
            at = rows["patients"] * 1.04 ** (rank - 1)  # beside each other
            label = f"{seeds} seeds"
            axis.errorbar(at, rows["margin"], spread, linestyle="", capsize=2, label=label, **style)
            axis.plot(rows["patients"], rows["formula"], color=COLOURS[rank], linewidth=1)
        axis.set(xscale="log", title=design, xlabel="patients of both sexes")
        axis.xaxis.set_major_locator(FixedLocator(sorted(power["patients"].unique())))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter("{x:,.0f}")
    finite = power["high"].replace(np.inf, np.nan)
    axes[0].set_ylim(0, 1.05 * np.nanmax([finite.max(), margin]))
    axes[0].set_ylabel("margin reached in 80 % (points)")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    handles, _ = axes[0].get_legend_handles_labels()
    handles.append(Patch(color=BAND, label="margin of this study, or less"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _scatter_cells(axis: Axes, rows: pd.DataFrame, column: str) -> None:
    """One strip a unit; colour is the seed x sex spread, marker the patient spread."""
    height = np.array([ANALYSES.index(name) for name in rows["analysis"]], dtype=float)
    # beside each other without chance: the same table draws the same figure
    height += ((np.arange(len(rows)) * 0.618) % 1 - 0.5) * 0.6
    drifts, spreads = sorted(rows["seed_sex_sd"].unique()), sorted(rows["patient_sd"].unique())
    for spread, marker in zip(spreads, SPREAD_MARKERS, strict=False):
        for rank, drift in enumerate(drifts):
            inside = ((rows["seed_sex_sd"] == drift) & (rows["patient_sd"] == spread)).to_numpy()
            label = f"seed x sex SD {100 * drift:g}, patient SD {100 * spread:g} points"
            style = {"color": COLOURS[rank], "marker": marker, "linestyle": "", "label": label}
            axis.plot(rows.loc[inside, column], height[inside], markersize=4, alpha=0.6, **style)
