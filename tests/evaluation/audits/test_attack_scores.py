import numpy as np
import pytest
from scipy.special import log_expit

from medunlearn.evaluation.audits.answers import Answers
from medunlearn.evaluation.audits.attack_scores import AttackScores
from tests.evaluation.audits.audited import DRAW, Made


@pytest.fixture(scope="module")
def made():
    return Made(seed=1).add_study(seeds=3, references=6)


def read(made):
    models, logits, cohort, draws, _ = made.inputs
    table = models[models["oracle_set"] == "A"]
    rows = dict(zip(table["seed"], table.index, strict=True))
    return AttackScores(Answers(logits, cohort, draws, DRAW), models, draws, rows)


def test_values_are_averaged_over_a_patients_images(made):
    answers = read(made).answers
    subset = answers.part("test")
    values = np.random.default_rng(0).normal(size=(2, len(subset.samples)))
    found = answers.by_patient(values, "test")
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
        same = before.of("rmia", row, 0)[part], after.of("rmia", row, 0)[part]
        other = before.of("rmia", row, 1)[part], after.of("rmia", row, 1)[part]
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
        assert before.of("retain_exposure", 0, 0)[part] == pytest.approx(
            after.of("retain_exposure", 0, 0)[part]
        )
    assert before.unseen.mean(axis=0) == pytest.approx(0.5)


def test_test_patients_are_compared_with_as_many_references_as_retain_patients(made):
    """Only one retain patient's references count, so all test patients take these."""
    scores = read(made)
    first = scores.unseen[:, 0]
    assert first.sum() == 3
    turns = np.flatnonzero(scores.answers.part("test").codes == 0)
    rows = [row for row, out in zip(scores.references, first, strict=True) if out]
    log_p = np.stack([log_expit(scores.answers.confidence(row, "test")) for row in rows])
    expected = np.log(np.exp(log_p).mean(axis=0))[turns]
    assert scores._exposure_means["test"][turns] == pytest.approx(expected)


def test_references_that_diverged_or_whose_draw_is_not_known_are_left_out():
    made = Made(seed=2).add_study(seeds=2, references=4)
    rows = made.models.index[made.models["role"] == "reference"]
    made.logits[rows[0]][:] = np.nan
    made.rows[rows[1]]["draw"] = "half-0.5-seed999"
    scores = read(made)
    assert list(scores.references) == list(rows[2:])
    assert scores.missing("retain_exposure", 0) == ""


def test_what_an_attack_lacks_is_said():
    alone = read(Made(seed=3).add_study(seeds=1, references=0))
    assert "no retrained model of another seed" in alone.missing("rmia", 0)
    assert alone.missing("retain_exposure", 0) == "no reference models"
    assert alone.missing("population", 0) == ""
