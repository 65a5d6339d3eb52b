import numpy as np
import pytest

from medunlearn.evaluation.audits.answers import Answers
from medunlearn.evaluation.audits.attacks import Attacks
from medunlearn.evaluation.audits.comparisons import Comparison
from medunlearn.evaluation.audits.matching import patient_strata
from tests.evaluation.audits.audited import DRAW, Made


@pytest.fixture(scope="module")
def made():
    return Made(seed=1).add_study(seeds=3, references=6)


def read(made):
    models, logits, cohort, draws, difficulty = made.inputs
    table = models[models["oracle_set"] == "A"]
    rows = dict(zip(table["seed"], table.index, strict=True))
    answers = Answers(logits, cohort, draws, DRAW)
    return Attacks(answers, patient_strata(cohort, difficulty), rows, 0.95)


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
        same = before.scores("rmia", row, 0)[part], after.scores("rmia", row, 0)[part]
        other = before.scores("rmia", row, 1)[part], after.scores("rmia", row, 1)[part]
        assert same[0] == pytest.approx(same[1])
        assert np.abs(other[0] - other[1]).max() > 0.01


def test_scores_that_differ_by_rounding_error_are_ties(made):
    """Sums in another order, as on another processor, may not order patients."""
    before, shifted = read(made), Made(seed=1).add_study(seeds=3, references=0)
    after = read(shifted)
    after.answers.by_patient = lambda values, part: Answers.by_patient(
        after.answers, values * (1 + 4e-16), part
    )
    for part in (0, 1):
        for attack in ("population", "rmia"):
            one, other = (each.scores(attack, 0, 0)[part] for each in (before, after))
            assert np.array_equal(np.argsort(one, kind="stable"), np.argsort(other, kind="stable"))


def test_what_an_attack_lacks_is_said():
    alone = read(Made(seed=3).add_study(seeds=1, references=0))
    one = Comparison("original", "retrained", (0,), (0,), (1,), (1,))
    notes = {finding.audit: finding.note for finding in alone.findings(one)}
    assert "no retrained model of another seed" in notes["rmia"]
    assert "matched" in notes["population"]
