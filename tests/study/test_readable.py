"""Tables for reading."""

import numpy as np
import pandas as pd
import pytest

from medunlearn.study import readable
from tests.study.test_wording import GAP, judged


def test_points_show_limits_only_where_there_are_some():
    row = {"estimate": -0.0123, "low": -0.02, "high": 0.001}
    assert readable.points(row) == "-1.2 (-2.0 to +0.1)"
    assert readable.points(row | {"low": np.nan, "high": np.nan}) == "-1.2"


def test_the_table_of_verdicts_shows_both_tests():
    table = readable.verdict_table(judged(("salun", -0.08, 0.01, {})))
    assert list(table.index) == ["SalUn"]
    row = table.iloc[0]
    assert row["p different"] == "<0.001"
    assert float(row["p equivalent"]) > 0.9
    assert row["verdict"] == "different"


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
    matrix = readable.verdict_matrix(
        judged(("salun", 0.0, 0.005, {}), ("scrub", -0.08, 0.01, {}), ("scrub", 0, 0.05, GAP))
    )
    for told in (
        "<b>=</b> equivalent",
        "<b>≠</b> different: women lose more",
        "<b>?</b> inconclusive",
    ):
        assert told in matrix
    assert matrix.count('scope="row"') == 2
    # on a narrow screen a cell stands without its column
    assert 'data-label="women and men, test set"' in matrix


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["passed", "uninformative"], "1 of 2 controls passed and none failed"),
        (["passed", "passed"], "All 2 controls passed."),
        (["passed", "failed"], "1 of 2 controls failed: second."),
    ],
)
def test_controls_are_told_in_a_line(states, said):
    controls = pd.DataFrame({"control": ["first", "second"], "state": states})
    assert readable.control_line(controls).startswith(said)


def test_a_fold_holds_its_tables():
    folded = readable.folds({"A < B": pd.DataFrame({"x": [1]})})
    assert folded.startswith("<details><summary>A &lt; B</summary>")
    assert "<table" in folded
