"""Orders, partitions and samples of patients, and draws from them, whatever is given."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medunlearn.cohort.forget_sets import development_patients, draw_forget_set
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.partition import (
    PARTITIONS,
    check_partitions,
    partition_patients,
    patient_table,
    sample_patients,
    share_out,
    stratified_order,
)
from medunlearn.cohort.table import finish_table
from medunlearn.errors import InputError
from medunlearn.randomness import stream

few = settings(
    max_examples=40,
    derandomize=True,  # the same examples each time
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
PARTS = ("train", "validation", "test")
SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}


@st.composite
def cohorts(draw: st.DrawFn) -> pd.DataFrame:
    """Patients with 1 to 4 images, sex F, M or unknown, up to four classes of any frequency."""
    patients = draw(st.integers(20, 300))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    owner = np.repeat(np.arange(patients), random.integers(1, 5, patients))
    women, unknown = draw(st.floats(0, 1)), draw(st.floats(0, 0.5))
    sexes = np.where(random.random(patients) < women, "F", "M").astype(object)
    sexes[random.random(patients) < unknown] = None
    weights = random.dirichlet(np.ones(draw(st.integers(1, 4))))
    labels = random.choice(len(weights), len(owner), p=weights)
    return pd.DataFrame({"patient": owner, "sex": sexes[owner], "label": labels})


ANY_SHARES = st.tuples(*[st.floats(0.1, 1)] * 3).map(
    lambda given: dict(zip(PARTS, np.array(given) / sum(given), strict=True))
)

# Orders


def test_a_patient_is_described_by_sex_and_rarest_label():
    table = pd.DataFrame(
        {"patient": [7, 7, 3, 3], "sex": ["F", "F", None, None], "label": [0, 1, 0, 0]}
    )
    patients = patient_table(table)
    assert patients.index.tolist() == [3, 7]
    assert patients["rarest"].tolist() == [0, 1]
    assert patients["sex"].isna().tolist() == [True, False]


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


# Partitions


def test_every_partition_holds_the_sexes_in_proportion(cohort_table):
    patients = cohort_table.drop_duplicates("patient")
    women = patients["sex"].eq("F").groupby(patients["partition"]).mean()
    assert (women - patients["sex"].eq("F").mean()).abs().max() < 0.02


@few
@given(cohorts(), ANY_SHARES, st.integers(0, 5))
def test_every_patient_has_one_partition_of_the_stated_size(cohort, shares, seed):
    patients = patient_table(cohort)
    partition = partition_patients(patients, shares, stream("test", seed))
    assert partition.index.tolist() == patients.index.tolist()
    counts = partition.value_counts().reindex(PARTITIONS, fill_value=0).to_numpy()
    assert counts.sum() == len(patients)
    assert abs(counts[0] - shares["train"] * len(patients)) <= 0.5
    assert abs(counts[1] + counts[2] - shares["validation"] * len(patients)) <= 0.5
    assert 0 <= counts[2] - counts[1] <= 1
    again = partition_patients(patients.copy(), shares, stream("test", seed))
    pd.testing.assert_series_equal(partition, again)


@few
@given(cohorts(), ANY_SHARES, st.data())
def test_the_official_split_is_kept_for_every_patient(cohort, shares, data):
    patients = patient_table(cohort)
    words, count = st.sampled_from([*PARTS, "train+validation"]), len(patients)
    chosen = data.draw(st.lists(words, min_size=count, max_size=count))
    official = pd.Series(chosen, index=patients.index)
    partition = partition_patients(patients, shares, stream("test"), official)
    assert sorted(partition.index) == patients.index.tolist()
    for patient, given_ in partition.items():
        assert given_.split("_")[0] in official[patient]


def test_a_class_without_a_patient_in_a_partition_is_refused(cohort_table):
    table = cohort_table[(cohort_table["label"] != 2) | (cohort_table["partition"] == "train")]
    table = table.assign(source_patient=table["patient"])
    with pytest.raises(InputError) as error:
        check_partitions(table, ("a", "b", "rare"), "cohort test")
    assert len(error.value.faults) == 3
    assert "'rare'" in str(error.value)
    assert "'test'" in str(error.value)


@few
@given(cohorts(), st.floats(0.02, 0.6), st.floats(0.02, 0.6), st.sampled_from(["shared", "seed1"]))
def test_draws_are_nested_of_the_stated_size_and_of_training_patients(cohort, one, other, order):
    shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
    partition = partition_patients(patient_table(cohort), shares, stream("test"))
    cohort = cohort.assign(partition=cohort["patient"].map(partition))
    train = set(partition.index[partition == "train"])
    try:
        small, large = (
            draw_forget_set(cohort, "random", size, order) for size in sorted((one, other))
        )
    except InputError:
        return
    assert set(small.patients) <= set(large.patients) <= train
    assert not set(large.patients) & set(development_patients(cohort))
    assert len(large.patients) == round(max(one, other) * len(train))
    retained = cohort[cohort["patient"].isin(train - set(large.patients))]
    assert set(retained["label"]) == set(cohort.loc[cohort["patient"].isin(train), "label"])
    assert draw_forget_set(cohort, "random", max(one, other), order) == large


# Samples


def out_of(total: int, **sizes: int) -> dict[str, int]:
    return share_out(pd.Series({k.replace("_", "+"): v for k, v in sizes.items()}), SHARES, total)


def test_parts_of_an_official_split_give_by_the_shares_as_far_as_they_have_patients():
    taken = out_of(100, train=900, validation=900, test=900)
    assert taken == {"train": 50, "validation": 20, "test": 30}
    assert out_of(100, train_validation=900, test=900) == {"train+validation": 70, "test": 30}
    taken = out_of(100, train=9000, validation=9000, test=2)
    assert taken == {"train": 70, "validation": 28, "test": 2}


@few
@given(st.lists(st.integers(1, 500), min_size=3, max_size=3), st.integers(1, 400))
def test_exactly_so_many_are_taken_and_no_part_gives_more_than_it_has(sizes, total):
    parts = dict(zip(PARTS, sizes, strict=True))
    total = min(total, sum(sizes) - 1)
    taken = out_of(total, **parts)
    assert sum(taken.values()) == total
    assert all(0 <= taken[part] <= size for part, size in parts.items())


def rows(**parts: int) -> pd.DataFrame:
    """A patient with two images for each, parts after each other."""
    words = [word.replace("_", "+") for word, count in parts.items() for _ in range(count)]
    table = pd.DataFrame(
        {
            "split": words,
            "source_patient": [f"P{n:04d}" for n in range(len(words))],
            "sex": ["F", "M"] * (len(words) // 2),
            "label": [n // 2 % 2 for n in range(len(words))],
        }
    )
    table = pd.concat([table, table]).sort_values("source_patient", ignore_index=True)
    return table.assign(source_image=[f"{n}.png" for n in range(len(table))], age=50.0, path="")


def test_a_capped_dataset_keeps_its_official_split_and_every_part_of_it(write_manifest):
    table = rows(train=2000, validation=20, test=40)
    capped = sample_patients(table, SHARES, 100, "cohort")
    counts = capped.drop_duplicates("source_patient")["split"].value_counts().to_dict()
    assert counts == {"train": 50, "test": 30, "validation": 20}
    assert len(capped) == 200
    cohort = finish_table(capped, load_manifest(write_manifest("table", partition=SHARES)))
    official = capped.set_index("source_image")["split"]
    for image, partition in cohort.set_index("source_image")["partition"].items():
        assert partition.split("_")[0] == official[image]


def test_the_sample_of_a_part_is_stratified_and_the_same_again():
    table = rows(train_validation=400, test=400)
    one, other = (sample_patients(table, SHARES, 100, "cohort") for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    patients = one.drop_duplicates("source_patient")
    counts = patients.groupby(["split", "sex", "label"]).size()
    assert counts["test"].between(7, 8).all()
    assert counts["train+validation"].between(17, 18).all()


@pytest.mark.parametrize("limit", [None, 60, 100])
def test_a_dataset_that_is_small_enough_stays_whole(limit):
    table = rows(train=20, validation=20, test=20)
    pd.testing.assert_frame_equal(sample_patients(table, SHARES, limit, "cohort"), table)
