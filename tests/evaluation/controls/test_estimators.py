import numpy as np
import pytest

from medunlearn.evaluation.claims import measure_contrasts
from medunlearn.evaluation.controls import estimators
from medunlearn.evaluation.measurements import line_ups
from tests.evaluation.synthetic import TERMS, make_study


@pytest.fixture(scope="module")
def study():
    return make_study(seeds=3, floor_seeds=3, test=200)


def floor_of(study):
    return next(x for x in line_ups(study.models) if x.method == "floor")


def contrasts_of(study):
    return measure_contrasts(study, TERMS)


def test_three_estimators_give_one_estimate(study):
    found = estimators.same_estimates(study, floor_of(study), contrasts_of(study))
    assert found.state == "passed", found.found
    assert "GEE" in found.found
    assert "mixed model" in found.found
    own = study.interval(floor_of(study), "test", "balanced_accuracy", ("F", "M"), (1, -1))
    assert found.estimate == pytest.approx(own.estimate)


def test_rows_merged_wrongly_are_seen(study, monkeypatch):
    """One seed's patients lose rows: the mean of seeds weighs them otherwise than the models."""
    real = estimators.check_point_estimates

    def lose(frame):
        lost = (frame["seed"] == frame["seed"].min()) & (frame["value"] > frame["value"].median())
        return real(frame[~lost])

    monkeypatch.setattr(estimators, "check_point_estimates", lose)
    assert estimators.same_estimates(study, floor_of(study), contrasts_of(study)).state == "failed"


def test_humble_cohorts_are_not_run(study):
    assert estimators.same_estimates(study, None, contrasts_of(study)).state == "not run"
    broken = make_study(seeds=3, floor_seeds=3, test=200)
    broken.logits[:] = np.nan
    assert (
        estimators.same_estimates(broken, floor_of(broken), contrasts_of(broken)).state == "not run"
    )


def test_a_contrast_that_is_not_what_was_measured_is_seen(study):
    table = contrasts_of(study)
    table["estimate"] += 0.001
    assert estimators.same_estimates(study, floor_of(study), table).state == "failed"
