import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_paired

from medunlearn.statistics.verdicts import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NEGLIGIBLE,
    NOT_ESTIMABLE,
    NOT_TESTED,
    holm_levels,
    judge,
    none_is_biased,
    p_values,
    reachable_margin,
)


def contrast(estimate, standard_error=0.01, **other):
    return {
        "family": "C2",
        "confirmatory": True,
        "estimate": estimate,
        "standard_error": standard_error,
        "df": 10.0,
        "margin": 0.03,
        "refused": "",
    } | other


def judged(*rows):
    return judge(pd.DataFrame(list(rows)))


def test_p_values_are_those_of_the_t_tests_of_statsmodels():
    random = np.random.default_rng(0)
    for shift in (-0.5, -0.1, 0.0, 0.2):
        women, men = random.normal(shift, 1, 30), random.normal(0, 1, 20)
        both = CompareMeans(DescrStatsW(women), DescrStatsW(men))
        difference, equivalence = p_values(
            women.mean() - men.mean(), both.std_meandiff_pooledvar, 48, 0.6
        )
        assert difference == pytest.approx(both.ttest_ind()[1])
        assert equivalence == pytest.approx(both.ttost_ind(-0.6, 0.6)[0])
        own = stats.sem(women)
        assert p_values(women.mean(), own, 29, 0.4)[1] == pytest.approx(
            ttost_paired(women, np.zeros(30), -0.4, 0.4)[0]
        )


@pytest.mark.parametrize("error", [np.nan, 0.0, 1e-17])
def test_without_a_spread_there_is_no_p_value(error):
    assert np.isnan(p_values(0.0, error, 7, 0.03)).all()


@pytest.mark.parametrize("df", [7, 19, 60, 1e5])
def test_the_reachable_margin_gives_the_power_and_little_more_in_simulation(df):
    """400,000 replicates: two Monte Carlo standard errors are .0013."""
    random = np.random.default_rng(1)
    estimate, error = random.normal(size=400_000), np.sqrt(random.chisquare(df, 400_000) / df)
    margin = reachable_margin(1.0, df, power=0.8)
    half = stats.t.isf(0.05, df) * error
    found = (-margin < estimate - half) & (estimate + half < margin)
    assert 0.798 < found.mean() < 0.82


def test_the_reachable_margin_scales_with_the_error_and_needs_one():
    textbook = 0.02 * (1.6449 + 1.2816)  # at a known variance
    assert reachable_margin(0.02, 1e7) == pytest.approx(textbook, rel=1e-4)
    several = reachable_margin([0.01, 0.02, np.nan, 0.0], 7)
    assert several[1] == pytest.approx(2 * several[0])
    assert np.isnan(several[2:]).all()
    assert isinstance(reachable_margin(0.01, 7), float)


@pytest.mark.parametrize("seed", range(3))
def test_a_confirmatory_verdict_and_its_intervals_never_contradict_each_other(seed):
    """300 families of one to six contrasts, from far off to nearly equal."""
    random = np.random.default_rng(seed)
    family = np.repeat(np.arange(300), random.integers(1, 7, 300))
    count = len(family)
    rows = pd.DataFrame([contrast(0.0)] * count).assign(
        family=family,
        estimate=random.normal(0, 0.025, count),
        standard_error=random.choice([0.003, 0.008, 0.02], count),
        df=random.choice([3.0, 7.0, 19.0, 400.0], count),
    )
    found = judge(rows)
    differs = found["verdict"].isin([DIFFERENT, NEGLIGIBLE])
    equals = found["verdict"].isin([EQUIVALENT, NEGLIGIBLE])
    assert 0.2 < differs.mean() < 0.8
    assert 0.2 < equals.mean() < 0.8
    excludes = (found["low"] > 0) | (found["high"] < 0)
    within = (found["equivalence_low"] > -0.03) & (found["equivalence_high"] < 0.03)
    pd.testing.assert_series_equal(differs, excludes, check_names=False)
    pd.testing.assert_series_equal(equals, within, check_names=False)
    # unadjusted ones would
    plain = (found["unadjusted_low"] > 0) | (found["unadjusted_high"] < 0)
    assert (plain & ~differs).any()


def test_an_exploratory_contrast_shows_its_unadjusted_interval():
    found = judged(*[contrast(0.024, 0.01, confirmatory=False)] * 2, contrast(0.0, 0.01)).iloc[0]
    low, high = stats.t.interval(0.95, 10, 0.024, 0.01)
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert (found["unadjusted_low"], found["unadjusted_high"]) == pytest.approx((low, high))


def test_holm_holds_each_contrast_to_the_level_of_its_step():
    levels = holm_levels(np.array([0.02, 0.001, 0.3, 0.03]), 0.06)
    # .001 < .06 / 4; .02 is not below .06 / 3: it and what follows stay there
    assert levels.tolist() == pytest.approx([0.02, 0.015, 0.02, 0.02])
    assert holm_levels(np.array([0.001, 0.002]), 0.05).tolist() == [0.025, 0.05][:2]


@pytest.mark.parametrize(
    ("estimate", "error", "verdict"),
    [
        (0.08, 0.01, DIFFERENT),
        (-0.08, 0.01, DIFFERENT),
        (0.001, 0.01, EQUIVALENT),
        (0.01, 0.002, NEGLIGIBLE),
        (-0.01, 0.002, NEGLIGIBLE),
        (0.02, 0.02, INCONCLUSIVE),
        (0.0, 0.05, INCONCLUSIVE),  # a p-value of 1 alone is never equivalence
        (0.0, np.nan, NOT_ESTIMABLE),
        (0.0, 0.0, NOT_ESTIMABLE),
        (np.nan, np.nan, NOT_TESTED),
    ],
)
def test_each_kind_of_verdict(estimate, error, verdict):
    assert judged(contrast(estimate, error))["verdict"].tolist() == [verdict]


def test_a_refused_contrast_has_neither_p_value_nor_verdict():
    row = judged(contrast(0.0, 0.001, refused="needs 8 seeds")).iloc[0]
    assert row["verdict"] == NOT_TESTED
    assert row.filter(like="p_").isna().all()
    assert row["reachable_margin"] == pytest.approx(reachable_margin(0.001, 10))


def test_without_a_margin_no_equivalence_is_asked():
    found = judged(contrast(0.08, margin=np.nan), contrast(0.0, margin=np.nan))
    assert found["verdict"].tolist() == [DIFFERENT, INCONCLUSIVE]
    assert found["p_equivalence_adjusted"].isna().all()


@pytest.mark.parametrize(
    ("confirmatory", "name", "adjusted"),
    [(True, "Holm", [0.04, 0.03, 0.04]), (False, "Benjamini-Hochberg", [0.03, 0.03, 0.03])],
)
def test_holm_corrects_what_is_confirmatory_and_benjamini_hochberg_what_is_not(
    confirmatory, name, adjusted
):
    """Of .03, .01, .02: Holm steps down by 3, 2, 1; the other multiplies by 3 / rank."""
    errors = 0.05 / stats.t.isf(np.array([0.03, 0.01, 0.02]) / 2, 10)
    rows = [contrast(0.05, e, confirmatory=confirmatory) for e in errors]
    others = [contrast(0.05, confirmatory=not confirmatory), contrast(0.05, family="C4")]
    found = judged(*rows, *others)
    assert found["p_difference_adjusted"][:3].tolist() == pytest.approx(adjusted)
    assert found["p_difference_adjusted"][3:].tolist() == found["p_difference"][3:].tolist()
    assert set(found["correction"][:3]) == {name}


def test_equivalence_is_corrected_apart_from_difference():
    found = judged(contrast(0.08, 0.01), contrast(0.004, 0.01), contrast(0.0, margin=np.nan))
    assert found["p_difference_adjusted"][0] == pytest.approx(3 * found["p_difference"][0])
    # two are asked: the smaller p-value doubles
    assert found["p_equivalence_adjusted"][1] == pytest.approx(2 * found["p_equivalence"][1])


def test_the_correction_decides_the_verdict():
    alone, several = contrast(0.0245, 0.01), [contrast(0.001, 0.01)] * 3
    assert judged(alone)["verdict"][0] == DIFFERENT
    assert judged(alone, *several)["verdict"][0] == INCONCLUSIVE
    close = contrast(0.009, 0.01)
    assert judged(close)["verdict"][0] == EQUIVALENT
    assert judged(close, *several)["verdict"][0] == EQUIVALENT  # the last of Holm's steps
    assert judged(close, *[contrast(0.08, 0.01)] * 3)["verdict"][0] == INCONCLUSIVE


def test_what_was_not_tested_costs_the_others_nothing():
    row = contrast(0.05, 0.017)
    beside = [contrast(0.0, np.nan), contrast(0.05, 0.01, refused="few"), contrast(np.nan)]
    alone, among = judged(row), judged(row, *beside)
    assert among["p_difference_adjusted"][0] == alone["p_difference_adjusted"][0]
    assert among["p_equivalence_adjusted"][0] == alone["p_equivalence_adjusted"][0]


def test_rows_keep_their_order_and_index():
    table = pd.DataFrame([contrast(0.08, family=f) for f in "badc"], index=[3, 3, 1, 0])
    found = judge(table)
    assert found["family"].tolist() == list("badc")
    assert found.index.tolist() == [3, 3, 1, 0]
    assert judge(table.iloc[:0])["verdict"].tolist() == []


def test_no_method_is_biased_only_if_every_single_test_says_so():
    fine = [contrast(0.009, 0.01), contrast(0.0, 0.01)]
    assert none_is_biased(judged(*fine))
    # each unadjusted: Holm would have called the first inconclusive
    assert none_is_biased(judged(*[contrast(0.009, 0.01)] * 5))
    assert not none_is_biased(judged(*fine, contrast(0.02, 0.01)))
    assert not none_is_biased(judged(*fine, contrast(0.0, np.nan)))
    assert not none_is_biased(judged(*fine, contrast(0.0, 0.01, refused="few seeds")))
    assert not none_is_biased(judged(*fine).iloc[:0])


def test_a_margin_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"margin is -0\.03; expected positive, or NaN"):
        judged(contrast(0.0, margin=-0.03))
