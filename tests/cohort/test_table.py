import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.manifest import TableManifest, load_manifest
from medunlearn.cohort.table import read_table
from medunlearn.errors import InputError

HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization"
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
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


def test_tab_separated_table_gives_the_same_cohort(tmp_path: Path):
    _lay_out_ham(tmp_path, HAM_ROWS)
    path = tmp_path / "ham10000/HAM10000_metadata.csv"
    from_commas = read_table(_manifest("ham10000"), tmp_path)
    tabbed = path.read_text().replace(",", "\t")
    path.unlink()
    path.with_suffix(".tab").write_text(tabbed)
    pd.testing.assert_frame_equal(read_table(_manifest("ham10000"), tmp_path), from_commas)


@pytest.mark.parametrize("header", [NIH, NIH + ",", NIH.replace("Gender", "Sex")])
@pytest.mark.parametrize("ending", ["", ","])
def test_nih_loads_in_its_published_layout(tmp_path: Path, header: str, ending: str):
    folder = tmp_path / "nih_chestxray14"
    names = [f"{i // 3:08d}_{i % 3:03d}.png" for i in range(20)]
    labels = ["No Finding", "Cardiomegaly|Emphysema", "Hernia", "No Finding"] * 5
    lines = [
        f"{name},{label},0,{i // 3},{57 + i},{'FM'[i // 3 % 2]},PA,2682,2749,0.143,0.143{ending}"
        for i, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    _touch(folder / "images_001/images", names[:12])
    _touch(folder / "images_002/images", names[12:])
    (folder / "Data_Entry_2017_v2020.csv").write_text("\r\n".join([header, *lines]))
    cohort = read_table(_manifest("nih_chestxray14"), tmp_path)
    assert cohort["source_image"].tolist() == names
    assert cohort["label"].tolist() == [0, 1, 1, 0] * 5
    assert cohort["source_patient"].iloc[-1] == "6"
    assert cohort["age"].iloc[0] == 57
    assert cohort["sex"].tolist()[:4] == ["F", "F", "F", "M"]


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


def test_filters_that_leave_nothing_are_a_fault(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.1,1"])
    assert "no row is left" in _faults(_manifest("lgg_mri"), tmp_path)[0]


def test_two_readings_are_equal_whatever_the_order_of_the_rows(tmp_path: Path):
    _lay_out_ham(tmp_path, HAM_ROWS)
    first = read_table(_manifest("ham10000"), tmp_path)
    path = tmp_path / "ham10000/HAM10000_metadata.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(lines)]))
    pd.testing.assert_frame_equal(read_table(_manifest("ham10000"), tmp_path), first)


def test_patient_ids_stay_text(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,007,F,30,0,0.2,1", "b.png,NA,F,30,0,0.2,1"])
    assert read_table(_manifest("lgg_mri"), tmp_path)["source_patient"].tolist() == ["007", "NA"]


def test_blanks_around_an_id_do_not_make_another_patient(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1", "b.png, p1 ,F,30,0,0.2,1"])
    assert read_table(_manifest("lgg_mri"), tmp_path)["source_patient"].tolist() == ["p1"] * 2


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


def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    path = tmp_path / "lgg_mri/slices.csv"
    path.write_text(path.read_text().replace("gender", "geschlecht").replace("patient", "id"))
    faults = _faults(_manifest("lgg_mri"), tmp_path)
    assert len(faults) == 2
    assert all("'geschlecht'" in fault and "'slice_file'" in fault for fault in faults)


def test_a_column_given_twice_is_refused(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    path = tmp_path / "lgg_mri/slices.csv"
    path.write_text(path.read_text().replace("slice_index", "gender"))
    (fault,) = _faults(_manifest("lgg_mri"), tmp_path)
    assert "'gender' is there 2 times" in fault


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


def test_a_missing_image_is_named_with_row_and_path(tmp_path: Path):
    _lay_out_ham(tmp_path, HAM_ROWS)
    (tmp_path / "ham10000/HAM10000_images_part_2/ISIC_0000019.jpg").unlink()
    (fault,) = _faults(_manifest("ham10000"), tmp_path)
    assert "row 3: given '" in fault
    assert str(Path("HAM10000_images_part_1/ISIC_0000019.jpg")) in fault
    assert "HAM10000_images_part_2" in fault


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "C:\\x.png", "..\\x.png"])
def test_a_path_in_the_table_cannot_leave_the_image_folder(tmp_path: Path, name: str):
    (tmp_path / "x.png").touch()
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    path = tmp_path / "lgg_mri/slices.csv"
    path.write_text(path.read_text() + f"\n{name},p1,F,30,0,0.2,1")
    (fault,) = _faults(_manifest("lgg_mri"), tmp_path)
    assert f"row 3: given {name!r}" in fault


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


def test_a_loop_of_links_is_no_image(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    image = tmp_path / "lgg_mri/images/a.png"
    image.unlink()
    image.symlink_to("a.png")
    (fault,) = _faults(_manifest("lgg_mri"), tmp_path)
    assert "no such file" in fault


def test_an_image_in_two_folders_is_taken_from_the_first(tmp_path: Path):
    _lay_out_ham(tmp_path, HAM_ROWS)
    _touch(tmp_path / "ham10000/HAM10000_images_part_2", ["ISIC_0000020.jpg"])
    _touch(tmp_path / "ham10000/images", ["ISIC_0000019.jpg"])
    paths = read_table(_manifest("ham10000"), tmp_path).set_index("source_image")["path"]
    assert Path(paths["ISIC_0000020"]).parent.name == "HAM10000_images_part_1"
    assert Path(paths["ISIC_0000019"]).parent.name == "images"


def test_images_in_folders_named_by_the_table_are_found(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    _touch(tmp_path / "lgg_mri/images/deep/er", ["b.png"])
    path = tmp_path / "lgg_mri/slices.csv"
    path.write_text(path.read_text() + "\ndeep/er/b.png,p2,F,30,0,0.2,1")
    cohort = read_table(_manifest("lgg_mri"), tmp_path)
    assert cohort["path"].iloc[1].endswith("images/deep/er/b.png")


TWO_SEXES = [
    "a.png,p1,F,30,0,0.2,1",
    "b.png,p1,M,30,0,0.2,1",
    "c.png,p2,F,30,0,0.2,1",
    "d.png,p3,M,30,0,0.2,1",
    "e.png,p3,F,30,0,0.2,1",
    "f.png,p2,,30,0,0.2,1",
]


def test_patients_with_two_sexes_are_named_with_both_rows_and_the_remedy(tmp_path: Path):
    _lay_out_lgg(tmp_path, TWO_SEXES)
    first, second = _faults(_manifest("lgg_mri"), tmp_path)
    assert "'p1' is F in row 2, M in row 3" in first
    assert "'p3' is F in row 6, M in row 5" in second
    assert "conflicting_sex" in first


def test_conflicting_sex_null_forgets_the_sex_of_these_patients_only(tmp_path: Path):
    _lay_out_lgg(tmp_path, TWO_SEXES)
    cohort = read_table(_manifest("lgg_mri", conflicting_sex="null"), tmp_path)
    assert cohort["sex"].tolist() == [None, None, "F", None, None, None]


def test_conflicting_sex_drop_leaves_these_patients_out(tmp_path: Path):
    _lay_out_lgg(tmp_path, TWO_SEXES)
    cohort = read_table(_manifest("lgg_mri", conflicting_sex="drop"), tmp_path)
    assert cohort["source_patient"].unique().tolist() == ["p2"]


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


@pytest.mark.parametrize("row", [2, 3])
def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path: Path, row: int):
    rows = ["a.png,p1,F,30,0,0.2,1", "b.png,p1,F,30,0,0.2,1"]
    rows[row - 2] += ",more"
    _lay_out_lgg(tmp_path, rows)
    (fault,) = _faults(_manifest("lgg_mri"), tmp_path)
    assert f"row {row}" in fault


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "missing|times"),
        (f"{LGG}\n".encode(), "no row is left"),
        (f'{LGG}\n"a.png,p1,F'.encode(), "line 2"),
        (f"{LGG}\nM\xfcller.png,p1,F,30,0,0.2,1".encode("latin-1"), "UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, words: str):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    (tmp_path / "lgg_mri/slices.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_table(_manifest("lgg_mri"), tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path):
    _lay_out_lgg(tmp_path, ["a.png,p1,F,30,0,0.2,1"])
    path = tmp_path / "lgg_mri/slices.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_table(_manifest("lgg_mri"), tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "rows", "patients", "female", "positive"),
    [
        ("ham10000", 5948, 5948, 2737, 938),
        ("lgg_mri", 3295, 109, 1708, 1307),
        ("nih_chestxray14", 1000, 264, 509, 501),
    ],
)
def test_real_subsets_have_their_known_counts(
    name: str, rows: int, patients: int, female: int, positive: int
):
    root = os.environ.get("MEDUNLEARN_DATA")
    if not root:
        pytest.skip("MEDUNLEARN_DATA names no folder with real data")
    cohort = read_table(_manifest(name), Path(root))
    assert len(cohort) == rows
    assert cohort["source_patient"].nunique() == patients
    assert (cohort["sex"] == "F").sum() == female
    assert cohort["label"].sum() == positive
