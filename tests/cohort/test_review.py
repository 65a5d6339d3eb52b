import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medunlearn.cohort.manifest import FOLDER, load_manifest
from medunlearn.cohort.review import count_rows, describe_oddities, examine_cohort
from medunlearn.errors import InputError
from medunlearn.study.status import check


@pytest.fixture
def odd():
    """Eight images: 0 = 1 (one patient), 2 = 3 = 4 (two patients, two partitions), 5 and 6 grey."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 9, 9), dtype=np.uint8)
    pixels[1], pixels[3], pixels[4] = pixels[0], pixels[2], pixels[2]
    pixels[5:7] = 40
    table = pd.DataFrame(
        {
            "source_image": list("abcdefgh"),
            "patient": [0, 0, 1, 2, 2, 3, 4, 5],
            "partition": ["train", "train", "train", "test", "test", "train", "test", "test"],
            "sex": ["F", "F", "M", None, None, "F", "F", "M"],
            "age": [1.0, np.nan, 3, 4, 5, 6, 7, 8],
            "label": [0, 1, 0, 0, 1, 0, 0, 1],
        }
    )
    return table, pixels


def test_missing_values_grey_images_and_duplicates_are_told(odd):
    lines = describe_oddities(*odd)
    assert lines == [
        "missing values: sex 2, age 1 of 8 images",
        "images of one grey: 2 (f, g)",
        "images whose pixels were there before: 3",
        "  sets of the same patient: 1 (a = b)",
        "  sets of different patients: 1 (c = d = e)",
        "  sets across partitions: 1 (c = d = e)",
    ]


def test_an_image_that_differs_in_one_value_is_no_duplicate(odd):
    table, pixels = odd
    pixels[1, 0, 8, 8] ^= 1
    pixels[5, 0, 0, 0] ^= 1
    lines = describe_oddities(table, pixels)
    assert "images of one grey: 1 (g)" in lines
    assert "images whose pixels were there before: 2" in lines


def test_counts_are_of_images_and_patients_by_partition_sex_and_class(odd):
    lines = [line.split() for line in count_rows(odd[0], ("well", "ill")).splitlines()[2:]]
    assert lines == [
        ["train", "F", "2", "1", "2"],
        ["M", "1", "0", "1"],
        ["test", "F", "1", "0", "1"],
        ["M", "0", "1", "1"],
        ["unknown", "1", "1", "1"],
    ]


def test_faults_of_files_rows_and_images_are_told_at_once(lay_out, write_manifest, tmp_path):
    folder = lay_out("table")
    files = [{"name": "table.csv", "sha256": "0" * 64}]
    manifest = load_manifest(write_manifest("table", distribution=files))
    (folder / "images/7.png").write_text("no image")
    (folder / "images/8.png").unlink()
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("male,43", "m,43"))
    with pytest.raises(InputError) as error:
        examine_cohort(manifest, tmp_path / "data", tmp_path / "scratch", 16)
    said = "\n".join(error.value.faults)
    assert len(error.value.faults) == 4
    for words in ("0" * 64, "row 5: given 'm'", "8.png", "7.png: its content is no image"):
        assert words in said


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*")}


@pytest.mark.parametrize("source", ["table", "dicom", "arrays", "files"])
def test_check_tells_counts_oddities_and_estimates_and_changes_nothing(
    source, lay_out, write_manifest, tmp_path
):
    lay_out(source)
    manifest = write_manifest(source)
    before = snapshot(tmp_path)
    said = "\n".join(check(manifest, str(tmp_path / "data"), "quick"))
    assert snapshot(tmp_path) == before
    for words in ("no fault found", "patients", "missing values", "sets across partitions"):
        assert words in said
    for profile in ("quick", "laptop", "full"):
        line = next(line for line in said.splitlines() if line.startswith(profile))
        assert "MiB" in line
        assert line.endswith((" min", " h"))


def test_check_tells_how_an_official_split_is_capped(lay_out, write_manifest, tmp_path):
    lay_out("arrays")
    told = "by the manifest's shares from each part of the official split"
    split = {"column": "split", "mapping": {"train": "train", "val": "validation", "test": "test"}}
    data = str(tmp_path / "data")
    assert told in check(write_manifest("arrays", split=split), data, "quick")[-1]
    assert told not in "".join(check(write_manifest("arrays"), data, "quick"))


def test_a_phantom_can_be_checked(tmp_path):
    path = tmp_path / "small.yaml"
    text = (FOLDER / "phantom.yaml").read_text().replace("name: phantom", "name: small")
    path.write_text(text.replace("patients: 2350", "patients: 250"))
    assert "250 patients" in check(str(path), "", "quick")[0]


REAL = os.environ.get("MEDUNLEARN_DATA", "")


@pytest.mark.skipif(not REAL, reason="MEDUNLEARN_DATA names no folder with real data")
@pytest.mark.parametrize(
    ("name", "count"),
    [("ham10000", "5,948"), ("lgg_mri", "3,295"), ("nih_chestxray14", "1,000")],
)
def test_real_subsets_pass(name: str, count: str):
    assert f"{count} images" in check(name, REAL, "quick")[0]


@pytest.mark.skipif(not REAL, reason="MEDUNLEARN_DATA names no folder with real data")
def test_a_variant_of_a_published_file_is_refused_and_runs_with_a_manifest_of_its_own(
    write_manifest,
):
    with pytest.raises(InputError) as error:
        check("pneumoniamnist", f"{REAL}/medmnist_variant", "quick")
    assert "given md5 3062d8c693378b506564f35a50301b11" in str(error.value)
    assert "expected 28209eda62fecd6e6a2d98b1501bb15f" in str(error.value)
    split = {"column": "split", "mapping": {"train": "train", "val": "validation", "test": "test"}}
    own = write_manifest("arrays", folders="medmnist_variant", arrays="pneumoniamnist.npz",
                         split=split)  # fmt: skip
    assert "3,166 images" in check(own, REAL, "quick")[0]


def test_images_of_sixteen_bits_are_read_with_a_stated_scale_only(
    lay_out, write_manifest, tmp_path
):
    folder = lay_out("table")
    deep = np.full((20, 20), 1000, np.uint16)
    Image.fromarray(deep).save(folder / "images/0.png")
    with pytest.raises(InputError, match="16 bits of unknown scale"):
        check(write_manifest("table"), str(tmp_path / "data"), "quick")
