import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medunlearn.cohort.build import finish_table
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.partition import sample_patients, share_out

SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}


def out_of(total: int, **sizes: int) -> dict[str, int]:
    return share_out(pd.Series({k.replace("_", "+"): v for k, v in sizes.items()}), SHARES, total)


def test_parts_with_enough_patients_give_by_the_shares():
    assert out_of(100, train=900, validation=900, test=900) == {
        "train": 50, "validation": 20, "test": 30,
    }  # fmt: skip
    assert out_of(100, train_validation=900, test=900) == {"train+validation": 70, "test": 30}


def test_a_small_part_gives_all_it_has_and_the_others_the_rest():
    assert out_of(100, train=9000, validation=9000, test=2) == {
        "train": 70, "validation": 28, "test": 2,
    }  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=3, max_size=3), st.integers(1, 400))
def test_exactly_so_many_are_taken_and_no_part_gives_more_than_it_has(sizes, total):
    parts = dict(zip(("train", "validation", "test"), sizes, strict=True))
    total = min(total, sum(sizes) - 1)
    taken = out_of(total, **parts)
    assert sum(taken.values()) == total
    assert all(0 <= taken[part] <= size for part, size in parts.items())


def rows(write_manifest, **parts: int):
    """A patient with two images for each, parts after each other; and the manifest."""
    words = [word.replace("_", "+") for word, count in parts.items() for _ in range(count)]
    table = pd.DataFrame(
        {"split": words, "source_patient": [f"P{n:04d}" for n in range(len(words))]}
    )
    table["sex"] = ["F", "M"] * (len(words) // 2)
    table["label"] = [n // 2 % 2 for n in range(len(words))]
    table = pd.concat([table, table], ignore_index=True).sort_values("source_patient")
    table = table.assign(source_image=[f"{n}.png" for n in range(len(table))], age=50.0, path="")
    manifest = load_manifest(write_manifest("table", partition=SHARES))
    return table.reset_index(drop=True), manifest


def test_a_capped_dataset_keeps_its_official_split_and_every_part_of_it(write_manifest):
    table, manifest = rows(write_manifest, train=2000, validation=20, test=40)
    capped = sample_patients(table, SHARES, 100, "cohort")
    counts = capped.drop_duplicates("source_patient")["split"].value_counts().to_dict()
    assert counts == {"train": 50, "test": 30, "validation": 20}
    assert len(capped) == 200
    cohort = finish_table(capped, manifest)
    official = capped.set_index("source_image")["split"]
    for image, partition in cohort.set_index("source_image")["partition"].items():
        assert partition.split("_")[0] == official[image]


def test_the_sample_of_a_part_is_stratified_and_the_same_again(write_manifest):
    table, _ = rows(write_manifest, train_validation=400, test=400)
    one, other = (sample_patients(table, SHARES, 100, "cohort") for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    patients = one.drop_duplicates("source_patient")
    counts = patients.groupby(["split", "sex", "label"]).size()
    assert counts["test"].between(7, 8).all()
    assert counts["train+validation"].between(17, 18).all()


@pytest.mark.parametrize("limit", [None, 60, 100])
def test_a_dataset_that_is_small_enough_stays_whole(write_manifest, limit):
    table, _ = rows(write_manifest, train=20, validation=20, test=20)
    pd.testing.assert_frame_equal(sample_patients(table, SHARES, limit, "cohort"), table)
