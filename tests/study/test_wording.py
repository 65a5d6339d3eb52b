"""Sentences of the report: what is proven is said, and nothing more."""

import numpy as np
import pandas as pd
import pytest

from medunlearn.statistics.verdicts import DIFFERENT, judge
from medunlearn.study import wording
from medunlearn.study.questions import QUESTIONS

ROW = {
    "claim": "C2", "contrast": "F - M", "partition": "test", "measure": "balanced_accuracy",
    "adjustment": "", "confirmatory": True, "family": "C2", "margin": 0.03, "refused": "",
    "df": 20.0, "low": np.nan, "high": np.nan,
}  # fmt: skip
GAP = {"claim": "C3", "contrast": "U - R", "measure": "accuracy", "family": "C3"}
ATTACK = {
    "claim": "audits", "audit": "rmia", "against": "retrained", "group": "all", "family": "audits",
}  # fmt: skip


def judged(*rows):
    """Rows given as (method, estimate, standard error) and what differs from ``ROW``."""
    full = [
        ROW | {"method": method, "estimate": estimate, "standard_error": error} | other
        for method, estimate, error, other in rows
    ]
    return judge(pd.DataFrame(full))


BOTH = ("salun", "scrub")
TOGETHER = "no confirmatory method is biased by more than the margin"


def test_a_claim_of_no_bias_is_made_only_where_every_test_of_equivalence_holds():
    said = wording.answer(
        "C2", judged(("salun", 0.001, 0.005, {}), ("scrub", -0.002, 0.005, {})), BOTH
    )
    assert TOGETHER in said
    assert "supported for 2 of 2 confirmatory methods" in said
    said = wording.answer(
        "C2", judged(("salun", 0.001, 0.005, {}), ("scrub", -0.002, 0.02, {})), BOTH
    )
    assert TOGETHER not in said
    assert "is not shown" in said
    assert "*Inconclusive*: SCRUB." in said


def test_a_confirmatory_method_that_is_missing_leaves_the_claim_unproven():
    said = wording.answer("C2", judged(("salun", 0.001, 0.005, {})), BOTH)
    assert TOGETHER not in said
    assert "SCRUB is missing" in said


def test_a_method_that_was_not_tested_is_named_with_the_reason():
    rows = judged(
        ("salun", 0.001, 0.005, {}),
        ("scrub", 0.0, 0.005, {"refused": "unbalanced"}),
        ("finetune", np.nan, np.nan, {}),
    )
    said = wording.answer("C2", rows, (*BOTH, "finetune"))
    assert "supported for 1 of 3" in said
    assert "*Not tested*: SCRUB and fine-tuning (unbalanced; a model has diverged)." in said
    assert TOGETHER not in said


def test_a_bias_is_told_with_the_method():
    rows = judged(("salun", -0.08, 0.01, {}), ("scrub", 0.0, 0.005, {}))
    said = wording.answer("C2", rows, BOTH)
    assert "*Different*: SalUn." in said
    assert "women lose more than men with 1 of 2 methods (SalUn);" in wording.say_sexes(rows)


def test_a_difference_within_the_margin_is_called_negligible_and_proves_no_bias():
    said = wording.answer("C2", judged(("salun", 0.01, 0.002, {})), ["salun"])
    assert "*Different but negligible*: SalUn." in said
    assert TOGETHER in said


def test_a_reading_stands_in_place_of_its_verdict():
    rows = judged(("salun", -0.05, 0.03, {})).assign(reading="suggests harm, not confirmed")
    assert "*Suggests harm, not confirmed*: SalUn." in wording.answer("C2", rows)


def test_what_was_not_tested_is_said_with_the_reason_and_nothing_else():
    reason = "needs 8 paired seeds, this profile has 2"
    silent = ("salun", 0.0, 0.001, {"refused": reason})
    said = wording.answer("C2", judged(silent, ("scrub", 0.0, 0.01, GAP)), ["salun"])
    assert f"Not tested: {reason}." in said
    assert "quivalent" not in said
    # of a demonstration the banner says so, once
    assert wording.answer("C2", judged(silent)) == ""


def test_a_question_without_rows_is_said_to_be_unanswered():
    nothing = judged(("salun", 0.0, 0.01, {"claim": "C1", "family": "C1"}))
    assert "was not measured" in wording.answer("C2", nothing, BOTH)
    assert "not compared" in wording.say_sexes(nothing)


def test_what_is_open_is_told_with_the_margin_that_the_study_could_settle():
    table = judged(("salun", 0.0, 0.02, {}), ("scrub", 0.0, 0.03, {}))
    reach = 100 * table["reachable_margin"].max()
    assert f"margin is 3.0 points; a study of this size can settle {reach:.1f}" in wording.answer(
        "C2", table
    )
    near = judged(("salun", 0.025, 0.004, {"margin": 0.03, "df": 200}))
    near = near.assign(verdict="inconclusive")
    assert "too near the margin" in wording.answer("C2", near)


def test_a_profile_may_name_no_confirmatory_method():
    assert wording.names_of([]) == "none"
    assert wording.names_of(["salun"]) == "SalUn"


def test_neither_the_floor_nor_doing_nothing_is_counted_as_a_method():
    rows = judged(*((m, -0.05, 0.005, GAP) for m in ("original", "floor", "finetune")))
    assert "after retraining with 1 of 1 methods (fine-tuning);" in wording.say(
        rows, "gap", "slope"
    )


def test_a_study_in_a_sentence_counts_what_is_worse():
    rows = [*((m, 0.2, 0.01, ATTACK) for m in BOTH), ("salun", -0.08, 0.01, GAP)]
    assert wording.say_short(judged(*rows, ("scrub", 0.0, 0.1, GAP))) == (
        "of 2 methods, forgotten patients stay easier to recognise with 2, accuracy falls with "
        "1 (1 open), and forgotten women lose more than men with none"
    )


def test_a_gain_is_no_loss():
    rows = judged(("salun", 0.08, 0.01, GAP), ("scrub", -0.08, 0.01, GAP))
    assert "with 1 of 2 methods (SCRUB), higher with 1 (SalUn);" in wording.say(
        rows, "gap", "slope"
    )
    assert "supported for 1 of 2" in wording.answer("C3", rows)


def test_a_patient_who_became_unlikely_is_not_called_recognised():
    rows = judged(("salun", 0.2, 0.01, ATTACK), ("bad_teacher", -0.2, 0.01, ATTACK))
    assert "with 1 of 2 methods (SalUn), harder with 1 (bad" in wording.say(rows, "privacy")


def test_nothing_is_said_to_be_absent_that_was_not_tested_or_not_ruled_out():
    silent = {"refused": "control failed"}
    rows = judged(
        *(("salun", 0.0, 0.001, kind | silent) for kind in ({}, GAP, ATTACK)),
        ("salun", 0.0, 0.001, {"claim": "C4", "contrast": "hard - easy", "family": "C4"}),
    )
    for said in (wording.say(rows, "privacy"), wording.say(rows, "gap"), wording.say_sexes(rows)):
        assert "not tested (control failed)" in said
        assert "none" not in said
    two = judged(("salun", 0.0, 0.005, {}), ("scrub", 0.0, 0.1, {}), ("ssd", 0, 0.01, silent))
    assert wording.say_sexes(two) == (
        "On the test set women lose more than men with none of 2 methods; shown to be alike within "
        "3 points: 1; open: 1; not tested: 1."
    )


def test_women_and_men_of_a_forget_set_are_told_also_where_difficulty_is_not_known():
    forget = {"partition": "forget", "measure": "accuracy"}
    for adjustment in ("label", "label, difficulty"):
        rows = judged(("salun", 0.0, 0.005, forget | {"adjustment": adjustment}))
        answered = wording.answer("C2", rows).split("forget set")[1].splitlines()[0]
        assert "supported for 1 of 1" in answered


@pytest.mark.parametrize(
    ("refused", "fitness", "first"),
    [
        ("", "", "Forgotten patients are easier"),
        ("needs 8 paired seeds, this profile has 2", "", "A demonstration, too small for verdicts"),
        ("", "Models do not remember.", "Models do not remember."),
        ("control failed: dose", "", "Forgotten patients are easier"),
    ],
)
def test_three_lines_begin_with_what_matters_most(refused, fitness, first):
    rows = [(m, -0.05, 0.01, kind | {"refused": refused}) for m in BOTH for kind in ({}, GAP)]
    kept = {"claim": "C1", "partition": "forget", "measure": "accuracy", "refused": refused}
    rows.append(("original", 0.2, 0.01, kept))
    lines = wording.three_lines(judged(*rows), fitness)
    assert len(lines) == 3
    assert lines[0].startswith(first)


def test_networks_that_hardly_learnt_anything_are_told_of_and_others_are_not():
    row = {"measure": "accuracy", "estimate": 0.85, "name": "majority", "baseline": 0.842}
    fitness = pd.DataFrame([row | {"fit": False}, row | {"measure": "auroc", "fit": True}])
    said = "Caution: retrained models reach 85.0 % accuracy, not clearly more than majority"
    assert wording.warn(fitness) == [f"{said} (84.2 %)."]


def test_the_abstract_has_six_sentences():
    rows = judged(*((m, -0.05, 0.01, kind) for m in BOTH for kind in ({}, GAP, ATTACK)))
    said = wording.abstract(rows, "It compares two methods.", "One costs more.")
    assert sum(sentence.count(". ") + 1 for sentence in said) == 6
    warned = wording.abstract(rows, "It compares two methods.", "One costs more.", "", ["Caution."])
    assert warned == ["Caution.", *said], "and every verdict"
    assert said[0].startswith("None of 2 methods is shown to match")
    assert said[-1] == "One costs more."


def test_methods_that_match_retraining_in_both_are_named():
    rows = judged(*((m, 0.0, 0.001, kind) for m in BOTH for kind in (GAP, ATTACK)))
    told = "shown to match retraining in both privacy and accuracy"
    assert wording.say_both(rows) == f"2 of 2 methods are {told}: SalUn and SCRUB."
    rows = rows[(rows["method"] == "salun") | (rows["claim"] == "C3")]
    assert wording.say_both(rows) == f"1 of 2 methods is {told}: SalUn."


def test_a_difference_is_told_with_its_direction():
    rows = judged(("salun", 0.08, 0.01, GAP), ("scrub", -0.08, 0.01, GAP))
    assert "*Different, above 0*: SalUn. *Different, below 0*: SCRUB." in wording.answer("C3", rows)
    found = ({"verdict": DIFFERENT, "estimate": estimate} for estimate in (-0.1, 0.1))
    below, above = ({name: each.read(row) for name, each in QUESTIONS.items()} for row in found)
    for name, lower, higher in (
        ("privacy", "harder to recognise", "easier to recognise"),
        ("slope", "falls behind", "gains"),
        ("difficulty", "hard lose more", "easy lose more"),
        ("sexes_forget", "women lose more", "men lose more"),
        ("forget", "lower", "higher"),
    ):
        assert (below[name], above[name]) == (f"different: {lower}", f"different: {higher}")
