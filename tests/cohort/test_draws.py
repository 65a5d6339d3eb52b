import json
from dataclasses import replace

import pytest

from medunlearn.cohort.draws import development_patients, draw_forget_set
from medunlearn.errors import InputError


def sexes(table, draw):
    return set(table.loc[table["patient"].isin(draw.patients), "sex"])


def test_a_forget_set_is_of_training_patients_only(cohort_table):
    draw = draw_forget_set(cohort_table, "random", 0.1, "shared")
    chosen = cohort_table[cohort_table["patient"].isin(draw.patients)]
    assert set(chosen["partition"]) == {"train"}
    assert len(draw.patients) == 50


def test_sets_of_one_order_are_nested_in_size(cohort_table):
    sizes = [draw_forget_set(cohort_table, "random", s, "seed3") for s in (0.05, 0.1, 0.4)]
    small, middle, large = (set(draw.patients) for draw in sizes)
    assert small < middle < large


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


def test_a_record_of_another_draw_is_replaced_and_the_same_one_is_not_touched(
    cohort_table, tmp_path
):
    draw = draw_forget_set(cohort_table, "random", 0.1, "shared")
    other = replace(draw, patients=draw.patients[:-1], sha256="of another cohort")
    other.write(tmp_path)
    path = draw.write(tmp_path)
    assert json.loads(path.read_text())["sha256"] == draw.sha256
    before = path.stat().st_mtime_ns
    assert draw.write(tmp_path).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (1.0, "leaves no retain patient"),
        (1.5, "leaves no retain patient"),
        (0.0, "nothing to forget"),
        (-0.1, "nothing to forget"),
        (0.0001, "no patient at all"),
        (0.95, "may be drawn"),
    ],
)
def test_an_impossible_size_is_refused_with_what_is_possible(cohort_table, size, said):
    with pytest.raises(InputError, match=said):
        draw_forget_set(cohort_table, "random", size, "shared")


def test_a_set_that_takes_a_whole_class_is_refused(cohort_table):
    train = cohort_table["partition"] == "train"
    first = draw_forget_set(cohort_table, "random", 0.1, "shared").patients
    table = cohort_table.assign(label=0)
    table.loc[train & table["patient"].isin(first), "label"] = 0
    # one patient only has class 1, and the whole composition is drawn
    rare = next(p for p in first if p not in set(development_patients(table)))
    table.loc[table["patient"] == rare, ["label", "sex"]] = [1, "F"]
    women = table[train & (table["sex"] == "F")]["patient"].nunique()
    reserved = set(development_patients(table))
    free = len(set(table.loc[train & (table["sex"] == "F"), "patient"]) - reserved)
    assert free <= women
    with pytest.raises(InputError, match="takes every image of class code 1"):
        draw_forget_set(table, "female", free / 500, "shared")
