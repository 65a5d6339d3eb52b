"""A first manifest: what is guessed, what is left open, and that no guess is silent."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.__main__ import main
from medunlearn.cohort.build import build_cohort
from medunlearn.cohort.first_manifest.columns import (
    guess_age,
    guess_classes,
    guess_patient,
    guess_sex,
    map_split,
    name_classes,
)
from medunlearn.cohort.first_manifest.locate import locate_images
from medunlearn.cohort.first_manifest.propose import new_manifest
from medunlearn.cohort.first_manifest.words import rank
from medunlearn.cohort.manifest import FILL_IN, load_manifest
from medunlearn.cohort.table import read_table
from medunlearn.errors import InputError
from medunlearn.study.status import check

Propose = Callable[..., dict[str, Any]]
COLUMNS = "file;patient;sex;age;diagnosis"


def draw(path: Path, seed: int = 0, shape: tuple[int, ...] = (20, 20), top: int = 256) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if top <= 256 else np.uint16
    Image.fromarray(np.random.default_rng(seed).integers(0, top, shape, dtype=kind)).save(path)


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Forty patients with an image each, and no table yet."""
    for number in range(40):
        draw(tmp_path / f"data/clinic/images/{number:02d}.png", number)
    return tmp_path / "data" / "clinic"


def table(
    clinic: Path,
    header: str = COLUMNS,
    row: str = "{n:02d}.png;P{n};{sex};{age};{state}",
    name: str = "list.csv",
    sexes: tuple[str, str] = ("f", "m"),
    **how: str,
) -> Path:
    """A row for each image."""
    lines = [
        row.format(n=n, sex=sexes[n % 2], age=40 + n, state=("ill", "healthy")[n // 2 % 2])
        for n in range(40)
    ]
    path = clinic / name
    path.write_text("\n".join([header, *lines]) + "\n", **how)
    return path


@pytest.fixture
def propose(tmp_path: Path) -> Propose:
    """Writes a first manifest and gives its fields, with its text as ``text``."""

    def make(folder: Path, table: Path | None = None, name: str = "mine") -> dict[str, Any]:
        path = new_manifest(folder, table, tmp_path / f"{name}.yaml").path
        return yaml.safe_load(path.read_text()) | {"text": path.read_text(), "path": str(path)}

    return make


def test_a_folder_and_a_table_pass_the_check_without_an_edit(clinic, propose, tmp_path):
    made = propose(clinic, table(clinic))
    assert made["columns"] == {
        "image": "file", "patient": "patient", "sex": "sex", "age": "age",
    }  # fmt: skip
    assert made["label"]["classes"] == ["healthy", "ill"]
    assert made["label"]["reference_class"] == "healthy"
    assert made["sex"] == {"F": ["f"], "M": ["m"], "missing": []}
    assert made["images"] == ["images"]
    assert (made["image_size"], made["channels"]) == (20, 1)
    assert made["pseudonymise"]
    told = check(made["path"], str(tmp_path / "data"), "quick")
    assert "40 patients, 40 images" in told[0]
    assert "not stated in the manifest yet: source, licence, citation, how_to_get" in told


def test_every_guess_is_marked_and_told_with_its_alternatives(clinic, tmp_path):
    header = COLUMNS + ";ward;case number"
    lines = table(clinic, header, "{n:02d}.png;P{n};{sex};{age};{state};W{n}x;C{n}")
    text = lines.read_text()
    for number in range(40):
        text = text.replace(f";W{number}x;", f";W{number % 3};")
    lines.write_text(text)
    written = new_manifest(clinic, lines, tmp_path / "mine.yaml")
    manifest = written.path.read_text().replace("\n#   ", " ").replace("\n  #   ", " ")
    for guess in ("'ward'", "'case number'", "40 of 40 rows", "'f' in 20 rows", "'ill' in 20 rows"):
        assert guess in manifest
        assert any(guess in line for line in written.lines)
    guessed = [line for line in manifest.splitlines() if "# guessed" in line]
    assert len(guessed) >= 9
    assert written.lines[-1].endswith(f"DATA={clinic.parent}")
    assert written.data_root == clinic.parent


@pytest.mark.parametrize(
    ("header", "row", "sexes"),
    [
        ("Bild;Patienten-Nr;Geschlecht;Alter;Befund", None, ("weiblich", "männlich")),
        ("Fichier;ID patient;Sexe;Âge;Diagnostic", None, ("Femme", "Homme")),
        ("archivo;paciente;Sexo;edad;diagnóstico", None, ("M", "H")),
        ("ImageFile;SubjectID;Gender;AgeAtScan;Label", None, ("FEMALE", "MALE")),
        ("path;pid;kön;ålder;klasse", "D:\\pics\\{n:02d}.png;P{n};{sex};{age};{state}", ("K", "M")),
        (COLUMNS, "/srv/old/{n:02d}.png;P{n};{sex};{age},5;{state}", ("w", "m")),
        (COLUMNS, "images/{n:02d}.png;P{n};{sex};0{age}Y;{state}", ("F", "M")),
        (COLUMNS, "{n:02d};P{n};{sex};{age} Jahre;{state}", ("Frau", "Mann")),
    ],
)
def test_tables_of_many_tongues_and_ways_become_the_same_cohort(
    clinic, propose, tmp_path, header, row, sexes
):
    path = table(clinic, header, row or "{n:02d}.png;P{n};{sex};{age};{state}", sexes=sexes,
                 encoding="utf-8-sig")  # fmt: skip
    made = propose(clinic, path)
    rows = read_table(load_manifest(made["path"]), tmp_path / "data")
    number = rows["path"].str.extract(r"(\d+)\.png")[0].astype(int)
    assert rows["source_patient"].tolist() == [f"P{n}" for n in number]
    assert rows["sex"].tolist() == ["FM"[n % 2] for n in number]
    assert rows["label"].tolist() == [1 - n // 2 % 2 for n in number]
    if "lder" not in header:
        assert rows["age"].tolist() == [40 + n for n in number]


@pytest.mark.parametrize("kind", ["tsv", "comma", "gz", "crlf"])
def test_every_table_that_the_reader_takes_can_be_looked_at(clinic, propose, kind):
    path = table(clinic)
    content = path.read_bytes()
    match kind:
        case "tsv":
            path = clinic / "list.tsv"
            path.write_bytes(content.replace(b";", b"\t"))
        case "comma":
            path.write_bytes(content.replace(b";", b","))
        case "gz":
            path = clinic / "list.csv.gz"
            path.write_bytes(gzip.compress(content))
        case "crlf":
            path.write_bytes(content.replace(b"\n", b"\r\n"))
    made = propose(clinic, path)
    assert FILL_IN not in made["text"]
    assert made["table"] == [path.name]


def test_what_cannot_be_guessed_is_left_open_and_the_check_says_what(clinic, propose, tmp_path):
    path = table(clinic, "file;who;code;age;one;two", "{n:02d}.png;P{n};{sex};{age};{state};{sex}",
                 sexes=("1", "2"))  # fmt: skip
    made = propose(clinic, path)
    assert "'who'" in made["text"]
    assert "'code', 'one', 'two'" in made["text"]
    with pytest.raises(InputError) as error:
        check(made["path"], str(tmp_path / "data"), "quick")
    faults = "\n".join(error.value.faults)
    assert "columns.patient: is to be filled in: the column of patient ids" in faults
    assert "label.column: is to be filled in: the column of the label" in faults
    assert len(error.value.faults) == 4


def test_what_is_open_and_what_is_wrong_are_told_at_once(clinic, propose):
    made = propose(clinic, table(clinic, sexes=("0", "1")))
    Path(made["path"]).write_text(made["text"].replace("channels: 1", "channels: 2"))
    with pytest.raises(InputError) as error:
        load_manifest(made["path"])
    assert [fault.split(":")[0] for fault in error.value.faults] == ["sex.F", "sex.M", "channels"]


def test_coded_sexes_are_not_guessed(clinic, propose):
    made = propose(clinic, table(clinic, sexes=("0", "1")))
    assert made["sex"]["F"].startswith(FILL_IN)
    assert "'0' in 20 rows, '1' in 20 rows" in made["text"]
    with pytest.raises(InputError, match=r"sex\.F: is to be filled in: the words for female"):
        load_manifest(made["path"])


def test_rows_without_a_label_are_left_out_and_counted(clinic, propose, tmp_path):
    path = table(clinic)
    path.write_text(path.read_text().replace("00.png;P0;f;40;ill", "00.png;P0;f;40;"))
    made = propose(clinic, path)
    assert "1 rows without a label are left out" in made["text"]
    assert len(read_table(load_manifest(made["path"]), tmp_path / "data")) == 39


def test_no_patient_column_at_all_is_said_loudly(clinic, propose):
    made = propose(clinic, table(clinic, "image;label", "{n:02d}.png;{state}"))
    assert (made["columns"]["patient"], made["unit"]) == ("image", "image")
    assert "each image counts as one" in made["text"]


def test_an_official_split_is_taken_unless_it_tears_patients(clinic, propose):
    words = dict.fromkeys(range(40), "train") | dict.fromkeys(range(30, 40), "test")
    lines = [f"{n:02d}.png;P{n};{'ab'[n % 2]};{words[n]}" for n in range(40)]
    path = clinic / "list.csv"
    path.write_text("\n".join(["file;patient;label;split", *lines]))
    made = propose(clinic, path)
    assert made["split"]["mapping"] == {"train": "train+validation", "test": "test"}
    path.write_text(path.read_text().replace("P39;", "P1;"))
    assert "split" not in propose(clinic, path, "torn")


def test_images_in_many_folders_are_found_by_patterns(tmp_path, propose):
    clinic = tmp_path / "data" / "clinic"
    for number in range(40):
        draw(clinic / f"scans/P{number}/{number:02d}.png", number)
    made = propose(clinic / "scans", table(clinic))
    assert made["images"] == ["scans/*"]
    assert len(read_table(load_manifest(made["path"]), tmp_path / "data")) == 40


@pytest.mark.parametrize(
    ("shape", "top", "expected"),
    [
        ((20, 30, 3), 256, {"channels": 3, "image_size": 20}),
        ((300, 400), 256, {"channels": 1, "image_size": 224}),
        ((20, 20), 4000, {"channels": 1, "intensity": [0, 4095]}),
        ((20, 20), 60000, {"intensity": [0, 65535]}),
    ],
)
def test_size_colour_and_depth_are_read_off_the_images(tmp_path, propose, shape, top, expected):
    clinic = tmp_path / "data" / "clinic"
    for number in range(40):
        draw(clinic / f"images/{number:02d}.png", number, shape, top)
    made = propose(clinic, table(clinic))
    assert {name: made[name] for name in expected} == expected
    cohort = build_cohort(
        load_manifest(made["path"]), tmp_path / "data", folder=tmp_path / "study",
        cache=tmp_path / "cache", image_size=16, max_patients=None,
    )  # fmt: skip
    assert cohort.pixels.shape == (40, made["channels"], 16, 16)
    assert 100 < cohort.pixels.mean() < 155  # noise over the whole scale


def test_grey_images_saved_as_colour_are_grey(tmp_path, propose):
    clinic = tmp_path / "data" / "clinic"
    for number in range(40):
        draw(clinic / f"{number:02d}.png", number)
        Image.open(clinic / f"{number:02d}.png").convert("RGB").save(clinic / f"{number:02d}.png")
    assert propose(clinic, table(clinic))["channels"] == 1


def folders(clinic: Path, *ways: str, count: int = 3) -> Path:
    for place, way in enumerate(ways):
        for number in range(count):
            draw(clinic / way / f"{number}_{place}.png", 100 * place + number)
    return clinic


def test_a_folder_for_each_class_needs_no_table(tmp_path, propose):
    clinic = folders(tmp_path / "data" / "clinic", "normal", "pneumonia", count=20)
    made = propose(clinic)
    assert (made["kind"], made["unit"]) == ("files", "image")
    assert made["label"]["mapping"] == {"normal": "normal", "pneumonia": "pneumonia"}
    assert made["label"]["reference_class"] == "normal"
    assert len(read_table(load_manifest(made["path"]), tmp_path / "data")) == 40


def test_folders_of_a_split_and_of_patients_are_told_from_those_of_classes(tmp_path, propose):
    ways = [
        f"{part}/{state}/P{number}"
        for part in ("train", "val", "test")
        for state in ("ill", "normal")
        for number in range(8 * (1 + "tv".find(part[0])), 8 * (2 + "tv".find(part[0])))
    ]
    ways = [way for i, way in enumerate(ways)]
    clinic = folders(
        tmp_path / "data" / "clinic", *(f"{w}{i}" for i, w in enumerate(ways)), count=2
    )
    made = propose(clinic)
    assert made["columns"]["patient"] == "folder"
    assert made["label"]["classes"] == ["normal", "ill"]
    assert made["split"]["mapping"] == {"train": "train", "val": "validation", "test": "test"}
    rows = read_table(load_manifest(made["path"]), tmp_path / "data")
    assert rows["source_patient"].nunique() == 48
    assert (rows["label"] == rows["source_image"].str.contains("/ill/")).all()
    assert (rows["split"].str[:2] == rows["source_image"].str[:2]).all()


def test_masks_hidden_files_and_strays_are_left_out(tmp_path, propose):
    clinic = tmp_path / "data" / "clinic"
    for number in range(20):
        draw(clinic / f"scans/{number}.png", number)
        blank = np.full((20, 20), 255 * (number % 2), np.uint8)
        Image.fromarray(blank).save(clinic / f"scans/{number}_mask.png")
    draw(clinic / "__MACOSX/scans/1.png")
    draw(clinic / "scans/.hidden.png")
    draw(clinic / "stray.png")
    made = propose(clinic)
    assert made["mask_suffix"] == "_mask"
    assert made["label"]["rule"] == "threshold"
    rows = read_table(load_manifest(made["path"]), tmp_path / "data")
    assert len(rows) == 20
    assert rows["label"].sum() == 10


def test_headers_of_dicom_files_tell_the_patient_and_a_table_the_label(lay_out, propose, tmp_path):
    folder = lay_out("dicom")
    made = propose(folder)
    assert (made["kind"], made["intensity"]) == ("dicom", "window")
    assert made["columns"]["patient"] == "PatientID"
    with pytest.raises(InputError, match=r"label\.column: is to be filled in"):
        load_manifest(made["path"])
    for name, key in (("files", "{n}.dcm"), ("stems", "{n}"), ("patients", "P{n}")):
        rows = [key.format(n=n) + f",{'ab'[n % 2]}" for n in range(20)]
        path = folder / f"{name}.csv"
        path.write_text("\n".join(["scan,finding", *rows]))
        made = propose(folder / "scans", path, name)
        table_ = read_table(load_manifest(made["path"]), tmp_path / "data")
        number = table_["source_patient"].str[1:].astype(int)
        assert (table_["label"] == number % 2).all(), name
        assert (table_["sex"] == number.map(lambda n: "FM"[n % 2])).all()


def test_dicom_files_in_a_folder_for_each_class_need_no_table(lay_out, propose, tmp_path):
    folder = lay_out("dicom")
    for path in sorted((folder / "scans").iterdir()):
        place = folder / ("normal", "nodule")[int(path.stem) % 2]
        place.mkdir(exist_ok=True)
        shutil.move(path, place / path.name)
    (folder / "scans").rmdir()
    made = propose(folder)
    rows = read_table(load_manifest(made["path"]), tmp_path / "data")
    assert (rows["label"] == rows["source_patient"].str[1:].astype(int) % 2).all()


def test_the_command_prints_guesses_and_writes_by_the_folders_name(
    clinic, tmp_path, monkeypatch, capsys
):
    path = table(clinic)
    monkeypatch.chdir(tmp_path)
    assert main(["new-manifest", str(clinic), str(path)]) == 0
    assert "make check DATASET=clinic.yaml" in capsys.readouterr().out
    assert load_manifest("clinic.yaml").name == "clinic"


def test_short_words_are_not_found_inside_others():
    assert rank("image", "age") is None
    assert rank("AgeInYears", "age") == 0
    assert rank("PatientenNummer", "patient") == 0
    assert rank("stage", "age") is None
    assert rank("Sextant", "sex") is None


def test_the_reference_is_the_clearest_word_for_nothing_found_else_the_commonest():
    assert name_classes("dx", ["mel", "nv", "bcc"])[1] == "nv"
    assert name_classes("dx", ["mel", "bcc"])[1] == "mel"
    assert name_classes("ill", ["1", "0"]) == ({"0": "not ill", "1": "ill"}, "not ill")
    assert list(name_classes("x", ["c", "a", "normal"])[0]) == ["normal", "a", "c"]


def test_a_split_without_test_is_none():
    assert map_split(["train", "val"]) is None
    assert map_split(["train", "test", "other"]) is None
    assert map_split(["Training", "Valid", "TEST"]) == {
        "Training": "train", "Valid": "validation", "TEST": "test",
    }  # fmt: skip


def test_columns_are_told_by_values_where_headers_do_not_fit():
    frame = pd.DataFrame({
        "a": ["f", "m", "x"] * 10, "patient_age": ["7"] * 30,
        "patient": [f"{n}" for n in range(30)],
        "age": ["1950-01-01"] * 30, "b": ["u", "v"] * 15,
    })  # fmt: skip
    sex = guess_sex(frame, set())
    assert sex is not None
    assert (sex.column, sex.female, sex.male, sex.missing) == ("a", ["f"], ["m"], ["x"])
    assert guess_age(frame, set()) == ("patient_age", False)
    assert guess_patient(frame, {"patient_age"}) == ["patient"]
    more = frame.assign(**{"case number": frame["patient"], "patient_id": frame["patient"]})
    assert guess_patient(more, {"patient_age"}) == ["patient_id", "patient", "case number"]
    assert guess_classes(frame, {"a"}).column == "b"
    assert guess_classes(frame, set()) is None


def test_the_image_column_is_that_with_the_most_different_names():
    frame = pd.DataFrame({"row": ["1", "2", "3"], "file": ["1.png", "2.png", "4.png"]})
    located = locate_images(frame, ["a/1.png", "a/2.png", "b/4.png"])
    assert located is not None
    assert (located.column, located.found, located.folders) == ("file", 3, ["a", "b"])
    assert located.others == ["row"]
    assert locate_images(frame, ["x.png"]) is None
