from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation import fairness
from medunlearn.evaluation.fairness import _error, bootstrap_gap, measure_calibration
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.performance import calibration_error, calibration_parts
from medunlearn.randomness import stream
from tests.evaluation.conftest import make_predicted, make_subset

PATIENTS, SEEDS = 400, 4


def study(boldness, seed=0):
    """Two classes, a third of decisions wrong; ``boldness`` is the confidence of (method, sex)."""
    random = np.random.default_rng(seed)
    cohort = pd.DataFrame(
        {
            "sample": np.arange(PATIENTS), "patient": np.arange(PATIENTS),
            "partition": np.where(np.arange(PATIENTS) < 50, "validation_evaluation", "test"),
            "sex": np.where(np.arange(PATIENTS) % 2, "F", "M"),
            "label": random.integers(0, 2, PATIENTS),
        }
    )  # fmt: skip
    rows, logits = [], []
    for number in range(SEEDS):
        for method, role in (("finetune", "unlearned"), (None, "retrained")):
            right = random.random(PATIENTS) < 2 / 3
            decided = np.where(right, cohort["label"], 1 - cohort["label"])
            p = np.array([boldness(method, sex) for sex in cohort["sex"]])
            scores = np.log(p / (1 - p))[:, None] * np.eye(2)[decided]
            logits.append(scores.astype(np.float32))
            rows.append(
                {
                    "role": role, "method": method, "seed": number, "draw": "random-0.1-shared",
                    "oracle_set": None if method else "A", "composition": "random",
                    "forget_size": 0.1,
                }
            )  # fmt: skip
    draws = {"random-0.1-shared": [0]}
    return Measurements(pd.DataFrame(rows), np.stack(logits), cohort, draws, reference=0)


def found(measurements):
    return measure_calibration(measurements, 0.1).set_index(["method", "group"])


def test_too_bold_a_model_is_worse_calibrated_than_retraining():
    row = found(study(lambda method, _: 0.95 if method else 0.67)).loc[("finetune", "all")]
    assert row["level"] == pytest.approx(0.95 - 2 / 3, abs=0.04)
    assert row["estimate"] == pytest.approx(0.95 - 2 / 3, abs=0.06)
    assert 0.15 < row["low"] < row["estimate"] < row["high"] < 0.4


def test_a_model_that_is_bold_about_women_alone_differs_between_the_sexes():
    rows = found(study(lambda method, sex: 0.95 if method and sex == "F" else 0.67))
    assert rows.loc[("finetune", "F - M"), "low"] > 0.1
    gap = rows.loc[("finetune", "F"), "estimate"] - rows.loc[("finetune", "M"), "estimate"]
    assert rows.loc[("finetune", "F - M"), "estimate"] == pytest.approx(gap)


def test_every_patient_once_is_the_measure_itself():
    random = np.random.default_rng(3)
    subset = make_subset(random)
    predicted = make_predicted(random, subset)
    parts = calibration_parts(subset, predicted)
    everyone = np.full(len(parts), True)
    once = _error(np.ones((1, len(parts))), parts, [everyone])
    assert once[0] == pytest.approx(calibration_error(subset, predicted))
    # a patient drawn twice counts twice
    times = np.ones((1, len(parts)))
    times[0, 0] = 2
    expected = np.abs(parts.sum(axis=0) + parts[0]).sum() / (len(parts) + 1)
    assert _error(times, parts, [everyone])[0] == pytest.approx(expected)


def test_a_model_that_has_blown_up_has_no_calibration():
    broken = study(lambda *_: 0.67)
    alike = found(broken)
    assert ((alike["low"] < 0) & (alike["high"] > 0)).all()
    broken = replace(broken, logits=broken.logits.copy())
    broken.logits[0] = np.nan
    row = found(broken).loc[("finetune", "all")]
    assert row[["estimate", "low", "high"]].isna().all()


def as_parts(values):
    """One bin, so that the "error" is the mean of patients (all positive) less nothing."""
    return [(row[:, None], np.zeros((len(row), 1))) for row in values]


def interval(values, *, seed=0, level=0.95):
    everyone = [np.full(values.shape[1], True)]
    return bootstrap_gap(as_parts(values), everyone, stream("test", seed), level=level)


def test_seeds_and_patients_are_both_drawn_anew(monkeypatch):
    """Normal theory: half width 1.96 sd / sqrt(n), with the plug-in variance."""
    monkeypatch.setattr(fairness, "RESAMPLES", 4000)
    random = np.random.default_rng(0)
    seed, patient = random.normal(20, 1, (12, 1)), random.normal(20, 2, 40)
    for values, variance in (
        (seed + np.zeros(40), seed.var() / 12),
        (patient + np.zeros((12, 1)), patient.var() / 40),
        (seed + patient, seed.var() / 12 + patient.var() / 40),
    ):
        low, high = interval(values)
        assert (high - low) / 2 == pytest.approx(1.96 * variance**0.5, rel=0.06)
        assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.1)
        narrow = interval(values, level=0.5)
        assert low < narrow[0] < narrow[1] < high


def test_one_seed_or_one_patient_gives_no_limits():
    assert np.isnan(interval(np.ones((1, 20)))).all()
    assert np.isnan(interval(np.ones((5, 1)))).all()
