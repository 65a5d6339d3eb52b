import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.build import build_cohort
from medunlearn.cohort.kept import keep
from medunlearn.cohort.manifest import load_manifest
from medunlearn.disk import DiskFullError
from medunlearn.errors import InputError
from tests.conftest import cut_off, filled_disk, flip_a_bit


@pytest.fixture
def dataset(tmp_path):
    """Sixty patients with two grey images each, on disk with a manifest."""
    images = tmp_path / "data" / "made_up" / "images"
    images.mkdir(parents=True)
    random, rows = np.random.default_rng(0), []
    for patient in range(60):
        for image in range(2):
            name = f"p{patient:02d}_{image}.png"
            pixels = random.integers(0, 255, (20, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(images / name)
            sex = "female" if patient % 2 else "male"
            rows.append((name, f"P{patient}", sex, 40 + patient, "sick" if patient % 3 else "well"))
    table = pd.DataFrame(rows, columns=["file", "who", "sex", "age", "state"])
    table.to_csv(images.parent / "table.csv", index=False)
    manifest = {
        "name": "made_up", "kind": "table", "title": "Made up", "source": "https://example.org",
        "licence": "none", "citation": "none", "how_to_get": "make it",
        "folders": "made_up", "table": "table.csv", "images": "images", "image_suffix": "",
        "columns": {"image": "file", "patient": "who", "sex": "sex", "age": "age"},
        "sex": {"F": "female", "M": "male", "missing": ""}, "conflicting_sex": "error",
        "label": {
            "rule": "values", "column": "state", "classes": ["well", "sick"],
            "reference_class": "well", "mapping": {"well": "well", "sick": "sick"},
        },
        "image_size": 20, "channels": 1, "horizontal_flip": False,
        "partition": {"train": 0.5, "validation": 0.2, "test": 0.3}, "pseudonymise": False,
    }  # fmt: skip
    (tmp_path / "made_up.yaml").write_text(yaml.safe_dump(manifest))
    return tmp_path


def build(folder, *, size=16, max_patients=None):
    return build_cohort(
        load_manifest(str(folder / "made_up.yaml")),
        folder / "data",
        folder=folder / "study",
        cache=folder / "cache",
        image_size=size,
        max_patients=max_patients,
    )


def test_table_and_pixels_are_aligned_and_sized(dataset):
    cohort = build(dataset)
    assert cohort.pixels.shape == (120, 1, 16, 16)
    assert cohort.table["sample"].tolist() == list(range(120))
    assert cohort.table.groupby("patient")["source_patient"].nunique().max() == 1
    row = cohort.table.iloc[7]
    image = Image.open(dataset / "data" / "made_up" / "images" / row["source_image"])
    expected = np.asarray(image).mean()
    assert abs(float(cohort.pixels[7].mean()) - expected) < 3


def test_the_manifest_caps_the_size(dataset):
    assert build(dataset, size=64).pixels.shape[-1] == 20


def test_a_second_build_decodes_nothing(dataset, monkeypatch):
    first = build(dataset)
    monkeypatch.setattr("medunlearn.cohort.build.build_pixels", None)
    second = build(dataset)
    assert second.sha256 == first.sha256
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_touched_file_is_read_again_but_makes_nothing_stale(dataset):
    first = build(dataset)
    next((dataset / "data" / "made_up" / "images").iterdir()).touch()
    assert build(dataset).sha256 == first.sha256


def test_a_changed_image_or_label_is_another_cohort(dataset):
    first = build(dataset)
    images = dataset / "data" / "made_up" / "images"
    Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(images / "p00_0.png")
    second = build(dataset)
    assert second.sha256 != first.sha256
    table = images.parent / "table.csv"
    table.write_text(table.read_text().replace("P1,female,41,sick", "P1,female,41,well"))
    assert build(dataset).sha256 != second.sha256


def test_a_sample_of_patients_is_stratified_and_whole(dataset):
    cohort = build(dataset, max_patients=30)
    assert cohort.table["patient"].nunique() == 30
    assert len(cohort.table) == 60
    assert cohort.table.drop_duplicates("patient")["sex"].eq("F").sum() == 15


def test_a_truncated_image_is_named_and_nothing_is_left(dataset):
    broken = dataset / "data" / "made_up" / "images" / "p03_1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(InputError, match=r"p03_1\.png"):
        build(dataset)
    assert not list((dataset / "study").glob("*")) if (dataset / "study").exists() else True
    assert not list((dataset / "cache").glob("*.npy"))


def test_the_phantom_is_the_same_again(tmp_path):
    def phantom(name):
        return build_cohort(
            load_manifest("phantom"), None, folder=tmp_path / name, cache=tmp_path / "cache",
            image_size=32, max_patients=240,
        )  # fmt: skip

    one, other = phantom("a"), phantom("b")
    assert one.sha256 == other.sha256
    assert {"severity", "conspicuity", "noisy_label", "true_label"} <= set(one.table)
    assert set(one.table["true_label"]) <= set(range(4))


@pytest.mark.parametrize("harm", [flip_a_bit, cut_off, lambda path: path.unlink()])
@pytest.mark.parametrize(
    "which", ["study/cohort.parquet", "study/cohort.json", "cache/*.npy", "cache/*.sha256"]
)
def test_a_harmed_file_is_noticed_and_what_it_held_made_again(dataset, which, harm):
    first = build(dataset)
    pixels = np.array(first.pixels)
    (path,) = dataset.glob(which)
    whole = path.read_bytes()
    harm(path)
    second = build(dataset)
    assert path.read_bytes() == whole
    assert second.sha256 == first.sha256
    np.testing.assert_array_equal(second.pixels, pixels)
    pd.testing.assert_frame_equal(first.table, second.table)


@pytest.mark.parametrize(
    ("size", "limit", "missing"),
    [(16, 300, "cache/*.hashes"), (16, 20_000, "cache/*.npy")],
)
def test_a_disk_that_fills_up_leaves_nothing_half_written(dataset, size, limit, missing):
    """Wherever it fills up; and the next run goes on."""
    with filled_disk(limit), pytest.raises((InputError, DiskFullError), match="free some space"):
        build(dataset, size=size)
    assert not list(dataset.glob(missing))
    assert not list(dataset.glob("*/*.json"))
    assert not list(dataset.rglob("*.partial*"))
    assert build(dataset, size=size).pixels.shape == (120, 1, size, size)


def test_a_disk_that_fills_up_in_the_table_leaves_that_of_before(dataset):
    first = build(dataset)
    before = {path.name: path.read_bytes() for path in (dataset / "study").iterdir()}
    for limit in (1000, 10):
        with filled_disk(limit), pytest.raises(DiskFullError, match="free some space"):
            keep(dataset / "study", first.table, {"pixels": "other"})
        assert {path.name for path in (dataset / "study").iterdir()} == set(before)
        assert (dataset / "study" / "cohort.json").read_bytes() == before["cohort.json"]
    assert build(dataset).sha256 == first.sha256
