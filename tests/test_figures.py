"""Figures: nothing hidden, nothing cut without a sign, and a text for those who see none."""

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.yardsticks import FLOOR
from medunlearn.figures import plot_costs, plot_estimates, plot_shares, plot_trade_off
from medunlearn.figures.style import BAND, GROUP_STYLES, contrast, style_of
from medunlearn.methods import METHOD_NAMES

ROWS = pd.DataFrame(
    {
        "method": ["salun", "scrub", "finetune"], "estimate": [0.0, -0.02, 0.01],
        "low": [-0.01, -0.03, -0.4], "high": [0.01, -0.01, 0.42], "margin": 0.03,
        "verdict": "equivalent",
    }
)  # fmt: skip


@pytest.fixture
def panel():
    (figure,) = plot_estimates({"test set": ROWS}, axis_title="gap (points)")
    return figure


@pytest.mark.parametrize("behind", ["#ffffff", BAND])
def test_every_marker_stands_out(behind):
    styles = [style_of(method) for method in (*METHOD_NAMES, FLOOR)]
    for style in (*styles, *GROUP_STYLES.values()):
        assert contrast(style["color"], behind) >= 3, style


def test_an_interval_that_the_frame_cuts_ends_in_an_arrow(panel):
    (axis,) = panel.axes
    left, right = axis.get_xlim()
    assert right < 42
    arrows = {line.get_marker(): line.get_xdata()[0] for line in axis.lines}
    assert arrows["<"] == left
    assert arrows[">"] == right


def test_an_interval_beyond_what_is_possible_is_not_drawn():
    rows = ROWS.assign(low=[-0.01, -0.03, -2.8], high=[0.01, -0.01, 2.8])
    (figure,) = plot_estimates({"test set": rows}, axis_title="gap (points)")
    assert "<" not in {line.get_marker() for line in figure.axes[0].lines}


def test_verdicts_stand_beside_their_lines_unless_nothing_was_tested(panel):
    told = [text.get_text() for text in panel.axes[0].texts]
    assert told == ["equivalent"] * 3
    silent = {"test set": ROWS.assign(verdict="not tested")}
    (figure,) = plot_estimates(silent, axis_title="gap (points)")
    assert not figure.axes[0].texts


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


def test_shares_of_the_variance_fill_their_bars():
    rows = ROWS.assign(
        claim="C2", contrast="F - M", partition="test", measure="accuracy",
        share_seed=0.5, share_patient=0.3, share_residual=0.2,
    )  # fmt: skip
    (axis,) = plot_shares(rows).axes
    assert sum(bar.get_width() for bar in axis.patches) == pytest.approx(100)
