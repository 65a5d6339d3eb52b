import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from medunlearn.evaluation.audits.agreement import (
    jensen_shannon,
    pair_decisions,
    pair_divergence,
    tug_of_war,
)


def some(random, *shape):
    return random.dirichlet(np.ones(4), shape)


def test_divergence_is_that_of_the_library_in_nats():
    random = np.random.default_rng(0)
    p, q = some(random, 30), some(random, 30)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, axis=1) ** 2)


def test_equal_distributions_do_not_diverge_and_disjoint_ones_by_log_two():
    p, q = np.array([[0.5, 0.5, 0, 0]]), np.array([[0, 0, 0.1, 0.9]])
    assert jensen_shannon(p, p)[0] == 0
    assert jensen_shannon(p, q)[0] == pytest.approx(np.log(2))


def test_pairs_are_ours_by_theirs_and_never_of_one_seed():
    random = np.random.default_rng(1)
    ours, theirs = some(random, 3, 5), some(random, 3, 5)
    found = pair_divergence(ours, theirs)
    assert found[0, 2] == pytest.approx(jensen_shannon(ours[0], theirs[2]))
    equal = pair_decisions(ours, theirs)
    assert list(equal[2, 1]) == list(ours[2].argmax(axis=1) == theirs[1].argmax(axis=1))
    war = tug_of_war(random.random((3, 3)), random.random((3, 3)))
    for pairs in (found, equal, war):
        assert np.isnan(pairs[np.arange(3), np.arange(3)]).all()
        assert np.isfinite(pairs[~np.eye(3, dtype=bool)]).all()


def test_tug_of_war_multiplies_the_agreement_of_accuracies():
    ours, theirs = np.array([[1.0, 0.9, 0.8], [1, 1, 1]]), np.array([[0, 0, 0], [0.9, 0.5, 0.9]])
    found = tug_of_war(ours, theirs)
    assert found[0, 1, 0] == pytest.approx(0.9 * 0.6 * 0.9)
    assert found[1, 0, 0] == 0


def test_a_model_that_has_blown_up_agrees_with_nobody():
    random = np.random.default_rng(2)
    ours, theirs = some(random, 2, 5), some(random, 2, 5)
    ours[0] = np.nan
    for pairs in (pair_decisions(ours, theirs), pair_divergence(ours, theirs)):
        assert np.isnan(pairs[0, 1]).all()
        assert np.isfinite(pairs[1, 0]).all()
