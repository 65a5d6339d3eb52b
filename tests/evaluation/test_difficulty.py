from dataclasses import replace

import numpy as np
import pytest

from medunlearn.cohort.partition import patient_table
from medunlearn.evaluation.difficulty import measure_difficulty, patient_confidence, reliability
from tests.evaluation.conftest import MODELS, TRAIN, make_references


def test_difficulty_is_the_confidence_of_models_that_did_not_see_the_patient():
    """Models that saw a sample are surer of it by 5; nothing of that may come through."""
    references, truth = make_references(0.0, memory=5.0)
    np.testing.assert_allclose(references.confidence(), truth, atol=1e-5)


def test_memorisation_is_how_much_more_often_a_seen_sample_is_right():
    references, truth = make_references(0.0, memory=2.0)
    found = references.memorisation()
    expected = (truth + 2 > 0).astype(float) - (truth > 0)
    np.testing.assert_allclose(found[:TRAIN], expected[:TRAIN])
    assert np.isnan(found[TRAIN:]).all()


def test_a_patient_is_as_difficult_as_its_images_on_average():
    references, truth = make_references(0.0)
    found = patient_confidence(references.confidence(), references.table)
    np.testing.assert_allclose(found, truth.reshape(-1, 2).mean(axis=1), atol=1e-5)
    assert list(found.index) == sorted(set(references.table["patient"]))


def by_patient(references):
    """One row a patient: rarest label, mean confidence, stratum, partition."""
    found = references.table.merge(measure_difficulty(references), on="sample")
    assert (found.groupby("patient")["stratum"].nunique() == 1).all()
    patients = found.groupby("patient").agg(
        confidence=("confidence_out", "mean"),
        stratum=("stratum", "first"),
        partition=("partition", "first"),
    )
    return patients.join(patient_table(references.table)["rarest"])


def test_strata_are_tertiles_of_the_training_patients_of_each_label():
    patients = by_patient(make_references(0.0)[0])
    for _, members in patients[patients["partition"] == "train"].groupby("rarest"):
        counts = members["stratum"].value_counts()
        assert counts.max() - counts.min() <= 1
        ends = members.groupby("stratum")["confidence"].agg(["min", "max"])
        assert ends.loc["hard", "max"] < ends.loc["medium", "min"]
        assert ends.loc["medium", "max"] < ends.loc["easy", "min"]


def test_test_patients_are_cut_where_the_training_patients_are():
    references, _ = make_references(0.0)
    logits = references.logits.copy()
    logits[:, TRAIN:] *= 100  # every test image is far outside
    patients = by_patient(replace(references, logits=logits))
    strata = patients.groupby("partition")["stratum"].agg(set)
    assert strata["test"] == {"easy", "hard"}
    assert strata["train"] == {"easy", "medium", "hard"}


@pytest.mark.parametrize("partition", ["train", "test"])
def test_reliability_is_that_of_all_models_together(partition):
    """Classical test theory: var(truth) / (var(truth) + noise^2 / number of models)."""
    models = MODELS / 2 if partition == "train" else MODELS
    found = [reliability(make_references(2.0, seed=seed)[0], partition) for seed in range(6)]
    assert np.mean(found) == pytest.approx(1 / (1 + 4 / models), abs=0.05)


def test_neither_noise_nor_a_single_pair_of_models_is_reliable():
    assert abs(reliability(make_references(1e4)[0], "test")) < 0.3
    assert np.isnan(reliability(make_references(0.1, models=2)[0], "train"))


def test_a_label_that_few_training_patients_have_is_cut_with_all_of_them():
    """As in a cohort where nearly every patient has a tumour in some slice."""
    references, _ = make_references(0.0)
    table = references.table.copy()
    table["label"] = 0
    test = table.index[table["partition"] == "test"]
    table.loc[test[:6], "label"] = 1  # three patients, none of them in training
    found = measure_difficulty(replace(references, table=table))
    assert set(found.loc[test, "stratum"]) <= {"hard", "medium", "easy"}
