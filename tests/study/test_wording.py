"""Sentences of the report: what is proven is said, and nothing more."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.costs import TUNING
from medunlearn.sources import canonical_hash
from medunlearn.statistics.verdicts import DIFFERENT, judge, reachable_margin
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


BOTH, EXPLORATORY = ("salun", "scrub"), {"confirmatory": False}
TOGETHER = "no confirmatory method is biased by more than the margin"
FEW = "needs 8 paired seeds, this profile has 2"


@pytest.mark.parametrize(
    ("rows", "confirmatory", "said", "together"),
    [
        ([("salun", 0.001, 0.005), ("scrub", -0.002, 0.005)], BOTH, "supported 2, not 0", True),
        ([("salun", 0.001, 0.005), ("scrub", -0.002, 0.02)], BOTH, "supported 1, not 0", False),
        ([("salun", 0.01, 0.002)], ["salun"], "supported 1, not 0, open 0 (of 1)", True),
        ([("salun", 0.001, 0.005)], BOTH, "That *no* method is biased is not shown.", False),
        ([("salun", -0.08, 0.01), ("scrub", 0.0, 0.005)], BOTH, "men with 1 of 2 methods (SalUn);",
         False),
    ],
)  # fmt: skip
def test_a_claim_of_no_bias_is_made_only_where_every_test_of_every_method_holds(
    rows, confirmatory, said, together
):
    told = wording.answer("C2", judged(*((*row, {}) for row in rows)), confirmatory)
    assert said in told
    assert (TOGETHER in told) == together


def test_a_method_that_was_not_tested_is_named_with_the_reason():
    rows = judged(
        ("salun", 0.001, 0.005, {}),
        ("scrub", 0.0, 0.005, {"refused": "unbalanced"}),
        ("finetune", np.nan, np.nan, {}),
    )
    said = wording.answer("C2", rows, (*BOTH, "finetune"))
    assert "supported 1, not 0, open 0, not tested 2 (of 3)" in said
    assert "not tested: SCRUB and fine-tuning (unbalanced; not estimable)." in said
    assert TOGETHER not in said


def test_what_was_not_tested_is_said_with_the_reason_and_nothing_else():
    silent = ("salun", 0.0, 0.001, {"refused": FEW})
    said = wording.answer("C2", judged(silent, ("scrub", 0.0, 0.01, GAP)), ["salun"])
    assert f"not tested ({FEW})." in said
    assert "alike" not in said
    # of a demonstration the banner says so, once
    assert wording.answer("C2", judged(silent)) == ""


@pytest.mark.parametrize(("seen", "said"), [(0.1, "+10.0."), (0.01, "+1.0, which this attack")])
def test_an_attack_supports_nothing_where_it_is_folded_and_says_what_it_sees(seen, said):
    folded = ATTACK | {"audit": "rmia_folded"}
    rows = judged(*((m, x, 0.01, folded) for m, x in (("salun", 0.0), ("original", seen))))
    answered = wording.answer("audits", rows).splitlines()[-1]
    assert "**Membership attack, folded.** Where" in answered
    assert f"Doing nothing: {said}" in answered


def test_a_question_without_rows_is_said_to_be_unanswered():
    nothing = judged(("salun", 0.0, 0.01, {"claim": "C1", "family": "C1"}))
    assert "not measured" in wording.answer("C2", nothing, BOTH)
    asked = "On the test set, compared with retraining, women end lower than men"
    assert wording.say(nothing, "sexes") == f"{asked}: not measured."


def test_what_is_open_is_told_with_the_margin_that_the_study_could_settle():
    reach = 100 * reachable_margin(0.03, 20, alpha=0.025)  # two named methods: Holm's first step
    table = judged(("salun", 0, 0.02, {}), ("scrub", 0, 0.03, {}), ("ssd", 0, 1, EXPLORATORY))
    said = wording.answer("C2", table)
    assert f"margin is 3.0 points; a study of this size can settle {reach:.1f}." in said
    assert "settle" not in wording.answer("C2", judged(("salun", 0.015, 0.009, {})))  # near it


@pytest.mark.parametrize(
    ("name", "rows", "said", "count"),
    [
        ("gap", [("original", -0.05), ("floor", -0.05), ("finetune", -0.05)],
         "after retraining with 1 of 1 methods (fine-tuning);", "supported 1, not 0"),
        ("gap", [("salun", 0.08), ("scrub", -0.08)],
         "with 1 of 2 methods (SCRUB), higher with 1 (SalUn);", "supported 1, not 1"),
        ("gap", [("a", -0.08), ("b", 0.08), ("c", 0.018)], "",
         "supported 1, not 1, open 1 (of 3)"),
        ("privacy", [("salun", 0.2), ("bad_teacher", -0.2)],
         "with 1 of 2 methods (SalUn), less familiar with 1 (bad", "supported 0, not 2"),
    ],
    ids=["no method is a yardstick", "a gain is no loss", "open", "unlikely is not recognised"],
)  # fmt: skip
def test_worse_is_counted_apart_from_its_opposite_and_from_what_is_open(name, rows, said, count):
    kind = GAP if name == "gap" else ATTACK
    table = judged(*((*row, 0.01, kind) for row in rows))
    question = QUESTIONS[name]
    assert not said or said in wording.say(table, name)
    assert count in question.count(question.rows(table))
    exploratory = question.rows(table).assign(confirmatory=False)
    assert ", exploratory)" in question.count(exploratory)


def test_nothing_is_said_to_be_absent_that_was_not_tested_or_not_ruled_out():
    silent = {"refused": "control failed"}
    rows = judged(
        *(("salun", 0.0, 0.001, kind | silent) for kind in ({}, GAP, ATTACK)),
        ("salun", 0.0, 0.001, {"claim": "C4", "contrast": "hard - easy", "family": "C4"}),
    )
    for said in (wording.say(rows, name) for name in ("privacy", "gap", "sexes")):
        assert "not tested (control failed)" in said
        assert "none" not in said
    two = judged(("salun", 0.0, 0.005, {}), ("scrub", 0.0, 0.1, {}), ("ssd", 0, 0.01, silent))
    assert wording.say(two, "sexes").endswith(
        "women end lower than men with none of 2 methods; shown to be alike within 3 points: 1; "
        "open: 1; not tested: SSD (control failed)."
    )


def test_women_and_men_of_a_forget_set_are_told_also_where_difficulty_is_not_known():
    forget = {"partition": "forget", "measure": "accuracy"}
    for adjustment in ("label", "label, difficulty"):
        rows = judged(("salun", 0.0, 0.005, forget | {"adjustment": adjustment}))
        answered = wording.answer("C2", rows).split("forget set")[1].splitlines()[0]
        assert "supported 1, not 0" in answered


@pytest.mark.parametrize(
    ("refused", "fitness", "first"),
    [
        ("", "", "Forgotten patients are easier"),
        (FEW, "", "A demonstration, too small for verdicts"),
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
    for error, end in ((0.001, "."), (0.05, "; a second retraining (set B) is not.")):
        second = judged(*(("floor", 0.0, error, kind) for kind in (GAP, ATTACK)))
        assert wording.say_both(pd.concat([rows, second])).endswith(f"{told}: SalUn{end}")
    pairs = (("salun", 0.1, 0.01), ("floor", 0.0, 0.05))
    rows = judged(*((*pair, kind) for pair in pairs for kind in (GAP, ATTACK)))
    end = "nor is a second retraining (set B)."
    assert wording.say_both(rows) == f"None of 1 methods is {told}; {end}"
    rows.loc[rows["claim"] == "audits", "verdict"] = "not tested"
    assert wording.say_both(rows).endswith("in both privacy and accuracy is not tested.")


def test_a_difference_is_told_with_its_direction():
    found = ({"verdict": DIFFERENT, "estimate": estimate} for estimate in (-0.1, 0.1))
    below, above = ({name: each.read(row) for name, each in QUESTIONS.items()} for row in found)
    for name, lower, higher in (
        ("privacy", "less familiar", "easier to recognise"),
        ("slope", "falls behind", "pulls ahead"),
        ("difficulty", "hard ones lower", "easy ones lower"),
        ("sexes_forget", "women lower", "men lower"),
        ("forget", "lower", "higher"),
    ):
        assert (below[name], above[name]) == (f"different: {lower}", f"different: {higher}")


COSTS = pd.DataFrame(
    {"method": list("abcd"), "forget_size": 0.1, "estimate": [0.4, 0.5, 0.5, 0.6]}
).assign(**dict.fromkeys(TUNING, 2.0) | {"total_low": [2, 1.1, 0.5, 0.8]})
BILL = {"exclusive": True, "device_type": "cpu", "seconds": 1.0, "cpu_seconds": 1.0}
RECIPE = {"epochs": 25}
TUNED = {"device_type": "cpu", "exclusive": True, "timed": 16, "disturbed": 0, "cohort": "this"}
TUNED |= {"recipe": canonical_hash(RECIPE), "seeds": [1, 2]}
TUNED |= {"original_seconds": [3.0, 4.0], "retraining_seconds": [2.0, 2.0]}
ORIGINALS = " Not counted: the originals of tuning, which cost 3.5 retrainings."


def costs(table=COSTS, bills=(BILL, BILL, BILL), **tuned):
    found = SimpleNamespace(**TUNED | tuned) if tuned.pop("there", True) else None
    study = SimpleNamespace(
        profile=SimpleNamespace(middle_size=0.1), tuned=found, device="cpu", recipe=RECIPE,
        cohort=SimpleNamespace(sha256="this"),
    )  # fmt: skip
    return wording.describe_costs(table, pd.DataFrame(bills), study)


def test_supported_is_above_one_retraining_and_nothing_else():
    assert costs() == (
        "**With the search for its settings, one request costs more than one retraining for 2 of 4 "
        f"methods.** One request alone costs 0.40 to 0.60 retrainings.{ORIGINALS}"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"table": COSTS.iloc[:0]}, "nothing is known of cost"),
        ({"there": False}, "is not tested: nothing was tuned"),
        ({"table": COSTS.assign(total=np.nan)}, "is not tested: nothing was tuned"),
        ({"device_type": "cuda"}, "not tested: it was timed on cuda, and unlearning on cpu"),
        ({"exclusive": False}, "not tested: others may have computed"),
    ],
)
def test_seconds_that_are_absent_or_cannot_be_added_give_no_verdict(given, said):
    assert said in costs(**given)
    assert "costs more" not in costs(**given)


def test_disturbed_regions_are_counted_with_the_remedy():
    busy = [BILL, BILL | {"cpu_seconds": 0.5}]
    assert "had the core in 1 of 2 regions timed (`make retime`)" in costs(bills=busy)
    assert "had the core in 3 of 16 regions of tuning." in costs(disturbed=3)


@pytest.mark.parametrize("other", [{"cohort": "that"}, {"recipe": "that"}])
def test_settings_that_were_found_elsewhere_are_told(other):
    assert costs(**other).endswith("found on another cohort or recipe than this.")
