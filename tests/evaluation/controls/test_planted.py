from dataclasses import replace

import pytest

from medunlearn.evaluation.controls import resampling as module
from medunlearn.evaluation.controls.known_truth import planted_bias, planted_dose
from medunlearn.evaluation.yardsticks import FLOOR, NOTHING, line_ups
from tests.evaluation.synthetic import TERMS, make_study

TIMES = 100
SET_B = ("retrained", "B", None)


def doses(study, times=TIMES, terms=TERMS):
    floor = next(each for each in line_ups(study.models) if each.method == FLOOR)
    return list(planted_dose(study, terms, floor, times))


def bias(study, terms=TERMS):
    known = {each.method: each for each in line_ups(study.models)}
    return planted_bias(study, terms, known[NOTHING], known[FLOOR])


def remembers(cohort):
    """What a model knows of the forgotten that was trained on them."""
    return 5.0 * (cohort["patient"] < 200)


def worse_for_women(cohort):
    return -1.5 * ((cohort["sex"] == "F") & (cohort["partition"] == "test"))


@pytest.fixture(scope="module")
def study():
    return make_study()


@pytest.fixture(scope="module")
def outcomes(study):
    return doses(study)


def test_a_planted_bias_is_found_and_favours_women(study):
    found = bias(study)
    assert found.state == "passed"
    assert found.low > 0.05
    assert found.runs == 8
    assert "adjusted for label, difficulty" in found.found


def test_a_bias_that_is_not_found_fails():
    # set B remembers as the original does, so that men are not forgotten either
    found = bias(make_study(shift={SET_B: remembers}))
    assert found.state == "failed"
    assert found.low < 0 < found.high


def test_a_bias_against_women_is_not_the_one_that_was_planted():
    forgotten = {SET_B: lambda cohort: 15.0 * (cohort["patient"] < 900)}
    more = make_study(train=1000, forget=900, memory=2, test=50, shift=forgotten)
    found = bias(more)
    assert found.high < 0
    assert found.state == "failed"


def test_a_bias_too_small_to_be_found_says_nothing():
    assert bias(make_study(memory=0.3)).state == "uninformative"
    few = bias(make_study(forget=50))
    assert few.state == "uninformative"
    assert "detectable is 0." in few.found


def test_a_bias_is_not_planted_among_few():
    assert bias(make_study(forget=30)).found.startswith("needs 20 patients")
    assert bias(make_study(seeds=2, floor_seeds=2, test=50)).state == "not run"


def test_honest_doses_are_what_they_are_said_to_be_and_pass(outcomes):
    for outcome, dose in zip(outcomes, (0, -0.03, -0.06), strict=True):
        assert outcome.state == "passed"
        assert outcome.estimate == pytest.approx(dose, abs=0.003)
    none, one, two = outcomes
    assert none.rate <= 0.09
    assert 0 < one.rate <= 0.09
    assert two.rate >= 0.8
    assert (none.nominal, one.nominal, two.nominal) == (0.05, 0.05, 0.8)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_set_b_differs_by_is_offset(sign):
    made = make_study(shift={SET_B: lambda cohort: sign * worse_for_women(cohort)})
    raw = made.interval(
        next(each for each in line_ups(made.models) if each.method == FLOOR),
        "test", "balanced_accuracy", ("F", "M"), (1, -1),
    ).estimate  # fmt: skip
    assert abs(raw) > 0.06
    for outcome, dose in zip(doses(made, 40), (0, -0.03, -0.06), strict=True):
        assert outcome.estimate == pytest.approx(dose, abs=0.004)


@pytest.mark.parametrize(("estimate", "error"), [(1, 1 / 3), (1 / 2, 1)])
def test_limits_too_narrow_and_estimates_too_small_are_found_out(
    study, monkeypatch, estimate, error
):
    honest = module.contrast_interval

    def faulty(groups, **rest):
        found = honest(groups, **rest)
        return replace(
            found, estimate=found.estimate * estimate, standard_error=found.standard_error * error
        )

    monkeypatch.setattr(module, "contrast_interval", faulty)
    assert doses(study)[1].state == "failed"


def test_a_study_too_small_to_see_a_dose_says_so():
    none, one, two = doses(make_study(test=150))
    assert none.state == two.state == "uninformative"
    assert one.state == "uninformative", "it calls nothing equivalent, so it could not fail"
    assert two.rate < 0.8


def test_a_dose_beyond_all_right_decisions_is_not_planted(study):
    huge = replace(TERMS, margins={**TERMS.margins, "test": 0.9})
    assert {outcome.state for outcome in doses(study, 2, huge)} == {"not run"}
