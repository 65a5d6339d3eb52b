import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.estimands import (
    adjusted_difference,
    age_standardised_difference,
    covariates,
    difference_of_sexes,
)
from tests.evaluation.synthetic import DRAW, make_study


@pytest.fixture
def table():
    """Women have label 1 far more often, and are older."""
    random = np.random.default_rng(0)
    women = np.arange(400) < 200
    label = np.where(women, random.random(400) < 0.8, random.random(400) < 0.2).astype(int)
    return pd.DataFrame(
        {
            "sex": np.where(women, "F", "M"), "rarest": label, "confidence": np.nan,
            "age": random.integers(20, 60, 400) + 20.0 * women,
        }
    )  # fmt: skip


def gaps(table, mean, seeds=4):
    random = np.random.default_rng(1)
    return mean.to_numpy() + 0.05 * random.normal(size=(seeds, len(table)))


def test_patients_of_unknown_sex_do_not_count(table):
    values = gaps(table, 0.2 * table["rarest"])
    more = pd.concat([table, table.assign(sex=None)], ignore_index=True)
    stranger = np.concatenate([values, values + 9], axis=1)
    assert adjusted_difference(more, stranger)[0] == adjusted_difference(table, values)[0]
    assert age_standardised_difference(more, stranger) == age_standardised_difference(table, values)


def test_unknown_ages_cannot_be_standardised(table):
    empty = table.assign(age=np.nan)
    assert age_standardised_difference(empty, gaps(table, table["age"])) is None


def test_covariates_are_in_the_order_of_patient_values():
    study = make_study(seeds=1, floor_seeds=0, test=50, images=2)
    table = covariates(study, DRAW, "forget")
    assert table.index.tolist() == study.subset(DRAW, "forget", "all").patient_ids.tolist()
    ease = study.cohort.drop_duplicates("patient").set_index("patient")["ease"]
    assert (table["confidence"] == ease[table.index]).all()


def test_seeds_that_share_a_draw_are_analysed_together_and_others_each_for_itself(table):
    values = gaps(table, 0.1 * (table["sex"] == "F"), seeds=6)
    shared, names = difference_of_sexes([table] * 6, list(values), ["a"] * 6)
    assert (shared, names) == adjusted_difference(table, values)
    parts = [table.iloc[k::4].reset_index(drop=True) for k in (0, 1, 2, 3, 0, 1)]
    drawn = [values[seed, k::4] for seed, k in enumerate((0, 1, 2, 3, 0, 1))]
    own, names = difference_of_sexes(parts, drawn, list("abcdef"))
    each = [adjusted_difference(t, v[None])[0].estimate for t, v in zip(parts, drawn, strict=True)]
    assert own.estimate == pytest.approx(np.mean(each))
    assert own.standard_error == pytest.approx(np.std(each, ddof=1) / 6**0.5)
    assert (own.df, own.seeds, own.patients, names) == (5, 6, 100, "label")
