from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation import fairness
from medunlearn.evaluation.fairness import (
    _error,
    bootstrap_gap,
    measure_calibration,
    measure_worst_groups,
)
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.performance import calibration_error, calibration_parts
from medunlearn.randomness import stream
from tests.evaluation.conftest import make_predicted, make_subset
from tests.evaluation.synthetic import TERMS, make_study, pick

PATIENTS, SEEDS = 400, 4


def made(boldness, seed=0):
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
    row = found(made(lambda method, _: 0.95 if method else 0.67)).loc[("finetune", "all")]
    assert row["level"] == pytest.approx(0.95 - 2 / 3, abs=0.04)
    assert row["estimate"] == pytest.approx(0.95 - 2 / 3, abs=0.06)
    assert 0.15 < row["low"] < row["estimate"] < row["high"] < 0.4


def test_a_model_that_is_bold_about_women_alone_differs_between_the_sexes():
    rows = found(made(lambda method, sex: 0.95 if method and sex == "F" else 0.67))
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
    broken = made(lambda *_: 0.67)
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


U = ("unlearned", None, "finetune")
SMALL = {"train": 60, "forget": 20, "test": 400, "methods": ["finetune"]}


def gap(table, method="finetune", quantity="gap"):
    return pick(table, method=method, quantity=quantity, grouping="sex x label")


def hard_for(sex, label, by):
    return lambda cohort: -by * ((cohort["sex"] == sex) & (cohort["label"] == label))


@pytest.fixture(scope="module")
def study():
    """Women of class 1 are hard for all; finetune harms men of class 0."""
    hard = hard_for("F", 1, 4.0)
    harmed = {
        ("original", None, None): hard, ("retrained", "A", None): hard,
        ("retrained", "B", None): hard,
        U: lambda cohort: hard(cohort) + hard_for("M", 0, 9.0)(cohort),
    }  # fmt: skip
    return make_study(5, seeds=4, floor_seeds=4, shift=harmed, **SMALL)


@pytest.fixture(scope="module")
def table(study):
    return measure_worst_groups(study, TERMS)


def test_the_group_is_that_of_set_b_for_all_methods(table):
    chosen = table[table["grouping"] == "sex x label"]
    assert set(chosen["group"]) == {"F 1"}
    assert set(chosen["method"]) == {"finetune", "original", "retrain"}
    assert gap(table).estimate == pytest.approx(0, abs=0.05)
    assert set(table.loc[table["method"] == "retrain", "quantity"]) == {"level"}


def test_levels_are_accuracies_of_the_group(study, table):
    where = "partition == 'test' and sex == 'F' and label == 1"
    inside = study.cohort.query(where)
    rows = study.models.index[study.models["method"] == "finetune"]
    right = study.logits[rows][:, inside["sample"]].argmax(axis=2) == inside["label"].to_numpy()
    level = gap(table, quantity="level")
    assert level.estimate == pytest.approx(right.mean())
    assert (level.patients, level.seeds) == (len(inside), 4)


def test_groups_of_few_patients_are_left_out(study, table):
    sizes = table.groupby("grouping")["patients"].min()
    assert (sizes >= TERMS.verdict_patients).all()
    assert set(sizes.index) == {"sex x label", "sex x label x difficulty"}
    crossed = table.loc[table["grouping"] == "sex x label x difficulty", "group"]
    assert crossed.str.fullmatch("[FM] [012] (easy|medium|hard)").all()
    many = measure_worst_groups(study, replace(TERMS, verdict_patients=390))
    assert many["estimate"].isna().all()
    none = r"no two groups left; dropped, fewer than 390 patients: F 0.*"
    assert many["note"].str.fullmatch(none).all()
    some = gap(measure_worst_groups(study, replace(TERMS, verdict_patients=40)))
    assert "dropped, fewer than 40 patients: F 2" in some.note


def test_the_gap_of_a_method_without_effect_is_unbiased():
    """Were the group chosen on the models that the gap is to, the mean would be +2 points."""
    made = make_study(seeds=4, floor_seeds=4, methods=["finetune"], difficulty=False,
                      train=20, forget=10, test=240)  # fmt: skip
    wrong = np.arange(3) != made.cohort["label"].to_numpy()[:, None]
    gaps, itself = [], []
    sets = made.models["oracle_set"]
    for seed in range(30):
        noise = np.random.default_rng(seed).normal(size=(*made.logits.shape[:2], 1))
        logits = wrong * (noise - 0.8).astype(np.float32)  # right with 79 %, whoever it is
        gaps.append(gap(measure_worst_groups(replace(made, logits=logits), TERMS)).estimate)
        logits[sets[sets == "B"].index] = logits[sets[sets == "A"].index]
        itself.append(gap(measure_worst_groups(replace(made, logits=logits), TERMS)).estimate)
    error, worse = (np.std(x, ddof=1) / np.sqrt(len(x)) for x in (gaps, itself))
    assert abs(np.mean(gaps)) < 3 * error
    assert np.mean(itself) > 3 * worse  # there is something to be avoided here


def test_a_choice_needs_models_and_groups():
    assert measure_worst_groups(make_study(seeds=2, floor_seeds=0, **SMALL), TERMS).empty
    assert measure_worst_groups(make_study(sexes=[None], seeds=2, **SMALL), TERMS).empty


def test_models_that_have_blown_up_do_not_choose():
    made = make_study(5, seeds=3, floor_seeds=3, **SMALL)
    logits, rows = made.logits.copy(), made.models.index
    logits[rows[made.models["oracle_set"] == "B"][0]] = np.nan
    known = measure_worst_groups(replace(made, logits=logits), TERMS)
    assert np.isfinite(gap(known).estimate)
    logits[rows[made.models["method"] == "finetune"]] = np.nan
    gone = measure_worst_groups(replace(made, logits=logits), TERMS)
    assert gone.loc[gone["method"] == "finetune", "estimate"].isna().all()
