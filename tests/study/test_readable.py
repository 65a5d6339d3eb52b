"""Tables for reading."""

import numpy as np
import pandas as pd
import pytest

from medunlearn.study import readable
from medunlearn.study.summary import control_line
from tests.study.test_wording import GAP, judged


def test_points_show_limits_only_where_there_are_some():
    row = {"estimate": -0.0123, "low": -0.02, "high": 0.001}
    assert readable.points(row) == "-1.2 (-2.0 to +0.1)"
    assert readable.points(row | {"low": np.nan, "high": np.nan}) == "-1.2"


def test_a_fold_of_verdicts_shows_both_tests():
    rows = judged(("salun", -0.08, 0.02, {}))
    table = readable.verdict_table(rows.assign(reading=rows["verdict"], settled_by=""))
    assert list(table.index) == ["SalUn"]
    folded = readable.folds({"A < B": table})
    assert folded.startswith("<details><summary>A &lt; B</summary>")
    for cell in ("-8.0 (-12.2 to -3.8)", "3", "0.0007", "0.99", "different"):
        assert f"<td>{cell}</td>" in folded


def test_a_wide_table_has_a_line_a_method_and_readable_names():
    rows = pd.DataFrame(
        {
            "method": ["salun", "salun", "floor"], "audit": ["rmia", "equal_decisions", "rmia"],
            "estimate": [0.1, 0.2, 0.0], "low": np.nan, "high": np.nan,
        }
    )  # fmt: skip
    table = readable.wide(rows, "audit")
    assert table.loc["SalUn"].to_list() == ["+10.0", "+20.0"]
    assert list(table) == ["membership (RMIA)", "equal decisions"]
    assert table.iloc[1, 1] == "-"


def test_the_matrix_tells_each_verdict_by_symbol_and_word_and_not_by_colour_alone():
    refused = {"refused": "unbalanced"}
    rows = judged(
        ("salun", 0.0, 0.005, {}), ("scrub", -0.08, 0.01, {}), ("scrub", 0, 0.05, GAP),
        ("salun", 0.01, 0.05, GAP | refused),
    )  # fmt: skip
    matrix = readable.verdict_matrix(rows)
    for told in (
        "<b>=</b> equivalent",
        "<b>≠</b> different: women lower",
        "<b>?</b> inconclusive",
        '<td class="not-tested" data-label="test set"><small>+1.0</small>',
    ):
        assert told in matrix
    assert matrix.count('scope="row"') == 2
    # on a narrow screen a cell stands without its column
    assert 'data-label="women and men, test set"' in matrix
    plain = readable.by_method(rows, readable.plain_cell)
    assert plain["SCRUB"]["C2: women and men, test set"].endswith("different: women lower")
    assert plain["SalUn"]["C3: test set"] == "+1.0 (-9.4 to +11.4)"


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["passed", "uninformative"], "1 of 2 controls passed, 1 cannot tell; failed: none."),
        (["passed", "passed"], "2 of 2 controls passed; failed: none."),
        (["passed", "failed"], "1 of 2 controls passed; failed: second."),
    ],
)
def test_controls_are_told_in_a_line(states, said):
    controls = pd.DataFrame({"control": ["first", "second"], "state": states})
    assert control_line(controls) == said
