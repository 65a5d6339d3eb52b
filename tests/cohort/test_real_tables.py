"""The published tables of four large sets, read in place inside the package torchxrayvision.

The package is test-only and optional: ``pip install --no-deps torchxrayvision``. It is not
imported, and nothing of its tables is copied: the terms of CheXpert forbid redistribution.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from medunlearn.cohort.cells import Wrong, read_csv
from medunlearn.cohort.files import Places
from medunlearn.cohort.forget_sets import draw_forget_set
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.schema import DataManifest
from medunlearn.cohort.table import code_rows, finish_table, join_table, needed_columns

SPEC = find_spec("torchxrayvision")
if SPEC is None or not SPEC.origin:
    pytest.skip("torchxrayvision, which holds the tables, is not there", allow_module_level=True)
DATA = Path(SPEC.origin).parent / "data"


def manifest_of(name: str, **changes: object) -> DataManifest:
    manifest = load_manifest(name)
    assert isinstance(manifest, DataManifest)
    return manifest.model_copy(update=changes)


def read(name: str, file: str, **changes: object) -> pd.DataFrame:
    """All that is done with a table, but for the images, which are not there."""
    manifest, path = manifest_of(name, **changes), DATA / file
    frame = read_csv(path)
    return coded(frame[needed_columns(manifest)], path, manifest)


def coded(frame: pd.DataFrame, path: Path, manifest: DataManifest) -> pd.DataFrame:
    places, no_paths = Places(DATA, DATA, path, [], ""), pd.Series(index=frame.index, dtype="str")
    table, faults = code_rows(frame, manifest, places, no_paths)
    assert faults == []
    return table


def partitioned(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """With partitions, after checking that they part patients."""
    cohort = finish_table(table, manifest_of(name))
    assert cohort.groupby("source_patient")["partition"].nunique().max() == 1
    draw = draw_forget_set(cohort, "random", 0.1, "shared")
    chosen = cohort[cohort["patient"].isin(draw.patients)]
    assert set(chosen["partition"]) == {"train"}
    rest = set(cohort["source_patient"]) - set(chosen["source_patient"])
    assert len(rest) + len(draw.patients) == cohort["source_patient"].nunique()
    return cohort


def sexes(table: pd.DataFrame) -> dict[str, int]:
    return table["sex"].fillna("unknown").value_counts().to_dict()


def test_nih_has_the_published_counts():
    table = read("nih_chestxray14", "Data_Entry_2017_v2020.csv.gz")
    assert len(table) == 112_120
    assert sexes(table) == {"M": 63_340, "F": 48_780}
    assert table["source_patient"].nunique() == 30_805
    assert (table["label"] == 0).sum() == 60_361  # No Finding, as published
    partitioned("nih_chestxray14", table)


def test_chexpert_has_the_published_counts():
    table = read("chexpert", "chexpert_train.csv.gz", filters=())
    assert len(table) == 223_414
    assert sexes(table) == {"M": 132_636, "F": 90_777, "unknown": 1}
    assert table["source_patient"].nunique() == 64_540
    assert table["label"].sum() == 86_187
    partitioned("chexpert", table)


@pytest.mark.parametrize(
    ("policy", "rows", "positive"),
    [("zeros", 191_027, 76_899), ("ones", 191_027, 86_477), ("ignore", 181_449, 76_899)],
)
def test_the_view_filter_and_the_policies_of_chexpert(policy: str, rows: int, positive: int):
    table = read(f"chexpert-{policy}", "chexpert_train.csv.gz")
    assert len(table) == rows
    assert table["label"].sum() == positive


def test_padchest_has_the_published_counts_and_two_sexes_are_none():
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    table = read("padchest", name, filters=())
    assert len(table) == 160_861
    # 12 patients carry two words: 11 of them F and M, whose images lose both, one F and O
    assert sexes(table) == {"M": 80_920 - 27, "F": 79_919 - 21, "unknown": 18 + 4 + 48}
    assert table["source_patient"].nunique() == 67_625
    partitioned("padchest", read("padchest", name))


def test_rsna_has_the_published_counts(tmp_path: Path):
    manifest = manifest_of("rsna_pneumonia")
    path = DATA / "kaggle_stage_2_train_images_dicom_headers.csv.gz"
    needed = ["Filename" if name == "file" else name for name in needed_columns(manifest)]
    frame = read_csv(path, needed).rename(columns={"Filename": "file"})
    labels = pd.read_csv(DATA / "kaggle_stage_2_train_labels.csv.zip", dtype=str)
    labels[["patientId", "Target"]].to_csv(tmp_path / "labels.csv", index=False)
    wrong: list[Wrong] = []
    frame = join_table(frame, manifest.joins[0], tmp_path / "labels.csv", wrong)
    table = coded(frame, path, manifest.model_copy(update={"joins": ()}))
    assert len(table) == table["source_patient"].nunique() == 26_684
    assert sexes(table) == {"M": 15_166, "F": 11_518}
    assert table["label"].sum() == 6_012
    partitioned("rsna_pneumonia", table)
