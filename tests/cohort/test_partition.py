import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.partition import (
    check_partitions,
    patient_table,
    stratified_order,
)
from medunlearn.errors import InputError
from medunlearn.randomness import stream


def test_a_patient_is_described_by_sex_and_rarest_label():
    table = pd.DataFrame(
        {"patient": [7, 7, 3, 3], "sex": ["F", "F", None, None], "label": [0, 1, 0, 0]}
    )
    patients = patient_table(table)
    assert patients.index.tolist() == [3, 7]
    assert patients["rarest"].tolist() == [0, 1]
    assert patients["sex"].isna().tolist() == [True, False]


def test_every_partition_holds_the_sexes_in_proportion(cohort_table):
    patients = cohort_table.drop_duplicates("patient")
    women = patients["sex"].eq("F").groupby(patients["partition"]).mean()
    assert (women - patients["sex"].eq("F").mean()).abs().max() < 0.02


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.5])
def test_every_beginning_of_an_order_is_stratified(cohort_table, share):
    patients = patient_table(cohort_table)
    first = stratified_order(patients, stream("test", 0))[: round(share * len(patients))]
    strata = patients["sex"] + patients["rarest"].astype(str)
    expected = strata.value_counts() * share
    found = strata[first].value_counts().reindex(expected.index, fill_value=0)
    assert (found - expected).abs().max() <= 1


def test_an_order_is_a_permutation_that_its_stream_decides(cohort_table):
    patients = patient_table(cohort_table)
    one, same, other = (stratified_order(patients, stream("test", s)) for s in (0, 0, 1))
    assert sorted(one) == patients.index.tolist()
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_every_patient_of_a_stratum_may_come_first():
    patients = pd.DataFrame({"sex": ["F"] * 4, "rarest": [0] * 4})
    firsts = [stratified_order(patients, stream("test", seed))[0] for seed in range(400)]
    assert np.bincount(firsts, minlength=4).min() > 60


def test_a_class_without_a_patient_in_a_partition_is_refused(cohort_table):
    table = cohort_table[(cohort_table["label"] != 2) | (cohort_table["partition"] == "train")]
    with pytest.raises(InputError) as error:
        check_partitions(table, ("a", "b", "rare"), "cohort test")
    assert len(error.value.faults) == 3
    assert "'rare'" in str(error.value)
    assert "'test'" in str(error.value)
