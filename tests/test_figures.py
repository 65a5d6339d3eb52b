"""Figures: nothing hidden, nothing cut without a sign, and a text for those who see none."""

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.yardsticks import FLOOR
from medunlearn.figures import plot_costs, plot_estimates, plot_trade_off
from medunlearn.figures.style import BAND, GROUP_STYLES, contrast, style_of
from medunlearn.methods import METHOD_NAMES

ROWS = pd.DataFrame(
    {
        "method": ["salun", "scrub", "finetune"], "estimate": [0.0, -0.02, 0.01],
        "low": [-0.01, -0.03, -0.4], "high": [0.01, -0.01, 0.42], "margin": 0.03,
        "verdict": "equivalent", "reading": "equivalent",
    }
)  # fmt: skip


def draw(rows, **options):
    (figure,) = plot_estimates({"test set": rows}, axis_title="gap (points)", **options)
    return figure.axes[0]


@pytest.mark.parametrize("behind", ["#ffffff", BAND])
def test_every_marker_stands_out(behind):
    styles = [style_of(method) for method in (*METHOD_NAMES, FLOOR)]
    for style in (*styles, *GROUP_STYLES.values()):
        assert contrast(style["color"], behind) >= 3, style


def test_an_interval_that_the_frame_cuts_ends_in_an_arrow():
    axis = draw(ROWS)
    left, right = axis.get_xlim()
    assert right < 42
    arrows = {line.get_marker(): line.get_xdata()[0] for line in axis.lines}
    assert arrows["<"] == left
    assert arrows[">"] == right


def test_an_interval_beyond_what_is_possible_is_not_drawn():
    axis = draw(ROWS.assign(low=[-0.01, -0.03, -2.8], high=[0.01, -0.01, 2.8]))
    assert "<" not in {line.get_marker() for line in axis.lines}


def test_verdicts_stand_beside_their_lines_unless_nothing_was_tested():
    assert [text.get_text() for text in draw(ROWS).texts] == ["equivalent"] * 3
    assert not draw(ROWS.assign(verdict="not tested")).texts


def test_lines_of_a_method_stand_together_with_their_seeds_and_exploratory_ones_are_hollow():
    rows = ROWS.assign(size=0.1, confirmatory=False)
    rows = pd.concat([rows, rows.iloc[:1].assign(size=0.2, estimate=0.05, confirmatory=True)])
    single = {"test set": rows.assign(gap=rows["estimate"])}
    axis = draw(rows, by="size", seeds=single)
    assert [text.get_text() for text in axis.get_yticklabels()] == ["SalUn", "SCRUB", "fine-tuning"]
    own = [line for line in axis.lines if line.get_marker() == style_of("salun")["marker"]]
    (first, hollow), (second, full) = [(line.get_ydata()[0], line.get_mfc()) for line in own]
    assert (hollow, full) == ("white", style_of("salun")["color"])
    assert second == first + 1
    points = [line for line in axis.lines if line.get_marker() == "."]
    assert sorted(points[1].get_ydata()) == [first, second]  # by name: finetune, salun, scrub


def test_privacy_against_utility_names_its_points_and_its_corners():
    figure = plot_trade_off(ROWS, ROWS, (0.03, 0.05))
    told = {text.get_text() for text in figure.axes[0].texts}
    assert {"SalUn", "SCRUB", "fine-tuning", "accurate but still recognisable"} <= told
    assert "SCRUB: accuracy -2.0, attack -2.0" in figure.get_label()


def test_a_model_that_has_diverged_leaves_the_others_in_the_figure():
    rows = ROWS.assign(estimate=[0.0, np.nan, 0.01])
    told = {text.get_text() for text in plot_trade_off(rows, ROWS, (0.03, 0.05)).axes[0].texts}
    assert "SCRUB" not in told
    assert "SalUn" in told


def test_costs_are_bars_from_the_cheapest_at_the_top():
    ratios = pd.DataFrame({"method": ["salun", "scrub"] * 2, "ratio": [0.3, 0.1, 0.5, 0.1]})
    (axis,) = plot_costs(ratios).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["SalUn", "SCRUB"]
    assert [bar.get_width() for bar in axis.patches] == [0.4, 0.1]
    (repeats,) = (line for line in axis.lines if line.get_marker() == "|")
    assert repeats.get_xdata().tolist() == [0.3, 0.1, 0.5, 0.1]
