from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from medunlearn.cohort.labels import AnyLabel
from medunlearn.cohort.manifest import TableManifest, load_manifest
from medunlearn.cohort.table import describe_people, read_table
from medunlearn.errors import InputError

HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization"
LGG = "slice_file,patient,gender,age_at_initial_pathologic,tumour_pixels,brain_fraction,slice_index"


def _manifest(name: str, **changes: object) -> TableManifest:
    manifest = load_manifest(name)
    assert isinstance(manifest, TableManifest)
    return manifest.model_copy(update=changes)


def _touch(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def _lay_out_ham(root: Path, rows: list[str], table: str = "HAM10000_metadata.csv") -> None:
    """Rows of lesion, image, dx, age and sex, with the images in the two published folders."""
    cells = [row.split(",") for row in rows]
    lines = [f"{le},{im},{dx},histo,{age},{sex},back" for le, im, dx, age, sex in cells]
    names = [f"{image}.jpg" for _, image, *_ in cells]
    folder = root / "ham10000"
    _touch(folder / "HAM10000_images_part_1", names[::2])
    _touch(folder / "HAM10000_images_part_2", names[1::2])
    (folder / table).write_text("\n".join([HAM, *lines]) + "\n")


def _faults(manifest: TableManifest, root: Path | None) -> list[str]:
    with pytest.raises(InputError) as error:
        read_table(manifest, root)
    return error.value.faults


HAM_ROWS = [
    f"HAM_{i // 2:07d},ISIC_{20 - i:07d},{dx},{age},{sex}"
    for i, (dx, age, sex) in enumerate(
        zip(
            ["nv", "nv", "bkl", "df", "vasc", "mel", "bcc", "akiec", "mel", "nv"] * 2,
            ["45.0", "45.0", "", "80.0", "5.0"] * 4,
            ["male", "male", "female", "female", "unknown", "unknown", "male", "male", "", ""] * 2,
            strict=True,
        )
    )
]


@pytest.mark.parametrize("table", ["HAM10000_metadata.csv", "HAM10000_metadata"])
def test_ham10000_loads_in_its_published_layout(tmp_path: Path, table: str):
    _lay_out_ham(tmp_path, HAM_ROWS, table)
    cohort = read_table(_manifest("ham10000"), tmp_path)
    assert len(cohort) == 20
    # By lesion, then by image: the images were numbered downwards.
    assert cohort["label"].tolist() == [0, 0, 0, 0, 1, 0, 1, 1, 0, 1] * 2
    assert cohort["sex"].tolist()[:6] == ["M", "M", "F", "F", None, None]
    assert cohort["age"].isna().sum() == 4
    assert cohort["source_image"][0] == "ISIC_0000019"
    assert all(Path(path).is_file() for path in cohort["path"])
    assert {Path(path).parent.name for path in cohort["path"]} == {
        "HAM10000_images_part_1",
        "HAM10000_images_part_2",
    }


def _lay_out_lgg(root: Path, rows: list[str]) -> None:
    _touch(root / "lgg_mri/images", [row.split(",")[0] for row in rows if "/" not in row])
    (root / "lgg_mri/slices.csv").write_text("\n".join([LGG, *rows]))


def test_filters_leave_rows_out_before_they_are_checked(tmp_path: Path):
    _lay_out_lgg(
        tmp_path,
        ["a.png,p1,F,30,0,0.2,1", "b.png,p1,F,30,7,0.9,2", "c.png,p1,?,?,?,0.15,3"],
    )
    cohort = read_table(_manifest("lgg_mri"), tmp_path)
    assert cohort["source_image"].tolist() == ["a.png", "b.png"]
    assert cohort["label"].tolist() == [0, 1]


def test_filters_of_text_keep_the_named_values(tmp_path: Path):
    _lay_out_ham(tmp_path, HAM_ROWS)
    rule = {"column": "dx", "rule": "one_of", "value": ("nv", "mel")}
    fields = _manifest("ham10000").model_dump() | {"filters": [rule]}
    cohort = read_table(TableManifest.model_validate(fields), tmp_path)
    assert len(cohort) == 10


def test_no_data_root_says_how_to_get_the_data():
    manifest = _manifest("ham10000")
    (fault,) = _faults(manifest, None)
    assert "DATA=" in fault
    assert manifest.how_to_get in fault


def test_what_is_not_there_is_named_with_what_was_expected(tmp_path: Path):
    manifest = _manifest("nih_chestxray14")
    assert "nowhere" in _faults(manifest, tmp_path / "nowhere")[0]
    assert "nih_chestxray14_64px" in _faults(manifest, tmp_path)[0]
    (tmp_path / "nih_chestxray14").mkdir()
    table, images = _faults(manifest, tmp_path)
    assert "Data_Entry_2017_v2020.csv" in table
    assert "images_*/images" in images


def test_all_faults_of_the_rows_are_named_at_once_with_row_and_value(tmp_path: Path):
    good = [f"HAM_{i:07d},ISIC_{i:07d},nv,40,male" for i in range(3)]
    bad = [
        "HAM_1000001,ISIC_1000001,naevus,40,male",
        "HAM_1000002,ISIC_1000002,nv,40,Male",
        "HAM_1000003,ISIC_1000003,nv,058Y,male",
        ",ISIC_1000004,nv,40,male",
        "HAM_1000005,ISIC_0000000,nv,40,male",
        "HAM_1000006,../ISIC_0000001,nv,40,male",
        "HAM_1000007,,nv,40,male",
        "HAM_1000008,ISIC_1000008,nv,inf,male",
    ]
    _lay_out_ham(tmp_path, good + bad[:6] + bad[7:])
    path = tmp_path / "ham10000/HAM10000_metadata.csv"
    path.write_text(path.read_text() + "\nHAM_1000007,,nv,histo,40,male,back\n")
    faults = _faults(_manifest("ham10000"), tmp_path)
    for row, value in {
        5: "naevus",
        6: "Male",
        7: "058Y",
        8: "",
        9: "ISIC_0000000",
        10: "../ISIC_0000001",
        11: "inf",
        13: "",
    }.items():
        assert sum(f"row {row}: given {value!r}" in fault for fault in faults) == 1, (row, faults)
    assert len(faults) == 8
    assert all("HAM10000_metadata.csv" in fault for fault in faults)


def test_a_long_list_of_equal_faults_is_cut_short(tmp_path: Path):
    _lay_out_ham(tmp_path, [f"HAM_{i},ISIC_{i},?,40,male" for i in range(25)])
    faults = _faults(_manifest("ham10000"), tmp_path)
    assert len(faults) == 11
    assert "15 more" in faults[-1]


def test_links_out_of_the_data_root_are_refused_and_links_within_are_not(tmp_path: Path):
    (tmp_path / "secret.png").touch()
    root = tmp_path / "root"
    _lay_out_lgg(root, [f"{name}.png,p1,F,30,0,0.2,1" for name in "abc"])
    images = root / "lgg_mri/images"
    (images / "b.png").unlink()
    (images / "b.png").symlink_to("a.png")
    assert len(read_table(_manifest("lgg_mri"), root)) == 3
    (images / "c.png").unlink()
    (images / "c.png").symlink_to(tmp_path / "secret.png")
    (fault,) = _faults(_manifest("lgg_mri"), root)
    assert "row 4: given 'c.png'; is a link out of" in fault


@pytest.mark.parametrize("what", ["lgg_mri", "lgg_mri/images", "lgg_mri/slices.csv"])
def test_a_folder_or_table_that_is_a_link_out_of_the_data_root_is_refused(
    tmp_path: Path, what: str
):
    root = tmp_path / "root"
    _lay_out_lgg(root, ["a.png,p1,F,30,0,0.2,1"])
    (root / what).rename(tmp_path / "elsewhere")
    (root / what).symlink_to(tmp_path / "elsewhere")
    faults = _faults(_manifest("lgg_mri"), root)
    assert f"{root / what} is a link out of" in faults[0]


def test_an_image_in_two_folders_is_taken_from_the_first(tmp_path: Path):
    _lay_out_ham(tmp_path, HAM_ROWS)
    _touch(tmp_path / "ham10000/HAM10000_images_part_2", ["ISIC_0000020.jpg"])
    _touch(tmp_path / "ham10000/images", ["ISIC_0000019.jpg"])
    paths = read_table(_manifest("ham10000"), tmp_path).set_index("source_image")["path"]
    assert Path(paths["ISIC_0000020"]).parent.name == "HAM10000_images_part_1"
    assert Path(paths["ISIC_0000019"]).parent.name == "images"


TWO_SEXES = [
    "a.png,p1,F,30,0,0.2,1",
    "b.png,p1,M,30,0,0.2,1",
    "c.png,p2,F,30,0,0.2,1",
    "d.png,p3,M,30,0,0.2,1",
    "e.png,p3,F,30,0,0.2,1",
    "f.png,p2,,30,0,0.2,1",
]


def test_a_dataset_without_sex_and_age_has_none(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    fields = _manifest("lgg_mri").model_dump() | {"sex": None}
    fields["columns"] = {"image": "slice_file", "patient": "patient"}
    cohort = read_table(TableManifest.model_validate(fields), tmp_path)
    assert cohort["sex"].tolist() == [None]
    assert np.isnan(cohort["age"][0])


def test_rows_are_counted_as_a_spreadsheet_does_past_empty_lines(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1", "", "b.png,p1,X,30,0,0.2,1", ""])
    (fault,) = _faults(_manifest("lgg_mri"), tmp_path)
    assert "row 4: given 'X'" in fault


def test_patients_with_two_sexes_are_a_fault_or_lose_it_or_are_left_out(tmp_path: Path):
    _lay_out_lgg(tmp_path, TWO_SEXES)
    first, second = _faults(_manifest("lgg_mri"), tmp_path)
    assert "'p1' is F in row 2, M in row 3" in first
    assert "'p3' is F in row 6, M in row 5" in second
    assert "conflicting_sex" in first
    cohort = read_table(_manifest("lgg_mri", conflicting_sex="null"), tmp_path)
    assert cohort["sex"].tolist() == [None, None, "F", None, None, None]
    cohort = read_table(_manifest("lgg_mri", conflicting_sex="drop"), tmp_path)
    assert cohort["source_patient"].unique().tolist() == ["p2"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", ";").replace("\n", ";\r\n"),
        lambda text: '"a;quoted;header;of;many;parts;x;y",' + text.replace("\n", "\n,"),
        lambda text: "\ufeff" + text,
        lambda text: "\n".join([text.split("\n")[0], *reversed(text.strip().split("\n")[1:])]),
        lambda text: text.replace(",", " , "),
    ],
    ids=["tabs", "semicolons at the end too", "quoted delimiters", "BOM", "other order", "blanks"],
)
def test_the_way_a_table_is_written_changes_nothing(tmp_path: Path, change):
    _lay_out_ham(tmp_path, HAM_ROWS)
    path = tmp_path / "ham10000/HAM10000_metadata.csv"
    before = read_table(_manifest("ham10000"), tmp_path)
    path.write_bytes(change(path.read_text()).encode())
    pd.testing.assert_frame_equal(read_table(_manifest("ham10000"), tmp_path), before)


def test_ids_stay_text_and_folders_may_be_written_as_in_windows(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,007,F,30,0,0.2,1"])
    _touch(tmp_path / "lgg_mri/images/deep/er", ["b.png", "c.png"])
    path = tmp_path / "lgg_mri/slices.csv"
    path.write_text(
        f"{path.read_text()}\ndeep\\er\\b.png,7,F,30,0,0.2,1\ndeep/er/c.png,7,F,1,0,1,1"
    )
    cohort = read_table(_manifest("lgg_mri"), tmp_path)
    assert cohort["source_patient"].tolist() == ["007", "7", "7"]
    assert cohort["path"].iloc[2].endswith("images/deep/er/b.png")


def test_words_in_the_column_of_ages_mean_what_the_manifest_says(tmp_path: Path):
    rows = ["a.png,p1,F,90+,0,0.2,1", "b.png,p1,F,unknown,0,0.2,1", "c.png,p1,F,450,0,0.2,1"]
    _lay_out_lgg(tmp_path, rows)
    assert len(_faults(_manifest("lgg_mri"), tmp_path)) == 2
    cohort = read_table(_manifest("lgg_mri", ages={"90+": 90, "unknown": None}), tmp_path)
    assert cohort["age"].fillna(-1).tolist() == [90, -1, 450]
    assert describe_people(cohort) == [
        "missing values: sex 0, age 1 of 3 images",
        "WARNING: 1 ages are below 0 or above 120 years (450)",
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
