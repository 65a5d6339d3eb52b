from pathlib import Path

import pandas as pd
import pytest
from pydantic import TypeAdapter

from medunlearn.cohort.check import describe_people
from medunlearn.cohort.files import Places, list_files
from medunlearn.cohort.labels import AnyLabel
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.schema import TableManifest
from medunlearn.errors import InputError
from tests.cohort.conftest import read_rows

LGG = "slice_file,patient,gender,age_at_initial_pathologic,tumour_pixels,brain_fraction,slice_index"
ROWS = ["a.png,p1,F,30,0,0.2,1", "b.png,p1,F,30,7,0.9,2", "c.png,p0,M,,0,0.3,3"]


def _manifest(name: str = "lgg_mri", **changes: object) -> TableManifest:
    manifest = load_manifest(name)
    assert isinstance(manifest, TableManifest)
    return manifest.model_copy(update=changes)


def _touch(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def _lay_out_lgg(root: Path, rows: list[str]) -> Path:
    _touch(root / "lgg_mri/images", [row.split(",")[0] for row in rows if "/" not in row])
    (root / "lgg_mri/slices.csv").write_text("\n".join([LGG, *rows, ""]))
    return root / "lgg_mri/slices.csv"


def _faults(manifest: TableManifest, root: Path | None) -> list[str]:
    with pytest.raises(InputError) as error:
        read_rows(manifest, root)
    return error.value.faults


def test_rows_become_a_table_sorted_by_patient_and_image(tmp_path: Path):
    _lay_out_lgg(tmp_path, ROWS)
    cohort = read_rows(_manifest(), tmp_path)
    assert cohort["source_image"].tolist() == ["c.png", "a.png", "b.png"]
    assert cohort["source_patient"].tolist() == ["p0", "p1", "p1"]
    assert cohort["sex"].tolist() == ["M", "F", "F"]
    assert cohort["label"].tolist() == [0, 0, 1]
    assert cohort["age"].fillna(-1).tolist() == [-1, 30, 30]
    assert all(Path(path).is_file() for path in cohort["path"])


def test_filters_leave_rows_out_before_they_are_checked(tmp_path: Path):
    _lay_out_lgg(tmp_path, [*ROWS, "d.png,p1,?,?,?,0.15,3"])
    assert len(read_rows(_manifest(), tmp_path)) == 3
    rule = {"column": "slice_index", "rule": "one_of", "value": ("1", "2")}
    fields = _manifest().model_dump() | {"filters": [rule]}
    assert len(read_rows(TableManifest.model_validate(fields), tmp_path)) == 2


def test_what_is_not_there_is_named_with_what_was_expected(tmp_path: Path):
    manifest = _manifest("nih_chestxray14")
    (fault,) = _faults(manifest, None)
    assert "DATA=" in fault
    assert manifest.how_to_get in fault
    assert "nowhere" in _faults(manifest, tmp_path / "nowhere")[0]
    assert "nih_chestxray14_64px" in _faults(manifest, tmp_path)[0]
    (tmp_path / "nih_chestxray14").mkdir()
    table, images = _faults(manifest, tmp_path)
    assert "Data_Entry_2017_v2020.csv" in table
    assert "images_*/images" in images


def test_all_faults_of_the_rows_are_named_at_once_with_row_and_value(tmp_path: Path):
    bad = {
        "x.png,p2,f,30,0,0.9,1": "f",
        "y.png,p2,F,058Y,0,0.9,1": "058Y",
        "z.png,,F,30,0,0.9,1": "",
        "a.png,p1,F,30,0,0.9,1": "a.png",
        "../b.png,p2,F,30,0,0.9,1": "../b.png",
        ",p2,F,30,0,0.9,1": "",
        "u.png,p2,F,inf,0,0.9,1": "inf",
        "v.png,p2,F,30,many,0.9,1": "many",
    }
    _lay_out_lgg(tmp_path, [*ROWS, "", *bad])  # an empty line counts as in a spreadsheet
    faults = _faults(_manifest(), tmp_path)
    for row, value in enumerate(bad.values(), start=6):
        told = [fault for fault in faults if f"row {row}: given " in fault]
        assert len(told) == 1, (row, faults)
        assert f"{value}'" in told[0]
    assert len(faults) == len(bad)
    assert all("slices.csv" in fault for fault in faults)


def test_a_long_list_of_equal_faults_is_cut_short(tmp_path: Path):
    _lay_out_lgg(tmp_path, [f"{i}.png,p{i},?,30,0,0.9,1" for i in range(25)])
    faults = _faults(_manifest(), tmp_path)
    assert len(faults) == 11
    assert "15 more" in faults[-1]


@pytest.mark.parametrize(
    "what", ["lgg_mri", "lgg_mri/images", "lgg_mri/slices.csv", "lgg_mri/images/c.png"]
)
def test_links_out_of_the_data_root_are_refused_and_links_within_are_not(tmp_path: Path, what: str):
    root = tmp_path / "root"
    images = _lay_out_lgg(root, ROWS).parent / "images"
    (images / "b.png").rename(images / "within.png")
    (images / "b.png").symlink_to("within.png")
    assert len(read_rows(_manifest(), root)) == 3
    (root / what).rename(tmp_path / "elsewhere")
    (root / what).symlink_to(tmp_path / "elsewhere")
    assert "link out of" in _faults(_manifest(), root)[0]


def test_an_image_in_two_folders_is_taken_from_the_first(tmp_path: Path):
    folder = _lay_out_lgg(tmp_path, ROWS).parent
    (folder / "images/b.png").unlink()
    _touch(folder / "part_2", ["a.png", "b.png"])
    paths = read_rows(_manifest(images=("images", "part_*")), tmp_path)["path"]
    assert [Path(path).parent.name for path in paths] == ["images", "images", "part_2"]


def test_a_listed_file_in_two_folders_is_that_of_the_first_and_a_broken_link_is_none(tmp_path):
    folders = [tmp_path / "later", tmp_path / "earlier"]
    for folder in folders:
        _touch(folder, ["a.png", "b.png"])
    (folders[0] / "b.png").unlink()
    (folders[0] / "c.png").symlink_to(tmp_path / "nowhere.png")
    files, faults = list_files(Places(tmp_path, tmp_path, tmp_path, folders, ""), r"\.png$")
    assert {name: Path(path).parent.name for name, path in files.items()} == {
        "a.png": "later", "b.png": "earlier",
    }  # fmt: skip
    assert faults == []


TWO_SEXES = [
    "a.png,p1,F,30,0,0.2,1",
    "b.png,p1,M,30,0,0.2,1",
    "c.png,p2,F,30,0,0.2,1",
    "d.png,p3,M,30,0,0.2,1",
    "e.png,p3,F,30,0,0.2,1",
    "f.png,p2,,30,0,0.2,1",
]


def test_patients_with_two_sexes_are_a_fault_or_lose_it(tmp_path: Path):
    _lay_out_lgg(tmp_path, TWO_SEXES)
    first, second = _faults(_manifest(), tmp_path)
    assert "'p1' is F in row 2, M in row 3" in first
    assert "'p3' is F in row 6, M in row 5" in second
    assert "conflicting_sex" in first
    cohort = read_rows(_manifest(conflicting_sex=None), tmp_path)
    assert cohort["sex"].tolist() == [None, None, "F", None, None, None]


WAYS = {
    "tabs": lambda text: text.replace(",", "\t"),
    "semicolons at the end too": lambda text: text.replace(",", ";").replace("\n", ";\r\n"),
    "quoted delimiters": lambda text: (
        '"a;quoted;header;of;many;parts;x;y",' + text.replace("\n", "\n,")
    ),
    "BOM": lambda text: "\ufeff" + text,
    "other order": lambda text: "\n".join([text.split()[0], *reversed(text.split()[1:])]),
    "blanks": lambda text: text.replace(",", " , "),
    "old line ends": lambda text: text.replace("\n", "\r"),
    "a header of two lines": lambda text: text.replace(
        "slice_index", '"slice_index","of the\nscan"'
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_way_a_table_is_written_changes_nothing(tmp_path: Path, way: str):
    path = _lay_out_lgg(tmp_path, ROWS)
    before = read_rows(_manifest(), tmp_path)
    path.write_bytes(WAYS[way](path.read_text()).encode())
    pd.testing.assert_frame_equal(read_rows(_manifest(), tmp_path), before)


def test_ids_stay_text_and_folders_may_be_written_as_in_windows(tmp_path: Path):
    path = _lay_out_lgg(tmp_path, ["a.png,007,F,30,0,0.2,1", "deep/er/c.png,7,F,1,0,1,1"])
    _touch(path.parent / "images/deep/er", ["b.png", "c.png"])
    path.write_text(path.read_text() + "deep\\er\\b.png,7,F,30,0,0.2,1")
    cohort = read_rows(_manifest(), tmp_path)
    assert cohort["source_patient"].tolist() == ["007", "7", "7"]
    assert cohort["path"].iloc[2].endswith("images/deep/er/b.png")


def test_words_in_the_column_of_ages_mean_what_the_manifest_says(tmp_path: Path):
    rows = ["a.png,p1,F,90+,0,0.2,1", "b.png,p1,F,unknown,0,0.2,1", "c.png,p1,F,450,0,0.2,1"]
    _lay_out_lgg(tmp_path, rows)
    assert len(_faults(_manifest(), tmp_path)) == 2
    cohort = read_rows(_manifest(ages={"90+": 90, "unknown": None}), tmp_path)
    assert cohort["age"].fillna(-1).tolist() == [90, -1, 450]
    assert describe_people(cohort) == [
        "missing values: sex 0, age 1 of 3 images",
        "WARNING: 1 ages are below 0 or above 120 years (from 450 to 450)",
        "WARNING: all whose sex is known are F: sexes cannot be compared",
    ]


@pytest.mark.parametrize(
    ("rule", "cells", "codes"),
    [
        ({"rule": "values", "mapping": {"x": "yes"}}, ["x", "", "x"], [1, 0, 1]),
        ({"rule": "equals", "value": "-"}, ["-", "", "x"], [0, 0, 1]),
        ({"rule": "threshold", "above": 2}, ["3", "", "1"], [1, 0, 0]),
        ({"rule": "contains", "separator": "|", "value": "x"}, ["a|x", "", "a"], [1, 0, 0]),
    ],
)
def test_an_empty_cell_is_of_the_class_that_the_label_rule_says(rule, cells, codes):
    fields = {"classes": ["no", "yes"], "reference_class": "no", "column": "c"} | rule
    frame, wrong = pd.DataFrame({"c": cells}, dtype="str"), []
    label = TypeAdapter(AnyLabel).validate_python(fields | {"empty": "no"})
    assert label.code(frame, wrong).tolist() == codes
    assert not [cell for given, _ in wrong for cell in given]
    silent = fields | {"mapping": {"x": "yes", "y": "no"}} if "mapping" in rule else fields
    TypeAdapter(AnyLabel).validate_python(silent).code(frame, wrong)
    assert [cell for given, _ in wrong for cell in given] == [""]
