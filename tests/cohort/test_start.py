"""From a folder and a spreadsheet to a checked manifest: six names, and what can be odd."""

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.manifest import FOLDER, load_manifest
from medunlearn.cohort.start import look, write_manifest
from medunlearn.cohort.table import read_table
from medunlearn.errors import InputError

NAMES = {"image": "Bild", "patient": "Patient", "label": "Befund", "sex": "Geschlecht"}


def draw(path: Path, seed: int = 0, top: int = 256) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if top <= 256 else np.uint16
    Image.fromarray(np.random.default_rng(seed).integers(0, top, (20, 20), dtype=kind)).save(path)


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Twenty patients with two images each, and a table as a German spreadsheet saves it."""
    folder = tmp_path / "Daten" / "Klinik"
    lines = ["Bild;Patient;Geschlecht;Alter;Befund"]
    for number in range(40):
        draw(folder / f"Bilder/P{number // 2}_{number % 2}.png", number)
        sex, state = ("weiblich", "männlich")[number // 2 % 2], ("krank", "gesund")[number // 4 % 2]
        lines.append(f"P{number // 2}_{number % 2}.png;P{number // 2};{sex};{40 + number};{state}")
    (folder / "Liste.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    return folder


def write(clinic: Path, reference: str = "gesund", **names: str) -> tuple[Path, pd.DataFrame]:
    """The manifest, and the table that it gives without an edit."""
    path, table = clinic.parents[1] / "mine.yaml", clinic / "Liste.csv"
    named = NAMES | {"age": "Alter"} | names
    data = write_manifest(path, clinic / "Bilder", table, reference=reference, **named)
    return path, read_table(load_manifest(str(path)), data)


def change(clinic: Path, old: str, new: str, count: int = -1) -> None:
    table = clinic / "Liste.csv"
    table.write_text(table.read_text("utf-8-sig").replace(old, new, count), encoding="utf-8")


def test_six_names_give_a_table_without_an_edit(clinic):
    path, rows = write(clinic)
    assert len(rows) == 40
    assert rows["source_patient"].nunique() == 20
    assert rows["sex"].value_counts().to_dict() == {"F": 20, "M": 20}
    assert rows["label"].value_counts().to_dict() == {0: 20, 1: 20}
    assert rows["age"].notna().all()
    assert load_manifest(str(path)).licence == "not stated"


def test_the_notebook_takes_the_six_names_as_parameters_and_reads_tables_as_the_study_does():
    cells = nbformat.read(FOLDER.parent / "notebooks/05_your_data.ipynb", 4).cells
    (given,) = (c.source for c in cells if "parameters" in c.metadata.get("tags", []))
    names = {line.partition(":")[0] for line in given.splitlines()}
    assert {"image", "patient", "label", "reference", "sex", "age"} < names
    assert not any("pd.read_csv" in cell.source for cell in cells)  # whose faults are tracebacks


@pytest.mark.parametrize("before", ["D:\\Export\\Bilder\\", "/mnt/server/", "Bilder\\", "Bilder/"])
def test_paths_of_another_computer_lead_to_the_images(clinic, before):
    change(clinic, "\nP", f"\n{before}P")
    assert len(write(clinic)[1]) == 40


def test_names_without_an_ending_and_images_in_several_folders_are_found(clinic):
    change(clinic, ".png;", ";")
    for number in range(20):
        draw(clinic / f"Bilder/alt/P{number}_0.png", 100 + number)
        (clinic / f"Bilder/P{number}_0.png").unlink()
    assert len(write(clinic)[1]) == 40


def test_images_of_one_name_stay_with_their_patients(clinic):
    """P3/1.png and P4/1.png are two images, wherever the table's paths begin."""
    for image in sorted((clinic / "Bilder").iterdir()):
        patient, _, end = image.name.partition("_")
        image.parent.joinpath(patient).mkdir(exist_ok=True)
        image.rename(image.parent / patient / end)
    text = (clinic / "Liste.csv").read_text("utf-8-sig")
    lines = [line.replace("_", "\\", 1) for line in text.splitlines()]
    (clinic / "Liste.csv").write_text("\n".join([lines[0], *(f"X:\\a\\{li}" for li in lines[1:])]))
    rows = write(clinic)[1]
    assert len(rows) == 40
    owners = rows["path"].map(lambda path: Path(path).parent.name)
    assert owners.tolist() == rows["source_patient"].tolist()


@pytest.mark.parametrize(
    "name", ["{p}_{v}.png", "{p}/{v}.png", "{p}/xray/{v}.png", "{p}-left-{v}.png"]
)
def test_a_table_with_a_row_for_each_patient_needs_no_image_column(clinic, name):
    for image in sorted((clinic / "Bilder").glob("P*.png")):
        patient, _, view = image.stem.partition("_")
        target = clinic / "Bilder" / name.format(p=patient, v=view)
        target.parent.mkdir(parents=True, exist_ok=True)
        image.rename(target)
    table = pd.read_csv(clinic / "Liste.csv", sep=";").drop_duplicates("Patient")
    table.drop(columns="Bild").to_csv(clinic / "Liste.csv", sep=";", index=False)
    rows = write(clinic, image="")[1]
    assert len(rows) == 40
    assert rows["source_patient"].value_counts().tolist() == [2] * 20
    assert rows["sex"].notna().all()


def test_a_manifest_that_is_there_is_never_overwritten(clinic):
    path, _ = write(clinic)
    path.write_text("corrected by hand")
    with pytest.raises(InputError, match="is there already and is kept"):
        write(clinic)
    assert path.read_text() == "corrected by hand"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            {"patient": "PID", "sex": "sex"},
            ["'PID' is there 0 times", "'sex' is there", "'Befund'"],
        ),
        ({"image": "Befund"}, ["names no file: given 'krank'", "'P0_0.png'", "leave image empty"]),
        ({"image": "", "patient": "Befund"}, ["no file tells a patient", "'krank'", "P0_0.png"]),
        ({"reference": "healthy"}, ["'healthy' among them", "['gesund', 'krank']"]),
        ({"label": "Patient"}, ["2 to 50, 'gesund' among them"]),
    ],
)
def test_a_wrong_name_is_told_with_what_is_there_and_nothing_is_written(clinic, names, words):
    with pytest.raises(InputError) as error:
        write(clinic, **names)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not (clinic.parents[1] / "mine.yaml").exists()


def test_a_folder_without_images_says_what_to_take(tmp_path, lay_out):
    folder = lay_out("dicom")
    assert "kind dicom" in look(folder)[1]
    with pytest.raises(InputError, match="kind dicom"):
        write_manifest(tmp_path / "a.yaml", folder, folder / "t.csv", reference="", **NAMES)


def test_the_depth_of_images_becomes_their_scale(clinic):
    for path in (clinic / "Bilder").iterdir():
        draw(path, top=4000)
    path, _ = write(clinic)
    assert load_manifest(str(path)).intensity == (0, 4095)
    assert "32 bits" in look(clinic)[1] or "16 bits" in look(clinic)[1]


def test_the_templates_lines_for_other_layouts_are_sound(tmp_path):
    """Each block of lines, put in place of those that it names, gives a manifest that loads."""
    text = (FOLDER / "template.yaml").read_text()
    fields = yaml.safe_load(text)
    blocks = text.split("# --- other layouts")[1].split("kind: ")[1:]
    assert len(blocks) == 3
    for block in blocks:
        lines = [line[4:] for line in ("#   kind: " + block).splitlines() if line[:4] == "#   "]
        new = yaml.safe_load("\n".join(lines).replace(", ...}", "}"))
        kept = {k: v for k, v in fields.items() if k not in {"table", "image_suffix", "joins"}}
        whole = kept | new | {"name": "mine", "label": kept["label"] | new.get("label", {})}
        if "sex" not in new["columns"]:
            del whole["sex"]
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(whole))
        assert load_manifest(str(tmp_path / "mine.yaml")).kind == new["kind"]
