import shutil

import pytest
from PIL import Image

from medunlearn.cohort import build as module
from medunlearn.cohort.build import build_cohort
from medunlearn.cohort.manifest import load_manifest


@pytest.fixture
def build(tmp_path, write_manifest):
    def make(source: str, **changes: object):
        return build_cohort(
            load_manifest(write_manifest(source, **changes)), tmp_path / "data",
            folder=tmp_path / "study", cache=tmp_path / "cache", image_size=16, max_patients=None,
        )  # fmt: skip

    return make


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the datasets whose rows were read."""
    calls, truly = [], module.read_table
    monkeypatch.setattr(
        module, "read_table", lambda m, root: calls.append(m.name) or truly(m, root)
    )
    return calls


@pytest.mark.parametrize("source", ["dicom", "files"])
def test_a_study_is_opened_again_without_opening_its_files(source, build, lay_out, read):
    lay_out(source)
    first = build(source)
    assert len(read) == 1
    second = build(source)
    assert len(read) == 1
    assert second.sha256 == first.sha256
    assert second.table.equals(first.table)


@pytest.mark.parametrize("change", ["touch", "remove", "add", "manifest"])
def test_a_change_of_any_file_or_of_the_manifest_is_seen(change, build, lay_out, read):
    folder = lay_out("files")
    build("files")
    image = next((folder / "well").iterdir())
    match change:
        case "touch":
            image.touch()
        case "remove":
            image.unlink()
        case "add":
            shutil.copy(image, folder / "well" / "another.png")
    build("files", **({"conflicting_sex": "drop"} if change == "manifest" else {}))
    assert len(read) == 2


def test_a_changed_mask_is_seen(build, lay_out, read):
    folder = lay_out("files")
    label = {"rule": "threshold", "column": "mask_pixels", "above": 0, "classes": ["no", "yes"],
             "reference_class": "no"}  # fmt: skip
    for image in list(folder.rglob("*.png")):
        shutil.copy(image, image.with_name(f"{image.stem}_mask.png"))
        if image.parent.name == "well":
            Image.new("L", (20, 20)).save(image.with_name(f"{image.stem}_mask.png"))
    how = {"pattern": r"\d\.png$", "mask_suffix": "_mask", "label": label}
    first = build("files", **how)
    mask = next((folder / "well").glob("*_mask.png"))
    shutil.copy(next((folder / "sick").glob("*_mask.png")), mask)
    assert build("files", **how).table["label"].sum() == first.table["label"].sum() + 1
    assert len(read) == 2


def test_rows_of_a_table_are_read_each_time(build, lay_out, read):
    lay_out("table")
    build("table")
    build("table")
    assert len(read) == 2
