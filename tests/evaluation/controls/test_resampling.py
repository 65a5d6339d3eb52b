from dataclasses import replace

import numpy as np
import pytest

from medunlearn.evaluation.controls.resampling import decide, replicate
from medunlearn.evaluation.performance import balanced_values
from medunlearn.evaluation.yardsticks import line_ups
from tests.evaluation.synthetic import TERMS, make_study

NAME = "set B"


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


@pytest.fixture(scope="module")
def decisions(study, floor):
    return decide(study, TERMS, floor, NAME)


def test_values_of_a_split_are_those_of_balanced_accuracy(study, floor, decisions):
    assert -1 in study.subset("", "test", "all").strata  # the rare class is pooled
    for sex, side in (("F", decisions.women), ("M", ~decisions.women)):
        known = study.levels(floor, "test", sex, "balanced_accuracy")
        found = balanced_values(decisions.ours[..., side], decisions.whole[:, side])
        assert found == pytest.approx(np.stack(known), abs=1e-12)


def test_a_stratum_that_nobody_has_is_left_out():
    whole = np.array([[1.0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]])
    part = (whole * [1, 0, 1, 1])[:, None]
    assert balanced_values(part, whole).mean() == pytest.approx(2 / 3)
    assert np.isfinite(balanced_values(part, whole)).all()


def test_the_contrast_of_the_true_split_is_the_one_of_the_claims(study, floor, decisions):
    known = study.interval(floor, "test", "balanced_accuracy", ("F", "M"), (1, -1))
    expected = [known.estimate, known.standard_error, known.df]
    gaps = decisions.ours - decisions.theirs
    found = replicate([(gaps, decisions.whole, decisions.women)])
    assert found[:, 0] == pytest.approx(expected)


def test_persons_are_those_of_the_dataset(study, floor, decisions):
    ids = decisions.patient_ids
    assert [list(patients) for patients in decisions.persons] == [[k] for k in range(len(ids))]
    doubled = study.cohort.assign(source_patient=study.cohort["patient"] // 2)
    persons = decide(replace(study, cohort=doubled), TERMS, floor, NAME).persons
    assert [set(ids[patients] // 2) for patients in persons] == [{k} for k in np.unique(ids // 2)]
    assert np.sort(np.concatenate(persons)).tolist() == list(range(len(ids)))


def test_patients_without_a_sex_or_a_model_are_too_few(study, floor):
    nobody = replace(study, cohort=study.cohort.assign(sex=None))
    one = replace(floor, runs=floor.runs[:1], base=floor.base[:1])
    logits = study.logits.copy()
    logits[floor.runs[1].row] = np.nan
    for given, line_up, reason in (
        (nobody, floor, "needs 20 test patients of each sex, one has 0"),
        (study, one, "needs two seeds, there is one"),
        (replace(study, logits=logits), floor, "a model has blown up"),
        (study, None, "not measured: set B"),
    ):
        assert decide(given, TERMS, line_up, NAME) == reason
