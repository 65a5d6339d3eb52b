from dataclasses import replace

import numpy as np
import pytest

from medunlearn.statistics.simulation import (
    PATIENT_EFFECT,
    Gaps,
    Scenario,
    draw_contrasts,
    grid,
    simulate_gaps,
)

NEAR_ORACLE = Scenario(seeds=200, patients=8000)


def draw(scenario, name=0):
    return simulate_gaps(scenario, np.random.default_rng([2026, name]))


@pytest.mark.parametrize(
    "scenario",
    [
        replace(NEAR_ORACLE, contrast=0.06, seed_sd=0),
        replace(NEAR_ORACLE, contrast=-0.03, most_images=4, seed_sex_sd=0.03),
        replace(NEAR_ORACLE, contrast=0.06, patient_sd=0.2, most_images=4, seed_sex_sd=0.01),
        replace(NEAR_ORACLE, contrast=0.06, disagreement=0.01, women=0.3, seed_sex_sd=0.03),
        replace(NEAR_ORACLE, contrast=0.03, gap=-0.1, disagreement=0.29),
    ],
    ids=["near oracle", "seeds", "patients", "effects beyond disagreement", "damaging"],
)
def test_contrast_and_gap_are_those_asked_for(scenario):
    """Within four standard errors, from the components asked for."""
    for name in range(3):
        women, men = draw(scenario, name).by_patient
        n = scenario.patients * min(scenario.women, 1 - scenario.women)
        chance = 2 * (scenario.patient_sd**2 + scenario.disagreement / scenario.seeds) / n
        error = (chance + scenario.seed_sex_sd**2 / scenario.seeds) ** 0.5
        assert women.mean() - men.mean() == pytest.approx(scenario.contrast, abs=4 * error)
        shared = error + scenario.seed_sd / scenario.seeds**0.5
        assert (women.mean() + men.mean()) / 2 == pytest.approx(scenario.gap, abs=4 * shared)


@pytest.mark.parametrize("patient_sd", [0.0, 0.2])
@pytest.mark.parametrize("disagreement", [0.09, 0.29])
def test_decisions_differ_as_often_as_asked_for(patient_sd, disagreement):
    scenario = replace(NEAR_ORACLE, disagreement=disagreement, patient_sd=patient_sd, contrast=0.03)
    # patients whom every model changes its mind about come and go with the draw of patients
    error = PATIENT_EFFECT * (scenario.changed / scenario.patients) ** 0.5 + 5e-4
    assert np.abs(draw(scenario).values).mean() == pytest.approx(disagreement, abs=3 * error)


@pytest.mark.parametrize("wanted", [0.0, 0.1, 0.2])
def test_patients_spread_as_asked_for(wanted):
    means = np.hstack(draw(replace(NEAR_ORACLE, patient_sd=wanted, seed_sd=0)).by_patient)
    chance = means.var(axis=0, ddof=1).mean() / len(means)
    found = max(means.mean(axis=0).var(ddof=1) - chance, 0) ** 0.5
    assert found == pytest.approx(wanted, abs=0.012)


@pytest.mark.parametrize(("patient_sd", "alike"), [(0.0, 0.0), (0.2, 0.04 / 0.09)])
def test_images_of_a_patient_are_alike_only_through_the_patient(patient_sd, alike):
    gaps = draw(replace(NEAR_ORACLE, most_images=2, patient_sd=patient_sd, seed_sd=0))
    first = (np.cumsum(gaps.images) - gaps.images)[gaps.images == 2]
    found = np.corrcoef(gaps.values[:, first].ravel(), gaps.values[:, first + 1].ravel())[0, 1]
    assert found == pytest.approx(alike, abs=0.04)


@pytest.mark.parametrize(("shared", "own"), [(0.0, 0.0), (0.0, 0.03), (0.03, 0.0), (0.03, 0.01)])
def test_seeds_vary_as_asked_for_in_what_sexes_share_and_in_the_contrast(shared, own):
    scenario = replace(NEAR_ORACLE, seeds=500, seed_sd=shared, seed_sex_sd=own)
    gaps = draw(scenario)
    women, men = (sex.mean(axis=1) for sex in gaps.by_patient)
    chance = scenario.disagreement / scenario.patients
    both = ((women + men) / 2).std(ddof=1)
    assert both == pytest.approx((shared**2 + chance) ** 0.5, rel=0.12)
    assert (women - men).std(ddof=1) == pytest.approx((own**2 + 4 * chance) ** 0.5, rel=0.12)


def test_patients_weigh_the_same_whatever_their_images():
    values = np.array([[1, 0, 0, 1, -1], [0, 0, 1, -1, -1]], dtype=np.int8)
    gaps = Gaps(values, np.array([3, 1, 1]), women=2)
    women, men = gaps.by_patient
    np.testing.assert_allclose(women, [[1 / 3, 1], [1 / 3, -1]])
    np.testing.assert_allclose(men, [[-1], [-1]])
    first, second = gaps.by_image
    np.testing.assert_allclose(first, [0.5, 0, 0.5, 0])
    np.testing.assert_allclose(second, [-1])


def test_sexes_and_images_are_as_asked_for():
    gaps = draw(replace(NEAR_ORACLE, women=0.3, most_images=4))
    assert gaps.women == 2400
    assert set(np.unique(gaps.values)) == {-1, 0, 1}
    assert np.bincount(gaps.images)[1:] / 8000 == pytest.approx(np.full(4, 0.25), abs=0.02)
    assert gaps.values.shape == (200, gaps.images.sum())
    assert (draw(NEAR_ORACLE).images == 1).all()


def test_what_no_probabilities_could_give_is_refused():
    for effects in ({"patient_sd": 0.3}, {"gap": 0.4, "disagreement": 0.4, "patient_sd": 0.2}):
        with pytest.raises(ValueError, match="that the disagreement and a gap of 1 hold"):
            Scenario(**effects)


def test_the_grid_is_that_of_the_protocol():
    cells = grid(0.03)
    assert len(set(cells)) == len(cells) == 3 * 3 * 2 * 2 * 2 * 3
    assert {cell.seeds for cell in cells} == {8, 16, 20}
    assert {cell.seed_sex_sd for cell in cells} == {0, 0.01, 0.03}
    assert {cell.contrast for cell in cells} == {0, 0.03, 0.06}
    assert {cell.most_images for cell in cells} == {1, 4}
    assert {cell.patient_sd for cell in cells} == {0, 0.2}
    assert {cell.patients for cell in grid(0.03, patients=[20])} == {20}


def test_a_pool_has_exactly_the_contrast_asked_for_whatever_its_patients():
    pool = Scenario(400, 300, contrast=0.03, patient_sd=0.2, seed_sd=0, own_draw=0.5)
    women, men = (sex.mean() for sex in draw(pool).by_patient)
    chance = 2 * (pool.disagreement / 400 / 300) ** 0.5
    assert women - men == pytest.approx(0.03, abs=3 * chance)
    shared = replace(pool, own_draw=0.0)
    by_name = [np.subtract(*(s.mean() for s in draw(shared, k).by_patient)) for k in range(20)]
    assert np.std(by_name) > 5 * chance, "else patients come with chances of their own"


def test_a_seed_draws_its_share_of_either_sex():
    values = np.tile(np.array([1, 1, 0, 0, 0, 0], dtype=np.int8), (200, 1))
    gaps = Gaps(values, np.ones(6, dtype=np.int64), women=4)
    found = draw_contrasts(gaps, 0.5, np.random.default_rng(0))
    assert set(found) == {0.0, 0.5, 1.0}
    assert found.mean() == pytest.approx(0.5, abs=0.08)
