import numpy as np
import pytest

from medunlearn.evaluation.claims import measure_contrasts
from medunlearn.evaluation.controls.estimators import same_estimates
from medunlearn.evaluation.measurements import line_ups
from tests.evaluation.synthetic import TERMS, make_study


def test_three_estimators_give_one_estimate_and_another_contrast_is_seen():
    study = make_study(seeds=3, floor_seeds=3, test=200)
    floor = next(each for each in line_ups(study.models) if each.method == "floor")
    contrasts = measure_contrasts(study, TERMS)
    found = same_estimates(study, floor, contrasts)
    assert found.state == "passed", found.found
    assert "GEE" in found.found
    assert "mixed model" in found.found
    own = study.interval(floor, "test", "balanced_accuracy", ("F", "M"), (1, -1))
    assert found.estimate == pytest.approx(own.estimate)
    moved = contrasts.assign(estimate=contrasts["estimate"] + 0.001)
    assert same_estimates(study, floor, moved).state == "failed"
    assert same_estimates(study, None, contrasts).state == "not run"
    broken = make_study(seeds=3, floor_seeds=3, test=200)
    broken.logits[:] = np.nan
    assert same_estimates(broken, floor, contrasts).state == "not run"
