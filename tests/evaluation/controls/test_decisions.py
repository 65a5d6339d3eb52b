from dataclasses import replace

import numpy as np
import pytest

from medunlearn.evaluation.controls.decisions import (
    balanced_values,
    decide,
    members,
    sex_contrast,
    too_few,
)
from medunlearn.evaluation.measurements import line_ups
from tests.evaluation.synthetic import TERMS, make_study


@pytest.fixture(scope="module")
def study():
    """One to three images a patient, some patients of unknown sex, and a rare class."""
    made = make_study(3, seeds=3, floor_seeds=3, test=300, images=3, train=300, forget=60)
    random = np.random.default_rng(4)
    test = (made.cohort["partition"] == "test").to_numpy()
    sex = made.cohort["sex"].mask(made.cohort["patient"] % 11 == 0, None)
    label = made.cohort["label"].mask(test & (made.cohort["patient"] % 50 == 1), 3)
    gone = test & (random.random(len(test)) < 0.3)
    cohort = made.cohort.assign(sex=sex, label=label)[~gone]
    logits = np.concatenate([made.logits, np.full((*made.logits.shape[:2], 1), -9)], axis=2)
    logits[random.random(logits.shape[:2]) < 0.1, 3] = 9
    return replace(made, cohort=cohort, logits=logits.astype(np.float32))


@pytest.fixture(scope="module")
def floor(study):
    return next(each for each in line_ups(study.models) if each.method == "floor")


def test_values_of_a_split_are_those_of_balanced_accuracy(study, floor):
    decisions = decide(study, floor)
    assert -1 in study.subsets.of("", "test", "all").strata  # the rare class is pooled
    for sex, side in (("F", decisions.women), ("M", ~decisions.women)):
        known = study.levels(floor, "test", sex, "balanced_accuracy")
        right, whole = decisions.tally(decisions.ours), decisions.whole
        assert balanced_values(right[..., side], whole[:, side]) == pytest.approx(
            np.stack(known), abs=1e-12
        )


def test_a_stratum_that_nobody_has_is_left_out():
    whole = np.array([[1.0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]])
    part = (whole * [1, 0, 1, 1])[:, None]
    assert balanced_values(part, whole).mean() == pytest.approx(2 / 3)
    assert np.isfinite(balanced_values(part, whole)).all()


def test_the_contrast_of_the_true_split_is_the_one_of_the_claims(study, floor):
    decisions = decide(study, floor)
    gaps = decisions.tally(decisions.ours) - decisions.tally(decisions.theirs)
    found = sex_contrast(gaps, decisions.whole, decisions.women, study.level)
    known = study.interval(floor, "test", "balanced_accuracy", ("F", "M"), (1, -1))
    assert found.estimate == pytest.approx(known.estimate, abs=1e-12)
    assert found.standard_error == pytest.approx(known.standard_error)
    assert found.df == pytest.approx(known.df)


def test_everyone_drawn_once_changes_nothing_but_the_order(study, floor):
    decisions = decide(study, floor)
    turned = np.arange(len(decisions.patient_ids))[::-1]
    again = decisions.resample(turned)
    for mine, theirs in ((decisions.ours, again.ours), (decisions.theirs, again.theirs)):
        assert again.tally(theirs) == pytest.approx(decisions.tally(mine)[..., turned])
    assert (again.patient_ids == decisions.patient_ids[turned]).all()
    assert (again.women == decisions.women[turned]).all()


def test_a_patient_drawn_twice_is_two_patients(study, floor):
    decisions = decide(study, floor)
    again = decisions.resample(np.array([5, 2, 5]))
    assert again.whole.shape[1] == 3
    assert again.whole[:, 0].sum() == again.whole[:, 2].sum() == pytest.approx(1)
    assert (again.whole[:, 0] == decisions.whole[: len(again.whole), 5]).all()


def test_members_come_in_the_order_in_which_they_are_chosen():
    items, which = members(np.array([0, 1, 0, 2]), np.array([2, 0, 0]))
    assert items.tolist() == [3, 0, 2, 0, 2]
    assert which.tolist() == [0, 1, 1, 2, 2]


def test_persons_are_those_of_the_dataset(study, floor):
    assert len(set(decide(study, floor).sources)) == len(decide(study, floor).patient_ids)
    doubled = study.cohort.assign(source_patient=study.cohort["patient"] // 2)
    sources = decide(replace(study, cohort=doubled), floor).sources
    ids = decide(study, floor).patient_ids
    assert len(set(sources)) == len(set(ids // 2))
    assert sources.max() == len(set(sources)) - 1


def test_patients_without_a_sex_or_a_model_are_too_few(study, floor):
    assert too_few(TERMS, decide(study, floor)) == ""
    nobody = replace(study, cohort=study.cohort.assign(sex=None))
    assert too_few(TERMS, decide(nobody, floor)) == "needs 20 test patients of each sex, one has 0"
    one = replace(floor, runs=floor.runs[:1], base=floor.base[:1])
    assert too_few(TERMS, decide(study, one)) == "needs two seeds, there is one"
    logits = study.logits.copy()
    logits[floor.runs[1].row, 0] = np.nan
    blown = replace(study, logits=logits)
    assert too_few(TERMS, decide(blown, floor)) == "a model has blown up"
