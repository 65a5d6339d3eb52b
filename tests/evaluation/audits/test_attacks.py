import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.audits.attacks import Attacks
from medunlearn.evaluation.yardsticks import Comparison
from tests.evaluation.audits.audited import DRAW, Made


def attack(made):
    table = made.models[made.models["oracle_set"] == "A"]
    rows = dict(zip(table["seed"], table.index, strict=True))
    return Attacks(made.measured(), DRAW, rows)


def test_the_models_own_seed_is_never_referred_to():
    """Another retrained model of seed 0 changes what is said of seeds 1 and 2 only."""
    before, changed = (Made(seed=1).add_study(seeds=3, references=6) for _ in range(2))
    own = int(changed.models.index[changed.models["oracle_set"] == "A"][0])
    changed.logits[own] = changed.logits[own] + np.array([3, 0, 0], dtype=np.float32)
    one, other = attack(before), attack(changed)
    for side in ("forget", "test"):
        pd.testing.assert_series_equal(
            one.scores("rmia", 0, 0)[side], other.scores("rmia", 0, 0)[side]
        )
        assert (
            one.scores("rmia", 0, 1)[side] - other.scores("rmia", 0, 1)[side]
        ).abs().max() > 0.01


def test_scores_that_differ_by_rounding_error_are_ties():
    """Sums in another order, as on another processor, may not order patients."""
    one, other = (attack(Made(seed=1).add_study(seeds=3, references=0)) for _ in range(2))
    known = other.measurements.confidence
    other.measurements.confidence = lambda row: known(row) * (1 + 4e-16)
    for kind in ("population", "rmia"):
        for side in ("forget", "test"):
            ranks = [np.argsort(x.scores(kind, 0, 0)[side], kind="stable") for x in (one, other)]
            assert np.array_equal(*ranks)


def test_what_an_attack_lacks_is_said():
    alone = attack(Made(seed=3).add_study(seeds=1, references=0))
    one = Comparison("original", "retrained", (0,), (0,), (1,), (1,))
    notes = {audit: note for audit, *_, note in alone.findings(one)}
    assert "no retrained model of another seed" in notes["rmia"]
    assert "matched" in notes["population"]


def test_a_score_is_the_mean_over_a_patients_images():
    found = attack(Made(seed=1).add_study(seeds=2, references=0))
    subset = found.measurements.subset(DRAW, "test", "all")
    confidence = found.measurements.confidence(0)[subset.samples]
    for patient in subset.patient_ids[:5]:
        expected = confidence[subset.patients == patient].mean()
        assert found.scores("population", 0, 0)["test"][patient] == pytest.approx(expected)
