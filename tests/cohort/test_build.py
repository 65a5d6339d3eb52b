import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort import build as module
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


def build(folder, *, size=16, max_patients=None, look_again=False):
    return build_cohort(
        load_manifest(str(folder / "made_up.yaml")),
        folder / "data",
        folder=folder / "study",
        cache=folder / "cache",
        image_size=size,
        max_patients=max_patients,
        look_again=look_again,
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


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the datasets whose rows were read."""
    calls, truly = [], module.read_table
    monkeypatch.setattr(
        module, "read_table", lambda m, root: calls.append(m.name) or truly(m, root)
    )
    return calls


def test_a_cohort_is_opened_again_without_looking_at_its_images(dataset, read, monkeypatch):
    first = build(dataset)
    looked, truly = [], Path.stat
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda p, **how: looked.append(p) or truly(p, **how))
        patch.setattr("medunlearn.cohort.cache.hashlib", None)
        second = build(dataset)
    assert len(read) == 1
    assert not [path for path in looked if path.suffix == ".png"]
    assert second.sha256 == first.sha256
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_touched_file_is_read_again_but_makes_nothing_stale(dataset, read):
    first = build(dataset)
    next((dataset / "data" / "made_up" / "images").iterdir()).touch()
    (dataset / "data" / "made_up" / "table.csv").touch()
    assert build(dataset, look_again=True).sha256 == first.sha256
    assert len(read) == 2


def test_a_changed_image_or_label_is_another_cohort(dataset):
    first = build(dataset)
    images = dataset / "data" / "made_up" / "images"
    Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(images / "p00_0.png")
    second = build(dataset, look_again=True)
    assert second.sha256 != first.sha256
    assert build(dataset).sha256 == second.sha256
    table = images.parent / "table.csv"
    table.write_text(table.read_text().replace("P1,female,41,sick", "P1,female,41,well"))
    assert build(dataset).sha256 != second.sha256


@pytest.mark.parametrize("change", ["joined table", "manifest", "code"])
def test_what_else_decides_a_cohort_is_seen(change, dataset, read, monkeypatch):
    path, other = dataset / "made_up.yaml", dataset / "data" / "made_up" / "ages.csv"
    other.write_text("who,note\n" + "".join(f"P{n},\n" for n in range(60)))
    join = {"table": "ages.csv", "by": "who", "columns": ["note"]}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"joins": [join]}))
    build(dataset)
    match change:
        case "joined table":
            other.write_text(other.read_text() + "P60,\n")
        case "manifest":
            path.write_text(path.read_text().replace("title: Made up", "title: Mine"))
        case "code":
            monkeypatch.setattr(module, "module_hashes", lambda name: {name: "edited"})
    build(dataset)
    assert len(read) == 2


@pytest.mark.parametrize("source", ["dicom", "files"])
def test_a_file_more_in_a_folder_is_seen_where_files_are_the_rows(
    source, lay_out, write_manifest, tmp_path, read
):
    folder = lay_out(source)
    how = {"folder": tmp_path / "study", "cache": tmp_path / "cache", "image_size": 16}
    for _ in range(2):
        build_cohort(
            load_manifest(write_manifest(source)), tmp_path / "data", max_patients=None, **how
        )
    assert len(read) == 1
    image = next(path for path in folder.rglob("*.*") if path.is_file())
    image.with_stem("another").write_bytes(image.read_bytes())
    build_cohort(load_manifest(write_manifest(source)), tmp_path / "data", max_patients=None, **how)
    assert len(read) == 2


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


def test_the_phantom_is_the_same_again_and_drawn_once(tmp_path, monkeypatch):
    def phantom(name, **how):
        return build_cohort(
            load_manifest("phantom"), None, folder=tmp_path / name, cache=tmp_path / "cache",
            image_size=32, max_patients=240, **how,
        )  # fmt: skip

    one, other = phantom("a"), phantom("b")
    assert one.sha256 == other.sha256
    assert {"severity", "conspicuity", "noisy_label", "true_label"} <= set(one.table)
    assert set(one.table["true_label"]) <= set(range(4))
    pixels = np.array(one.pixels)
    stat = one.pixel_file.stat()
    flip_a_bit(one.pixel_file)
    os.utime(one.pixel_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a disk does that rots
    assert (phantom("a", look_again=True).pixels == pixels).all()
    monkeypatch.setattr(module, "make_phantom", None)
    assert phantom("a", look_again=True).sha256 == one.sha256


@pytest.mark.parametrize("harm", [flip_a_bit, cut_off, lambda path: path.unlink()])
@pytest.mark.parametrize("which", ["study/cohort.parquet", "study/cohort.json", "cache/*.npy"])
def test_a_harmed_file_is_noticed_and_what_it_held_made_again(dataset, which, harm):
    first = build(dataset)
    pixels = np.array(first.pixels)
    (path,) = dataset.glob(which)
    whole = path.read_bytes()
    harm(path)
    second = build(dataset)
    if which != "study/cohort.json":  # it holds the time of the pixels
        assert path.read_bytes() == whole
    assert second.sha256 == first.sha256
    np.testing.assert_array_equal(second.pixels, pixels)
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_disk_that_fills_up_leaves_nothing_half_written(dataset):
    """Wherever it fills up; and the next run goes on."""
    for limit in (300, 20_000):
        with filled_disk(limit), pytest.raises((InputError, DiskFullError), match="free some"):
            build(dataset)
        assert not list(dataset.glob("cache/*.npy"))
        assert not list(dataset.glob("*/*.json"))
        assert not list(dataset.rglob("*.partial*"))
    assert build(dataset).pixels.shape == (120, 1, 16, 16)


def test_a_disk_that_fills_up_in_the_table_leaves_that_of_before(dataset):
    first = build(dataset)
    before = {path.name: path.read_bytes() for path in (dataset / "study").iterdir()}
    for limit in (1000, 10):
        with filled_disk(limit), pytest.raises(DiskFullError, match="free some space"):
            keep(dataset / "study", first.table, {"pixels": "other"})
        assert {path.name for path in (dataset / "study").iterdir()} == set(before)
        assert (dataset / "study" / "cohort.json").read_bytes() == before["cohort.json"]
    assert build(dataset).sha256 == first.sha256
