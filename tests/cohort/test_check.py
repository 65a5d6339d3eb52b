from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.build import gather
from medunlearn.cohort.cache import open_pixels
from medunlearn.cohort.check import count_rows, describe_cohort, describe_oddities
from medunlearn.cohort.manifest import load_manifest
from medunlearn.errors import InputError
from medunlearn.study.status import check


@pytest.fixture
def odd():
    """Eight images: 0 = 1 (one patient), 2 = 3 = 4 (two patients, two partitions), 5 is dark."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 9, 9), dtype=np.uint8)
    pixels[1], pixels[3], pixels[4] = pixels[0], pixels[2], pixels[2]
    pixels[5] = 20
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


def test_missing_values_dark_images_and_copies_are_told(odd):
    title, *lines = describe_cohort(load_manifest("phantom"), *odd)
    assert title.endswith(
        "6 patients, 8 images of 9 px, 1 channel(s): no error found, but 3 warning(s), see below"
    )
    assert lines[-6:] == [
        "missing values: sex 2, age 1 of 8 images",
        "grey range: 0 to 255; of the median image 1 to 254",
        "images that are copies of others: 3",
        "WARNING: 1 of 8 images are dark all over; look at the manifest's intensity, as f",
        "WARNING: 1 sets of copies are of different patients, as c = d = e",
        "WARNING: 1 sets of copies are in different partitions, as c = d = e",
    ]


def test_an_image_that_differs_in_one_value_is_no_copy(odd):
    table, pixels = odd
    pixels[1, 0, 8, 8] ^= 1
    assert "images that are copies of others: 2" in describe_oddities(table, pixels)


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
    files = [{"name": "table.csv", "md5": "0" * 32}]
    manifest = load_manifest(write_manifest("table", distribution=files))
    (folder / "images/7.png").write_text("no image")
    (folder / "images/8.png").unlink()
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("male,43", "m,43"))
    with pytest.raises(InputError) as error:
        gather(manifest, tmp_path / "data", tmp_path / "scratch", 16, None, go_on=True)
    said = "\n".join(error.value.faults)
    assert len(error.value.faults) == 4
    for words in ("0" * 32, "row 5: given 'm'", "8.png", "7.png: its content is no image"):
        assert words in said


def test_partitions_that_cannot_be_made_do_not_hide_broken_images(
    lay_out, write_manifest, tmp_path
):
    for image in (lay_out("table") / "images").iterdir():
        image.write_text("no image")
    manifest = load_manifest(write_manifest("table"))
    with pytest.raises(InputError) as error:
        gather(manifest, tmp_path / "data", tmp_path / "scratch", 16, 4, go_on=True)
    said = "\n".join(error.value.faults)
    assert "has no patient in partition" in said
    assert "png: its content is no image" in said


@pytest.fixture
def look(tmp_path):
    """Checks a dataset for the quick study; gives what is said."""

    def look(dataset: str, data: Path | str = tmp_path / "data") -> list[str]:
        return check(dataset, str(data), "quick", str(tmp_path / "runs"))

    return look


def test_check_tells_counts_oddities_and_estimates(lay_out, write_manifest, look):
    lay_out("table")
    said = "\n".join(look(write_manifest("table")))
    for words in ("no error found\n", "patients", "missing values", "C2 women against men"):
        assert words in said
    assert said.count("WARNING") == said.count("reproduce refuses")  # so few patients, by right


@pytest.mark.parametrize("source", ["table", "dicom", "arrays", "files"])
def test_a_study_finds_the_images_decoded_that_check_has_seen(
    source, lay_out, write_manifest, build, tmp_path, monkeypatch
):
    lay_out(source)
    manifest = write_manifest(source)
    gather(load_manifest(manifest), tmp_path / "data", tmp_path / "cache", 16, None)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("medunlearn.cohort.cache.decode_image", refuse)
    build(manifest, max_patients=18)


def test_a_fault_is_told_once(lay_out, write_manifest, look, tmp_path):
    lay_out("table")
    manifest = write_manifest("table", distribution=[{"name": "table.csv", "md5": "0" * 32}])
    with pytest.raises(InputError) as error:
        look(manifest, tmp_path / "nowhere")
    assert len(error.value.faults) == 1


def test_a_phantom_can_be_checked(tmp_path):
    manifest = load_manifest("phantom").model_copy(update={"image_size": 16})
    table, held = gather(manifest, None, tmp_path / "cache", 16, 250)
    assert "250 patients" in describe_cohort(manifest, table, open_pixels(held.path))[0]
