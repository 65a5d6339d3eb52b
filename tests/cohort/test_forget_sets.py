import json

import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.forget_sets import (
    development_patients,
    draw_forget_set,
    draw_half,
    list_refusals,
)
from medunlearn.cohort.partition import patient_table
from medunlearn.errors import InputError


def sexes(table, draw):
    return set(table.loc[table["patient"].isin(draw.patients), "sex"])


def test_seeds_have_orders_of_their_own(cohort_table):
    draws = {draw_forget_set(cohort_table, "random", 0.1, f"seed{s}").patients for s in range(5)}
    assert len(draws) == 5


def test_compositions_hold_the_sex_that_they_name(cohort_table):
    assert sexes(cohort_table, draw_forget_set(cohort_table, "female", 0.1, "shared")) == {"F"}
    assert sexes(cohort_table, draw_forget_set(cohort_table, "male", 0.1, "shared")) == {"M"}
    assert sexes(cohort_table, draw_forget_set(cohort_table, "random", 0.1, "shared")) == {"F", "M"}


def test_development_patients_are_a_tenth_and_never_forgotten(cohort_table):
    reserved = set(development_patients(cohort_table))
    assert len(reserved) == 50
    for composition, size in (("random", 0.6), ("female", 0.3), ("male", 0.3)):
        assert not reserved & set(
            draw_forget_set(cohort_table, composition, size, "shared").patients
        )


def test_a_draw_is_recorded_with_patients_and_hash(cohort_table, tmp_path):
    draw = draw_forget_set(cohort_table, "random", 0.1, "shared")
    content = json.loads(draw.write(tmp_path).read_text())
    assert tuple(content["patients"]) == draw.patients
    assert content["sha256"] == draw.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["random-0.1-shared.json"]


def test_a_harmed_record_is_replaced(cohort_table, tmp_path):
    (tmp_path / "random-0.1-shared.json").write_text('{"composition": "ran')
    draw = draw_forget_set(cohort_table, "random", 0.1, "shared")
    assert json.loads(draw.write(tmp_path).read_text())["sha256"] == draw.sha256


@pytest.mark.parametrize("size", [1.0, 1.5, 0.0, -0.1, 0.0001, 0.95])
def test_an_impossible_size_is_refused_with_what_is_possible(cohort_table, size):
    with pytest.raises(
        InputError, match=r"expected 1 to 450, which may be drawn .* 0\.002 to 0\.9"
    ):
        draw_forget_set(cohort_table, "random", size, "shared")


def test_a_request_that_is_too_small_is_refused_before_anything_is_made(cohort_table):
    draw_forget_set(cohort_table, "random", 0.004, "seed1000")
    for composition, faults in (("stream", 1), ("at_once", 0)):
        told = list_refusals(cohort_table, [(composition, 0.004, "seed1000")])
        assert len(told) == faults
        assert all("is 2: expected 3 to 450" in fault for fault in told)


def test_a_set_that_takes_a_whole_class_is_refused(cohort_table):
    """One patient has class 1; all patients of her sex who may be drawn are."""
    rare = draw_forget_set(cohort_table, "female", 0.1, "shared").patients[0]
    table = cohort_table.assign(label=(cohort_table["patient"] == rare).astype(int))
    women = table[(table["partition"] == "train") & (table["sex"] == "F")]["patient"].unique()
    free = len(set(women) - set(development_patients(table)))
    with pytest.raises(InputError, match="takes every image of class code 1"):
        draw_forget_set(table, "female", free / 500, "shared")


def test_a_forget_set_of_one_image_is_refused_and_of_two_is_drawn():
    random = np.random.default_rng(3)
    table = pd.DataFrame({"patient": range(40), "sex": random.choice(["F", "M"], 40), "label": 0})
    table = table.assign(sample=table["patient"], partition="train")
    with pytest.raises(InputError, match=r"is a single image.*expected at least 2"):
        draw_forget_set(table, "random", 1 / 40, "shared")
    assert len(draw_forget_set(table, "random", 2 / 40, "shared").patients) == 2
    doubled = pd.concat([table, table])
    assert len(draw_forget_set(doubled, "random", 1 / 40, "shared").patients) == 1


def test_halves_are_complementary_stratified_and_another_pair_is_another_cut(cohort_table):
    train = cohort_table[cohort_table["partition"] == "train"]
    halves = [set(draw_half(cohort_table, seed).patients) for seed in (200, 201, 202)]
    assert halves[0] | halves[1] == set(train["patient"])
    assert not halves[0] & halves[1]
    assert 0.3 < len(halves[0] & halves[2]) / len(halves[0]) < 0.7
    sexes = train.drop_duplicates("patient").groupby("sex")["patient"].agg(set)
    for members in sexes:
        assert abs(len(halves[0] & members) - len(halves[1] & members)) <= 4


@pytest.fixture
def confidence(cohort_table):
    """Another number for every patient, unrelated to sex and label."""
    patients = cohort_table["patient"].unique()
    return pd.Series(np.random.default_rng(5).permutation(len(patients)), index=patients)


def test_hard_forget_sets_hold_the_least_confident_of_each_sex_and_label(cohort_table, confidence):
    hard = draw_forget_set(cohort_table, "hard", 0.1, "shared", confidence)
    easy = draw_forget_set(cohort_table, "easy", 0.1, "shared", confidence)
    random = draw_forget_set(cohort_table, "random", 0.1, "shared")
    patients = patient_table(cohort_table[cohort_table["partition"] == "train"])
    eligible = patients.drop(development_patients(cohort_table))
    for draw, last in ((hard, max), (easy, min)):
        assert len(draw.patients) == len(random.patients)
        assert not set(draw.patients) - set(eligible.index)
        for _, stratum in eligible.groupby(["sex", "rarest"]):
            chosen = set(stratum.index) & set(draw.patients)
            if chosen:
                edge = last(confidence[list(chosen)])
                others = confidence[sorted(set(stratum.index) - chosen)]
                assert (others > edge).all() if last is max else (others < edge).all()
    shares = [patients.loc[list(d.patients), "sex"].eq("F").mean() for d in (hard, easy, random)]
    assert max(shares) - min(shares) < 0.06


def test_hard_without_known_difficulty_is_refused(cohort_table):
    with pytest.raises(ValueError, match="needs the patients' confidence"):
        draw_forget_set(cohort_table, "hard", 0.1, "shared")


def test_why_a_small_cohort_would_be_refused_is_told_at_once():
    table = pd.DataFrame({"patient": range(24), "sex": ["F", "M"] * 12, "label": [0, 1, 1] * 8})
    table = table.assign(partition=["train", "train", "test", "validation_method"] * 6)
    wanted = [("random", 0.02, "shared"), ("random", 0.1, "seed0"), ("random", 0.1, "seed0")]
    said = list_refusals(table, [*wanted, ("easy", 0.02, "shared")])
    assert len(said) == 2
    assert "is 0: expected 1 to" in said[0]
    assert "single image" in said[1]
    assert not list_refusals(table, [("random", 0.2, "shared")])
    assert list_refusals(table.assign(sex="F"), [("male", 0.2, "shared")]) == []
