import pandas as pd
import pytest

from medunlearn.cohort.forget_sets import draw_forget_set
from medunlearn.study.feasibility import describe_claims, reachable
from medunlearn.study.profile import load_profile

SETTINGS = {"seeds": 8, "forget_sizes": [0.1, 0.2], "middle_size": 0.1}


def describe(table: pd.DataFrame, **changes: object) -> list[str]:
    profile = load_profile("laptop").model_copy(update=SETTINGS | changes)
    return describe_claims(table, ("a", "b", "c"), profile, "laptop")


def lines(table: pd.DataFrame, **changes: object) -> dict[str, str]:
    """Each claim, and what is said of it."""
    said = describe(table, **changes)[2:]
    return {line.split("  ")[0]: line for line in said if line.startswith("C")}


@pytest.mark.parametrize(("patients", "simulated"), [(300, 0.043), (1000, 0.026), (3000, 0.018)])
def test_the_formula_is_near_and_below_what_simulated_studies_reach(patients, simulated):
    """Protocol, Statistics: women against men, 8 seeds, 9 % of the patients decided otherwise."""
    assert 0.6 * simulated < reachable([patients // 2] * 2, 8) < simulated


def test_patients_of_each_claim_are_counted(cohort_table):
    said = lines(cohort_table)
    people = cohort_table.drop_duplicates("patient")
    tested = people[people["partition"] == "test"]["sex"].value_counts()
    assert f" {tested['F']} and {tested['M']} " in said["C2 women against men, test set"]
    drawn = draw_forget_set(cohort_table, "random", 0.2, "shared").patients
    sexes = people[people["patient"].isin(drawn)]["sex"].value_counts()
    assert f" {sexes['F']} and {sexes['M']} " in said["C2 women against men, 20% forgotten"]
    assert f" {tested.sum()} " in said["C3 test set"]
    assert " 450 " in said["C1 retain set, 10% forgotten"]
    assert " 50 " in said["C1 forget set, 10% forgotten"]


def test_what_can_never_get_a_verdict_is_said_with_the_reason(cohort_table):
    said = lines(cohort_table)
    assert said["C3 test set"].endswith("  yes")
    assert "hardly: too few patients" in said["C2 women against men, test set"]
    women = cohort_table[(cohort_table["sex"] == "F") | (cohort_table["patient"] % 20 == 0)]
    assert "no: needs 20 patients in each" in lines(women)["C2 women against men, test set"]
    rare = (cohort_table["label"] > 0) & (cohort_table["patient"] % 20 > 0)
    said = lines(cohort_table[~rare])["C2 women against men, test set"]
    assert said.endswith("no: needs 10 women and 10 men of each of two classes")
    seeds = lines(cohort_table, seeds=2)
    assert all(line.endswith("no: needs 8 seeds") for line in seeds.values())


def test_a_forget_set_that_cannot_be_drawn_has_nobody(cohort_table):
    said = lines(cohort_table, forget_sizes=[0.95])
    assert " 0 and 0 " in said["C2 women against men, 95% forgotten"]


def test_the_majority_rate_is_that_of_the_test_images(cohort_table):
    labels = cohort_table.loc[cohort_table["partition"] == "test", "label"]
    said = describe(cohort_table)[-1]
    assert f"{(labels == 0).mean():.1%} of the test images are 'a'" in said
