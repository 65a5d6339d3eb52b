import numpy as np
import pytest
from medunlearn.evaluation.audits.attack_scores import Readings

from tests.evaluation.audits.audited import DRAW, Made


@pytest.fixture(scope="module")
def made():
    return Made(seed=1).add_study(seeds=3, references=6)


def read(made):
    models, logits, cohort, draws, _ = made.inputs
    table = models[models["oracle_set"] == "A"]
    rows = dict(zip(table["seed"], table.index, strict=True))
    return Readings(models, logits, cohort, draws, DRAW, rows)


def test_values_are_averaged_over_a_patients_images(made):
    readings = read(made)
    subset = readings.part("test")
    values = np.random.default_rng(0).normal(size=(2, len(subset.samples)))
    found = readings.by_patient(values, "test")
    for k, patient in enumerate(subset.patient_ids):
        assert found[:, k] == pytest.approx(values[:, subset.patients == patient].mean(axis=1))


def test_the_models_own_seed_is_never_referred_to(made):
    """Another retrained model of seed 0 changes what is said of seeds 1 and 2 only."""
    before, row = read(made), 0
    changed = Made(seed=1).add_study(seeds=3, references=6)
    own = int(changed.models.index[changed.models["oracle_set"] == "A"][0])
    changed.logits[own] = changed.logits[own] + np.array([3, 0, 0], dtype=np.float32)
    after = read(changed)
    for part in (0, 1):
        same = before.scores("rmia", row, 0)[part], after.scores("rmia", row, 0)[part]
        other = before.scores("rmia", row, 1)[part], after.scores("rmia", row, 1)[part]
        assert same[0] == pytest.approx(same[1])
        assert np.abs(other[0] - other[1]).max() > 0.01


def test_a_retain_patient_is_compared_with_models_that_did_not_see_it(made):
    """Making models surer of the patients they saw changes nothing of retain exposure."""
    before = read(made)
    changed = Made(seed=1).add_study(seeds=3, references=6)
    references = changed.models[changed.models["role"] == "reference"]
    train = (changed.cohort["partition"] == "train").to_numpy()
    for row, draw in references["draw"].items():
        seen = train & ~changed.inside(changed.draws[draw])
        changed.logits[row][seen, changed.cohort["label"][seen]] += 5
    after = read(changed)
    for part in (0, 1):
        assert before.scores("retain_exposure", 0, 0)[part] == pytest.approx(
            after.scores("retain_exposure", 0, 0)[part]
        )
    assert before.unseen.mean(axis=0) == pytest.approx(0.5)


def test_test_patients_are_compared_with_as_many_references_as_retain_patients(made):
    """Only one retain patient's references count, so all test patients take these."""
    readings = read(made)
    first = readings.unseen[:, 0]
    assert first.sum() == 3
    turns = np.flatnonzero(readings.part("test").codes == 0)
    rows = [row for row, out in zip(readings.references, first, strict=True) if out]
    log_p = np.stack([readings._log_probability(r)[readings.part("test").samples] for r in rows])
    expected = np.log(np.exp(log_p).mean(axis=0))[turns]
    assert readings._exposure_means["test"][turns] == pytest.approx(expected)


def test_references_that_blew_up_or_whose_draw_is_not_known_are_left_out():
    made = Made(seed=2).add_study(seeds=2, references=4)
    rows = made.models.index[made.models["role"] == "reference"]
    made.logits[rows[0]][:] = np.nan
    made.rows[rows[1]]["draw"] = "half-0.5-seed999"
    readings = read(made)
    assert list(readings.references) == list(rows[2:])
    assert readings.missing("retain_exposure", 0) == ""


def test_what_an_attack_lacks_is_said():
    alone = read(Made(seed=3).add_study(seeds=1, references=0))
    assert "no retrained model of another seed" in alone.missing("rmia", 0)
    assert alone.missing("retain_exposure", 0) == "no reference models"
    assert alone.missing("population", 0) == ""
