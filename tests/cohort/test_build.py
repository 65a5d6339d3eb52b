import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medunlearn.cohort import build as module
from medunlearn.cohort.build import build_cohort, keep
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.patients import SALT
from medunlearn.disk import DiskFullError, write_record
from medunlearn.errors import InputError
from medunlearn.sources import canonical_hash
from tests.conftest import cut_off, filled_disk, flip_a_bit


@pytest.fixture
def folder(lay_out):
    """Twenty patients, a grey image of 20 px each, and their table."""
    return lay_out("table")


@pytest.fixture
def opened(folder, write_manifest, tmp_path):
    """The cohort of the table, built or opened again."""

    def opened(size=16, look_again=False, **changes):
        path = tmp_path / "mine.yaml"
        if changes or not path.exists():
            write_manifest("table", **changes)
        return build_cohort(
            load_manifest(str(path)), folder.parent, folder=tmp_path / "study",
            cache=tmp_path / "cache", image_size=size, max_patients=None, look_again=look_again,
        )  # fmt: skip

    return opened


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the datasets whose rows were read."""
    calls, truly = [], module.read_table
    monkeypatch.setattr(
        module, "read_table", lambda m, root: calls.append(m.name) or truly(m, root)
    )
    return calls


def test_table_and_pixels_are_aligned_and_the_manifest_caps_the_size(folder, opened):
    cohort = opened(size=64, image_size=18)
    assert cohort.pixels.shape == (20, 1, 18, 18)
    assert cohort.table["sample"].tolist() == list(range(20))
    for row in cohort.table.itertuples():
        expected = np.asarray(Image.open(folder / "images" / row.source_image)).mean()
        assert cohort.pixels[row.sample].mean() == pytest.approx(expected, abs=3)


def test_a_cohort_is_opened_again_without_looking_at_its_images(opened, read, monkeypatch):
    first = opened()
    looked, truly = [], Path.stat
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda p, **how: looked.append(p) or truly(p, **how))
        patch.setattr("medunlearn.cohort.cache.hashlib", None)
        second = opened()
    assert len(read) == 1
    assert not [path for path in looked if path.suffix == ".png"]
    assert second.sha256 == first.sha256
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_touched_file_is_read_again_but_makes_nothing_stale(folder, opened, read):
    first = opened()
    (folder / "images/3.png").touch()
    (folder / "table.csv").touch()
    assert opened(look_again=True).sha256 == first.sha256
    assert len(read) == 2


def test_a_changed_image_or_label_is_another_cohort(folder, opened):
    first = opened()
    Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(folder / "images/3.png")
    second = opened(look_again=True)
    assert second.sha256 != first.sha256
    assert opened().sha256 == second.sha256
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("P1,male,41,well", "P1,male,41,sick"))
    assert opened().sha256 != second.sha256


@pytest.mark.parametrize("change", ["joined table", "manifest", "code"])
def test_what_else_decides_a_cohort_is_seen(change, folder, opened, read, monkeypatch):
    other = folder / "notes.csv"
    other.write_text("who,note\n" + "".join(f"P{n},\n" for n in range(20)))
    how = {"joins": [{"table": "notes.csv", "by": "who", "columns": ["note"]}]}
    opened(**how)
    match change:
        case "joined table":
            other.write_text(other.read_text() + "P60,\n")
        case "manifest":
            how["title"] = "Ours"
        case "code":
            monkeypatch.setattr(module, "module_hashes", lambda name: {name: "edited"})
    opened(**how)
    assert len(read) == 2


@pytest.mark.parametrize("source", ["dicom", "files"])
def test_a_file_more_in_a_folder_is_seen_where_files_are_the_rows(
    source, lay_out, write_manifest, build, read
):
    folder, manifest = lay_out(source), write_manifest(source)
    for _ in range(2):
        build(manifest)
    assert len(read) == 1
    image = next(path for path in folder.rglob("*.*") if path.is_file())
    image.with_stem("another").write_bytes(image.read_bytes())
    build(manifest)
    assert len(read) == 2


def test_the_phantom_is_drawn_again_only_if_its_pixels_rotted(tmp_path, monkeypatch):
    manifest = load_manifest("phantom").model_copy(update={"image_size": 16})  # drawn at once

    def phantom():
        return build_cohort(
            manifest, None, folder=tmp_path / "study", cache=tmp_path / "cache",
            image_size=32, max_patients=240, look_again=True,
        )  # fmt: skip

    first = phantom()
    assert {"severity", "conspicuity", "noisy_label", "true_label"} <= set(first.table)
    assert first.table["source_patient"].str.fullmatch(r"p\d{5}").all()  # needs no pseudonyms
    assert not (tmp_path / "cache" / SALT).exists()
    assert set(first.table["true_label"]) <= set(range(4))
    pixels, stat = np.array(first.pixels), first.pixel_file.stat()
    flip_a_bit(first.pixel_file)
    os.utime(first.pixel_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a disk does that rots
    assert (phantom().pixels == pixels).all()
    monkeypatch.setattr(module, "make_phantom", None)
    assert phantom().sha256 == first.sha256


def write_by_another_version(path):
    (pixels,) = path.parents[1].glob("cache/*.npy")
    content = {"pixels": pixels.name, "stamp": "another"}
    write_record(path, {**content, "checksum": canonical_hash(content)})


@pytest.mark.parametrize(
    "harm", [flip_a_bit, cut_off, lambda path: path.unlink(), write_by_another_version]
)
@pytest.mark.parametrize("which", ["study/cohort.parquet", "study/cohort.json", "cache/*.npy"])
def test_a_harmed_file_is_noticed_and_what_it_held_made_again(opened, tmp_path, which, harm):
    first = opened()
    pixels = np.array(first.pixels)
    (path,) = tmp_path.glob(which)
    whole = path.read_bytes()
    harm(path)
    second = opened()
    if which != "study/cohort.json":  # it holds the time of the pixels
        assert path.read_bytes() == whole
    assert second.sha256 == first.sha256
    np.testing.assert_array_equal(second.pixels, pixels)
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_disk_that_fills_up_leaves_nothing_half_written(opened, write_manifest, tmp_path):
    """Wherever it fills up, in the pixels or the table; and the next run goes on."""
    write_manifest("table")
    for limit in (300, 5300):
        with filled_disk(limit), pytest.raises((InputError, DiskFullError), match="free some"):
            opened()
        assert not list(tmp_path.glob("study/*.json"))
        assert not list(tmp_path.rglob("*.partial*"))
    first = opened()
    before = {path.name: path.read_bytes() for path in (tmp_path / "study").iterdir()}
    with filled_disk(1000), pytest.raises(DiskFullError, match="free some space"):
        keep(tmp_path / "study", first.table, first.pixel_file, {})
    assert {path.name: path.read_bytes() for path in (tmp_path / "study").iterdir()} == before
    assert opened().sha256 == first.sha256
