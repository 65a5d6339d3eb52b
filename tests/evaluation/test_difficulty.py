import numpy as np

from medunlearn.evaluation.difficulty import patient_confidence
from tests.evaluation.conftest import TRAIN, make_references


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
