from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.results import measure_relearning, measure_results, measure_seeds
from medunlearn.evaluation.subsets import pooled_classes
from tests.evaluation.synthetic import pick


@pytest.fixture(scope="module")
def cohort():
    """300 patients with one image each: 150 train (15 to forget), 50 evaluation, 100 test."""
    random = np.random.default_rng(0)
    parts = ["train"] * 150 + ["validation_evaluation"] * 50 + ["test"] * 100
    return pd.DataFrame(
        {
            "sample": np.arange(300), "patient": np.arange(300), "partition": parts,
            "sex": random.choice(["F", "M"], 300), "label": random.integers(0, 2, 300),
        }
    )  # fmt: skip


DRAWS = {"random-0.1-shared": list(range(15)), "random-0.2-seed0": list(range(30)),
         "random-0.2-seed1": list(range(20, 50))}  # fmt: skip


def answers(cohort, right):
    """Logits that are right on exactly these samples."""
    decided = np.where(right, cohort["label"], 1 - cohort["label"])
    return (4 * np.eye(2)[decided] - 2).astype(np.float32)


def evaluate(cohort, models):
    """Models as (role, oracle_set, method, size, draw, seed, right)."""
    columns = ["role", "oracle_set", "method", "forget_size", "draw", "seed"]
    table = pd.DataFrame([m[:6] for m in models], columns=columns).assign(composition="random")
    logits = np.stack([answers(cohort, m[6]) for m in models])
    return Measurements(table, logits, cohort, DRAWS, reference=0)


@pytest.fixture(scope="module")
def evaluation(cohort):
    """Originals know everything; retrained ones nothing of the forgotten and half of the test."""
    test, number = (cohort["partition"] == "test").to_numpy(), cohort["patient"].to_numpy()
    models = []
    for seed in (0, 1):
        models.append(("original", None, None, None, None, seed, np.full(300, True)))
        for size, draw in ((0.1, "random-0.1-shared"), (0.2, f"random-0.2-seed{seed}")):
            forgotten = np.isin(number, DRAWS[draw])
            honest = ~forgotten & ~(test & (number % 2 == seed))
            models.append(("retrained", "A", None, size, draw, seed, honest))
            partly = honest | (forgotten & (number % 3 == 0))
            models.append(("unlearned", None, "finetune", size, draw, seed, partly))
    for seed in (100, 101):
        fresh = ~np.isin(number, DRAWS["random-0.1-shared"]) & ~(test & (number % 2 == 0))
        models.append(("retrained", "B", None, 0.1, "random-0.1-shared", seed, fresh))
    return evaluate(cohort, models)


@pytest.fixture(scope="module")
def results(evaluation):
    return measure_results(evaluation)


ACCURACY = {"measure": "accuracy", "group": "all", "forget_size": 0.1}


def test_levels_are_of_the_partitions_as_drawn(results):
    for part, level in (("retain", 1), ("forget", 0), ("test", 0.5)):
        row = pick(results, **ACCURACY, method="retrain", partition=part, quantity="level")
        assert row.estimate == pytest.approx(level)
    patients = [
        pick(results, **ACCURACY, method="retrain", partition=p, quantity="level").patients
        for p in ("retain", "forget", "test")
    ]
    assert patients == [135, 15, 100]


def test_a_gap_is_to_the_retrained_model_of_the_same_seed_and_draw(results):
    row = pick(results, **ACCURACY, method="original", partition="forget", quantity="gap")
    assert row.estimate == pytest.approx(1), "doing nothing knows everything"
    for size in (0.1, 0.2):
        where = {**ACCURACY, "forget_size": size, "method": "finetune", "quantity": "gap"}
        forget, test = (pick(results, **where, partition=part) for part in ("forget", "test"))
        assert (forget.estimate, test.estimate) == (pytest.approx(1 / 3, abs=0.01), 0)


def test_draws_of_their_own_are_compared_over_seeds_only(results):
    where = {"measure": "accuracy", "group": "all", "method": "original", "quantity": "gap"}
    own = pick(results, **where, forget_size=0.2, partition="test")
    assert own.df >= 1
    forget = pick(results, **where, forget_size=0.2, partition="forget")
    assert np.isnan(forget.low)  # 1 in both seeds: a ceiling, no interval


def test_women_minus_men_is_the_difference_of_their_gaps(results):
    where = {"measure": "accuracy", "forget_size": 0.1, "method": "finetune", "quantity": "gap",
             "partition": "forget"}  # fmt: skip
    women, men, both = (pick(results, **where, group=g).estimate for g in ("F", "M", "F - M"))
    assert both == pytest.approx(women - men)


def test_a_method_without_its_retrained_models_is_left_out(cohort):
    number = cohort["patient"].to_numpy()
    honest = number >= 15
    models = [
        ("retrained", "A", None, 0.1, "random-0.1-shared", 0, honest),
        ("unlearned", None, "finetune", 0.1, "random-0.1-shared", 0, honest),
        ("unlearned", None, "finetune", 0.1, "random-0.1-shared", 1, honest),
        ("unlearned", None, "salun", 0.1, "random-0.1-shared", 1, honest),
    ]
    found = measure_results(evaluate(cohort, models))
    assert set(found["method"]) == {"retrain", "finetune"}
    assert set(found["seeds"]) == {1}


def test_a_cohort_of_one_sex_or_none_has_no_difference(cohort):
    for sex in ("F", None):
        alone = cohort.assign(sex=pd.Series([sex] * 300, dtype=object))
        honest = (cohort["patient"] >= 15).to_numpy()
        models = [
            ("retrained", "A", None, 0.1, "random-0.1-shared", seed, honest) for seed in (0, 1)
        ]
        groups = set(measure_results(evaluate(alone, models))["group"])
        assert groups == ({"all", "F"} if sex else {"all"})


def test_single_seeds_average_to_the_estimate(evaluation, results):
    seeds = measure_seeds(evaluation, "accuracy")
    where = (seeds["method"] == "finetune") & (seeds["partition"] == "forget")
    mine = seeds[where & (seeds["group"] == "all") & (seeds["forget_size"] == 0.1)]
    row = pick(results, **ACCURACY, method="finetune", partition="forget", quantity="gap")
    assert mine["gap"].mean() == pytest.approx(row.estimate)
    assert sorted(mine["seed"]) == [0, 1]


def test_classes_rare_among_either_sex_are_pooled(cohort):
    rare = cohort.assign(label=np.where(cohort["patient"] == 250, 2, cohort["label"]))
    none = pd.DataFrame(), np.empty((0, 300, 2), np.float32)
    strata = Measurements(*none, rare, DRAWS, 0).subset("", "test", "all").strata
    # one patient alone is no class to average over: the next rarest joins the pool
    assert set(strata) in ({-1, 0}, {-1, 1})
    assert (strata == -1).sum() > 20


def images(**counts):
    """Patients with one image each: women and men by class code."""
    rows = [
        (label, sex) for label, pair in counts.items() for sex, n in pair.items() for _ in range(n)
    ]
    table = pd.DataFrame(rows, columns=["label", "sex"])
    return table.assign(label=table["label"].str[1:].astype(int), patient=np.arange(len(table)))


@pytest.mark.parametrize(
    ("second", "third", "pooled"),
    [((10, 12), None, set()), ((20, 30), (3, 4), {1, 2}), ((6, 30), (5, 14), {1, 2})],
)
def test_rare_classes_are_pooled_until_the_pool_is_not_rare_itself(second, third, pooled):
    counts = {"c0": (50, 50), "c1": second} | ({"c2": third} if third else {})
    table = images(**{code: dict(zip("FM", pair, strict=True)) for code, pair in counts.items()})
    assert pooled_classes([table]) == pooled


def test_all_draws_of_a_cell_pool_the_same_classes():
    common = images(c0={"F": 50, "M": 50}, c1={"F": 20, "M": 30}, c2={"F": 20, "M": 20})
    rare = images(c0={"F": 50, "M": 50}, c1={"F": 20, "M": 30}, c2={"F": 9, "M": 20})
    assert pooled_classes([common]) == set()
    assert pooled_classes([common, rare]) == pooled_classes([rare, common]) == {1, 2}


def test_a_model_that_has_blown_up_has_no_measure_and_does_not_stop_the_others(cohort):
    honest = (cohort["patient"] >= 15).to_numpy()
    models = [("retrained", "A", None, 0.1, "random-0.1-shared", s, honest) for s in (0, 1)]
    models += [("unlearned", None, m, 0.1, "random-0.1-shared", s, honest)
               for m in ("finetune", "sfron") for s in (0, 1)]  # fmt: skip
    made = evaluate(cohort, models)
    logits = made.logits.copy()
    logits[5, 3] = np.nan  # one image is enough
    found = measure_results(Measurements(made.models, logits, cohort, DRAWS, 0))
    assert found.loc[found["method"] == "sfron", "estimate"].isna().all()
    fine = found[(found["method"] == "finetune") & (found["measure"] == "accuracy")]
    assert fine["estimate"].notna().all()


def test_an_ensemble_of_its_own_has_levels_but_no_gap(cohort):
    honest = (cohort["patient"] >= 15).to_numpy()
    models = [("retrained", "A", None, 0.1, "random-0.1-shared", s, honest) for s in (0, 1)]
    models += [("unlearned", None, "sisa", 0.1, "random-0.1-shared", s, honest) for s in (0, 1)]
    made = evaluate(cohort, models)
    found = measure_results(made)
    assert set(found["method"]) == {"sisa", "retrain"}
    assert set(found["quantity"]) == {"level"}  # nor has the yardstick a gap to itself
    seeds = measure_seeds(made, "accuracy")
    assert seeds.loc[seeds["method"] == "sisa", "gap"].isna().all()


def test_relearning_is_the_difference_from_the_retrained_model_by_seed_and_patient(evaluation):
    """What returns is 0.5 in each second patient, of this seed a bit more than of that."""
    models = evaluation.models.assign(model_key=[f"key{row}" for row in evaluation.models.index])
    here = models[models["forget_size"] == 0.1]
    rows = [
        (key, step, patient, 0.3 + 0.5 * ((method == "finetune") & (patient + seed + step) % 2),
         np.nan if seed == 101 else 1.0)
        for key, method, seed in here[["model_key", "method", "seed"]].to_numpy()
        for step in (1, 0) for patient in range(15)
    ]  # fmt: skip
    columns = ["model_key", "step", "patient", "accuracy", "confidence"]
    seen = pd.DataFrame(rows, columns=columns)
    measured = replace(evaluation, models=models)
    found = measure_relearning(measured, seen, 0.1).set_index(["method", "step"])
    row = found.loc["finetune", 1]
    assert row["estimate"] == pytest.approx(0.25, abs=0.02)
    assert (row["seeds"], row["patients"]) == (2, 15)
    assert 0 < row["low"] < row["estimate"] < row["high"]
    assert row["level_estimate"] == pytest.approx(0.3 + row["estimate"])
    assert list(found.loc["finetune"].index) == [0, 1]
    assert np.isnan(found.loc["floor", 1]["estimate"])  # one of its models has diverged
    assert measure_relearning(measured, seen.iloc[:0], 0.1).empty


def test_the_floor_stands_beside_the_middle_size_only(results):
    floor = results[results["method"] == "floor"]
    assert set(floor["forget_size"]) == {0.1}
    row = pick(floor, **ACCURACY, partition="test", quantity="gap")
    assert row.estimate == pytest.approx(0)
    assert np.isfinite(row.low)  # same level, other patients: there is a spread
