import numpy as np
import pandas as pd
import pytest

from medunlearn.statistics.verdicts import judge
from medunlearn.study import answers

ROW = {
    "claim": "C2", "contrast": "F - M", "partition": "test", "measure": "balanced_accuracy",
    "adjustment": "", "confirmatory": True, "family": "C2", "margin": 0.03, "refused": "",
    "df": 20.0, "low": np.nan, "high": np.nan,
}  # fmt: skip


def judged(*rows):
    """Rows given as (method, estimate, standard error) and what differs from ``ROW``."""
    full = [
        ROW | {"method": method, "estimate": estimate, "standard_error": error} | other
        for method, estimate, error, other in rows
    ]
    return judge(pd.DataFrame(full))


BOTH = ("salun", "scrub")


def both_parts(*rows):
    """The same contrasts on test and forget set."""
    return judged(
        *(
            (method, estimate, error, other | {"partition": part})
            for part in ("test", "forget")
            for method, estimate, error, other in rows
        )
    )


def test_a_claim_of_no_bias_is_made_only_where_every_test_of_equivalence_holds():
    alike = both_parts(("salun", 0.001, 0.005, {}), ("scrub", -0.002, 0.005, {}))
    said = answers.answer_sexes(alike, BOTH)
    assert "none of the 2 confirmatory methods is biased by more than the margins" in said
    assert "**equivalent** 2 of 2" in said
    unsure = both_parts(("salun", 0.001, 0.005, {}), ("scrub", -0.002, 0.02, {}))
    said = answers.answer_sexes(unsure, BOTH)
    assert "that no method is biased is **not shown**" in said
    assert "**inconclusive** 1 of 2: SCRUB" in said
    assert "none of the" not in said


def test_a_confirmatory_method_that_is_missing_leaves_the_claim_unproven():
    alike = both_parts(("salun", 0.001, 0.005, {}))
    said = answers.answer_sexes(alike, BOTH)
    assert "**not shown**" in said
    assert "2 of them are missing" in said


def test_a_method_that_was_not_tested_is_counted_and_named_with_the_reason():
    said = answers.answer_sexes(
        both_parts(
            ("salun", 0.001, 0.005, {}),
            ("scrub", 0.0, 0.005, {"refused": "unbalanced"}),
            ("finetune", np.nan, np.nan, {}),
        ),
        (*BOTH, "finetune"),
    )
    assert "**equivalent** 1 of 3" in said
    assert "**not tested** 2 of 3: SCRUB, fine-tuning (unbalanced; a model has blown up)" in said
    assert "**not shown**" in said


def test_a_bias_is_told_with_method_direction_and_size():
    said = answers.answer_sexes(
        both_parts(("salun", -0.08, 0.01, {}), ("scrub", 0.0, 0.005, {})), BOTH
    )
    assert "**different** 1 of 2: SalUn -8.0" in said
    assert "some method *is* biased" in said


def test_a_difference_within_the_margin_is_called_negligible_and_proves_no_bias():
    said = answers.answer_sexes(both_parts(("salun", 0.01, 0.002, {})), ["salun"])
    assert "**different but negligible** 1 of 1: SalUn +1.0" in said
    assert "biased by more than the margins" in said


def test_what_was_not_tested_is_said_with_the_reason_and_nothing_else():
    reason = "needs 8 paired seeds, this profile has 2"
    said = answers.answer_sexes(both_parts(("salun", 0.0, 0.001, {"refused": reason})), ["salun"])
    assert f"**not tested** ({reason})" in said
    assert "Together" not in said
    assert "equivalent" not in said


def test_a_cohort_without_sex_skips_the_claim_with_a_sentence():
    nothing = judged(("salun", 0.0, 0.01, {"claim": "C1", "family": "C1"}))
    assert answers.answer_sexes(nothing, BOTH).startswith("C2 is skipped")
    assert answers.answer_difficulty(nothing).startswith("C4 is skipped")
    unnamed = judged(("salun", 0.0, 0.01, {"confirmatory": False}))
    assert "no method named as confirmatory was run" in answers.answer_sexes(unnamed, BOTH)


def test_inconclusive_verdicts_are_told_what_would_change_them():
    table = judged(("salun", 0.0, 0.02, {}), ("scrub", 0.0, 0.03, {}))
    reach = 100 * table["reachable_margin"]
    said = answers.answer_sexes(table, BOTH)
    assert f"margins of {reach.min():.1f} to {reach.max():.1f} points (settled: 3.0)" in said


def test_neither_the_floor_nor_doing_nothing_is_counted_as_a_method():
    rows = [
        (method, -0.05, 0.005, {"claim": "C3", "contrast": "U - R", "confirmatory": False})
        for method in ("original", "floor", "finetune")
    ]
    said = answers.answer_generalisation(judged(*rows))
    assert "**different** 1 of 1: fine-tuning -5.0" in said
    assert "do nothing" not in said


def test_what_retraining_itself_costs_is_told_beside_the_slope():
    slope = {"claim": "C3", "contrast": "slope of U - R", "margin": 0.015}
    own = {"claim": "C3", "contrast": "U - O", "confirmatory": False}
    said = answers.answer_generalisation(
        judged(("salun", -0.02, 0.002, slope), ("retrain", -0.03, 0.002, own))
    )
    assert "SalUn -2.0 per doubling" in said
    assert "retraining itself changes by -3.0" in said


def test_points_show_limits_only_where_there_are_some():
    row = {"estimate": -0.0123, "low": -0.02, "high": 0.001}
    assert answers.points(row) == "-1.2 (-2.0 to +0.1)"
    assert answers.points(row | {"low": np.nan, "high": np.nan}) == "-1.2"


def test_the_table_of_verdicts_shows_both_tests_and_the_reachable_margin():
    table = answers.verdict_table(judged(("salun", -0.08, 0.01, {})))
    assert list(table.index) == ["SalUn"]
    row = table.iloc[0]
    assert row["p different"] == "<0.001"
    assert float(row["p equivalent"]) > 0.9
    assert row["verdict"] == "different"
    assert float(row["reachable"]) == pytest.approx(3.0, abs=0.5)


def test_at_a_glance_each_claim_counts_its_methods_once():
    table = judged(
        ("salun", 0.0, 0.005, {}),
        ("scrub", -0.08, 0.01, {}),
        ("finetune", 0.0, 0.005, {"confirmatory": False, "measure": "accuracy"}),
        ("floor", 0.0, 0.005, {}),
    )
    row = answers.summarise(table).loc["C2 no bias between the sexes, test set (equivalent)"]
    assert row["methods"] == 2
    assert row["equivalent"] == row["different"] == 1
    assert row[["inconclusive", "not tested"]].sum() == 0
