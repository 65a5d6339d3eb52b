from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.controls import resampling as module
from medunlearn.evaluation.controls.known_truth import permuted_sex
from medunlearn.evaluation.yardsticks import NOTHING, line_ups
from tests.evaluation.synthetic import TERMS, make_study

TIMES = 300


def permute(study, terms=TERMS):
    nothing = next(each for each in line_ups(study.models) if each.method == NOTHING)
    return list(permuted_sex(study, terms, nothing, TIMES))


def helped(cohort):
    """Originals do better than retrained models on hard test patients."""
    return 2.0 * ((cohort["partition"] == "test") & (cohort["ease"] < 0))


def as_often(study, times):
    """Every test patient several times over, under as many names: a fault of the pipeline."""
    test = study.cohort["partition"] == "test"
    copies = [study.cohort.assign(source_patient=study.cohort["patient"])]
    for number in range(1, times):
        copy = copies[0][test]
        copies.append(copy.assign(patient=10_000 + 10 * copy["patient"] + number))
    cohort = pd.concat(copies, ignore_index=True)
    logits = study.logits[:, cohort["sample"]]
    cohort["sample"] = np.arange(len(cohort))
    return replace(study, cohort=cohort, logits=logits, difficulty=pd.DataFrame())


@pytest.fixture(scope="module")
def study():
    return make_study(1, seeds=4, floor_seeds=0, test=600, train=300, forget=60)


def test_dealt_out_sexes_do_not_differ(study):
    outcomes = permute(study)
    for outcome in outcomes:
        assert outcome.state == "passed"
        assert 0 < outcome.rate < 0.09
        assert outcome.runs == TIMES
    assert [outcome.control for outcome in outcomes] == [
        "sex permuted, freely: gap", "sex permuted, within label x difficulty: gap",
        "sex permuted, freely: level",
    ]  # fmt: skip


def test_one_person_under_many_names_is_found_out(study):
    level = permute(as_often(study, 4))[2]
    assert level.state == "failed"
    assert level.rate > 0.2


def test_an_interval_that_counts_patients_twice_is_found_out(study, monkeypatch):
    honest = module.contrast_interval
    monkeypatch.setattr(
        module,
        "contrast_interval",
        lambda groups, **rest: honest([np.concatenate([g] * 4, axis=1) for g in groups], **rest),
    )
    assert permute(study)[2].state == "failed"


def test_what_difficulty_explains_is_not_laid_at_the_door_of_the_permutation():
    made = make_study(2, seeds=4, floor_seeds=0, test=1500, train=300, forget=60,
                      difficult_women=2.5, shift={("original", None, None): helped})  # fmt: skip
    free, within, _ = permute(made)
    assert abs(free.estimate) < 0.003
    assert within.estimate > 0.02  # women are harder, within labels too, and hard patients gain
    assert free.state == within.state == "passed"


def test_sexes_that_are_told_by_the_label_cannot_be_permuted_within_it(study):
    told = study.cohort["sex"].where(study.cohort["partition"] != "test",
                                     np.where(study.cohort["label"] == 0, "F", "M"))  # fmt: skip
    made = replace(study, cohort=study.cohort.assign(sex=told))
    free, within, _ = permute(made)
    assert free.state == "passed"
    assert within.state == "uninformative"


def test_without_difficulty_it_is_within_label_and_says_so(study):
    within = permute(replace(study, difficulty=pd.DataFrame()))[1]
    assert within.control == "sex permuted, within label: gap"
    assert within.found.endswith("difficulty was not measured")


def test_an_interval_that_is_off_is_found_out(study, monkeypatch):
    """A contrast with the same groups twice has no business to differ from 0."""
    honest = module.contrast_interval

    def shifted(groups, **rest):
        found = honest(groups, **rest)
        return replace(found, estimate=found.estimate + 2 * found.standard_error)

    monkeypatch.setattr(module, "contrast_interval", shifted)
    assert permute(study)[0].state == "failed"
