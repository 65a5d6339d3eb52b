import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from medunlearn.evaluation.difficulty import References, patient_confidence

MODELS, TRAIN, TEST = 16, 300, 150


def make_references(noise: float, *, memory: float = 0.0, models: int = MODELS, seed: int = 0):
    """Two classes; a sample has a true confidence, models add noise and, if they saw it, memory."""
    rng = np.random.default_rng(seed)
    samples = TRAIN + TEST
    table = pd.DataFrame(
        {
            "sample": np.arange(samples),
            "patient": np.arange(samples) // 2,
            "partition": np.repeat(["train", "test"], [TRAIN, TEST]),
            "label": rng.integers(0, 2, samples),
        }
    )
    halves = [rng.permutation(TRAIN // 2) < TRAIN // 4 for _ in range(models // 2)]
    seen = np.zeros((models, samples), bool)
    for pair, half in enumerate(halves):
        seen[2 * pair, :TRAIN], seen[2 * pair + 1, :TRAIN] = np.repeat([half, ~half], 2, axis=1)
    truth = rng.normal(1, 1, samples)
    confidence = truth + memory * seen + noise * rng.normal(size=(models, samples))
    sign = np.where(table["label"] == 1, 1, -1)
    logits = np.stack([-sign * confidence / 2, sign * confidence / 2], axis=-1)
    return References(logits.astype(np.float32), seen, table), truth


def test_difficulty_is_the_confidence_of_models_that_did_not_see_the_patient():
    """Models that saw a sample are surer of it by 5; nothing of that may come through."""
    references, truth = make_references(0.0, memory=5.0)
    np.testing.assert_allclose(references.difficulty()["confidence_out"], truth, atol=1e-5)


def test_memorisation_is_how_much_more_often_a_seen_sample_is_right():
    references, truth = make_references(0.0, memory=2.0)
    found = references.difficulty()["memorisation"].to_numpy()
    expected = (truth + 2 > 0).astype(float) - (truth > 0)
    np.testing.assert_allclose(found[:TRAIN], expected[:TRAIN])
    assert np.isnan(found[TRAIN:]).all()


def test_strata_are_tertiles_of_the_training_samples_of_each_label():
    references, _ = make_references(0.0)
    table = references.table.merge(references.difficulty(), on="sample")
    train = table[table["partition"] == "train"]
    for _, members in train.groupby("label"):
        counts = members["stratum"].value_counts()
        assert counts.max() - counts.min() <= 1
        tops = members.groupby("stratum")["confidence_out"].agg(["min", "max"])
        assert tops.loc["hard", "max"] < tops.loc["medium", "min"]
        assert tops.loc["medium", "max"] < tops.loc["easy", "min"]


def test_test_samples_are_cut_where_the_training_samples_are():
    references, _ = make_references(0.0)
    logits = references.logits.copy()
    logits[:, TRAIN:] *= 100  # every test image is far outside
    outside = References(logits, references.seen, references.table).difficulty()
    assert set(outside["stratum"][TRAIN:]) == {"easy", "hard"}
    assert set(outside["stratum"][:TRAIN]) == {"easy", "medium", "hard"}


@pytest.mark.parametrize("partition", ["train", "test"])
def test_reliability_is_that_of_all_models_together(partition):
    """Classical test theory: var(truth) / (var(truth) + noise^2 / number of models)."""
    references, _ = make_references(2.0, seed=1)
    models = MODELS / 2 if partition == "train" else MODELS
    assert references.reliability(partition) == pytest.approx(1 / (1 + 4 / models), abs=0.06)


def test_pure_noise_is_not_reliable():
    references, _ = make_references(1e4)
    assert abs(references.reliability("test")) < 0.25


def test_one_pair_of_models_has_no_reliability():
    references, _ = make_references(0.1, models=2)
    assert np.isnan(references.reliability("train"))


def test_a_patient_is_as_difficult_as_its_images_on_average():
    references, truth = make_references(0.0)
    found = patient_confidence(references.difficulty(), references.table)
    np.testing.assert_allclose(found, truth.reshape(-1, 2).mean(axis=1), atol=1e-5)
    assert list(found.index) == sorted(set(references.table["patient"]))


def test_confidence_is_the_log_odds_of_the_label():
    references, truth = make_references(0.0)
    np.testing.assert_allclose(logit(expit(truth)), references.confidence(), atol=1e-4)
