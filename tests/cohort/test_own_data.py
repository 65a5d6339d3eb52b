"""From a folder and a spreadsheet, or a frame as other tools give it, to a cohort."""

import json
import re
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.manifest import FOLDER, load_manifest
from medunlearn.cohort.own_data import cohort_from_frame, look, match_images
from medunlearn.errors import InputError
from tests.cohort.conftest import read_rows

CLASSES = ["gesund", "krank"]
NAMES = {"patient": "Patient", "label": "Befund", "sex": "Geschlecht", "age": "Alter"}
SNIPPETS = (FOLDER / "README.md").read_text().split("```python\n")[1:]


def draw(path: Path, seed: int = 0, top: int = 256) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if top <= 256 else np.uint16
    Image.fromarray(np.random.default_rng(seed).integers(0, top, (20, 20), dtype=kind)).save(path)


# A folder and a spreadsheet


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


def write(clinic: Path, image: str = "Bild") -> tuple[Path, pd.DataFrame]:
    """The manifest, and the table that it gives without an edit."""
    path = clinic.parents[1] / "mine.yaml"
    rows = match_images(clinic / "Bilder", clinic / "Liste.csv", image=image, patient="Patient")
    cohort_from_frame(rows, "Bilder", CLASSES, output=path, **NAMES)
    return path, read_rows(load_manifest(str(path)), path.parent)


def change(clinic: Path, old: str, new: str) -> None:
    table = clinic / "Liste.csv"
    table.write_text(table.read_text("utf-8-sig").replace(old, new), encoding="utf-8")


def test_six_names_give_a_table_without_an_edit(clinic):
    change(clinic, ";P0;weiblich;", ";P0;d;")  # divers
    path, rows = write(clinic)
    assert len(rows) == 40
    assert rows["source_patient"].nunique() == 20
    assert rows["sex"].value_counts(dropna=False).to_dict() == {"F": 18, "M": 20, None: 2}
    assert rows["label"].value_counts().to_dict() == {0: 20, 1: 20}
    assert rows["age"].notna().all()
    assert load_manifest(str(path)).licence == "not stated"


def test_the_notebook_takes_the_six_names_as_parameters_and_reads_tables_as_the_study_does():
    cells = nbformat.read(FOLDER.parent / "notebooks/05_your_data.ipynb", 4).cells
    (given,) = (c.source for c in cells if "parameters" in c.metadata.get("tags", []))
    names = {line.partition(":")[0] for line in given.splitlines()}
    assert {"image", "patient", "label", "reference", "sex", "age"} < names
    assert not any("pd.read_csv" in cell.source for cell in cells)  # whose faults are tracebacks


@pytest.mark.parametrize(
    ("before", "ending"),
    [
        ("D:\\Export\\Bilder\\", ".png"), ("/mnt/server/", ".png"), ("Bilder\\", ""),
        ("Bilder/", ".png"), ("", ""),
    ],
)  # fmt: skip
def test_names_are_found_without_an_ending_in_folders_and_from_another_computer(
    clinic, before, ending
):
    change(clinic, "\nP", f"\n{before}P")
    change(clinic, ".png;", f"{ending};")
    for number in range(10):
        draw(clinic / f"Bilder/alt/P{number}_0.png", 100 + number)
        (clinic / f"Bilder/P{number}_0.png").unlink()
    rows = write(clinic)[1]
    assert len(rows) == 40
    owners = rows["path"].map(lambda path: Path(path).name.split("_")[0])
    assert owners.tolist() == rows["source_patient"].tolist()


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
    "name",
    ["{p}_{v}.png", "{p}/{v}.png", "{p}/xray/{v}.png", "{p}-left-{v}.png", "A_{p}_1996_{v}.png"],
)
def test_a_table_with_a_row_for_each_patient_needs_no_image_column(clinic, name):
    for image in sorted((clinic / "Bilder").glob("P*.png")):
        patient, _, view = image.stem.partition("_")
        target = clinic / "Bilder" / name.format(p=patient, v=view)
        target.parent.mkdir(parents=True, exist_ok=True)
        image.rename(target)
    table = pd.read_csv(clinic / "Liste.csv", sep=";").drop_duplicates("Patient")
    if name.startswith("A_"):
        table["Patient"] = "A_" + table["Patient"]
    table.drop(columns="Bild").to_csv(clinic / "Liste.csv", sep=";", index=False)
    rows = write(clinic, "")[1]
    assert len(rows) == 40
    assert rows["source_patient"].value_counts().tolist() == [2] * 20
    assert rows["sex"].notna().all()


def test_a_row_without_an_image_and_a_file_of_nobody_are_left_to_check(clinic):
    (clinic / "Bilder/P3_1.png").rename(clinic / "Bilder/X9_1.png")
    with pytest.raises(InputError, match=r"row 9: given .*P3_1\.png'; there is no such file"):
        write(clinic)
    (clinic.parents[1] / "mine/table.csv").unlink()
    (clinic.parents[1] / "mine.yaml").unlink()
    with pytest.raises(InputError, match="given ''; expected a label"):
        write(clinic, "")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"image": "PID"}, ["'PID' is there 0 times", "'Befund'"]),
        ({"image": "Befund"}, ["leads to no image: given ['krank']", "P0_0.png", "leave image"]),
        ({"image": "", "patient": "Befund"}, ["leads to no image: given ['krank']", "P0_0.png"]),
    ],
)
def test_a_wrong_name_is_told_with_what_is_there(clinic, names, words):
    with pytest.raises(InputError) as error:
        match_images(clinic / "Bilder", clinic / "Liste.csv", **{"patient": "Patient"} | names)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_folder_without_images_says_what_to_take(clinic, lay_out):
    with pytest.raises(InputError, match="kind dicom"):
        match_images(lay_out("dicom"), clinic / "Liste.csv", image="Bild", patient="Patient")


def test_the_depth_of_images_becomes_their_scale(clinic):
    for path in (clinic / "Bilder").iterdir():
        draw(path, top=4000)
    assert load_manifest(str(write(clinic)[0])).intensity == (0, 4095)
    (kind,) = look(clinic).itertuples(index=False)
    assert kind[:2] == (".png", "20 x 20")
    assert kind.bits in {16, 32}
    assert kind.highest < 4000


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


# A frame


def snippet(word: str) -> str:
    """The README's imports, and those of its lines that hold this word."""
    code = [text.split("```")[0] for text in SNIPPETS]
    (found,) = [text for text in code[1:] if word in text]
    return code[0] + found


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Forty patients with two images each, in a folder of each; sexes, ages and labels."""
    rows = []
    for number in range(80):
        patient = number // 2
        path = tmp_path / f"scans/sub-{patient:02d}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        rows.append((str(path), patient, patient // 2 % 2, "fm"[patient % 2], 40 + patient))
    return pd.DataFrame(rows, columns=["file", "patient", "label", "sex", "age"])


def test_a_frame_becomes_a_cohort_and_nothing_is_copied(frame, build, tmp_path):
    manifest = cohort_from_frame(
        frame, "Scans", ["well", "ill"], output=tmp_path / "out/mine.yaml", licence="CC0",
        pseudonymise=False,
    )  # fmt: skip
    cohort = build(str(manifest), data=manifest.parent, runs=tmp_path / "runs")
    assert cohort.manifest.licence == "CC0"
    assert cohort.classes == ("well", "ill")
    table = cohort.table.assign(number=cohort.table["source_image"].str.extract(r"(\d+)\.png")[0])
    ours = frame.set_index(frame.index.astype(str)).loc[table["number"]]
    assert table["source_patient"].tolist() == ours["patient"].astype(str).tolist()
    assert table["label"].tolist() == ours["label"].tolist()
    assert table["sex"].tolist() == ours["sex"].str.upper().tolist()
    assert table["age"].tolist() == ours["age"].tolist()
    first = np.asarray(Image.open(ours["file"].iloc[0]), float).mean()
    assert cohort.pixels[0].mean() == pytest.approx(first, abs=3)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in files if ".png" not in path.name} == {
        "mine.yaml", "table.csv",
    }  # fmt: skip


def test_the_same_frame_may_be_given_again_and_another_one_not(frame, tmp_path):
    output = tmp_path / "mine.yaml"
    cohort_from_frame(frame, "Scans", ["well", "ill"], output=output)
    output.write_text(output.read_text() + "biases: none known\n")  # corrected by hand
    cohort_from_frame(frame, "Scans", ["well", "ill"], output=output)
    assert load_manifest(str(output)).biases == "none known"
    with pytest.raises(InputError, match="holds another frame and is kept"):
        cohort_from_frame(frame[1:], "Scans", ["well", "ill"], output=output)


def test_a_frame_of_the_same_names_in_another_folder_is_another_one(tmp_path):
    for top in "AB":
        draw(tmp_path / top / "1.png")
    rows = pd.DataFrame({"file": ["1.png"], "patient": ["p"], "label": [0]})
    output = tmp_path / "mine.yaml"
    for top, refused in (("A", False), ("A", False), ("B", True)):
        with pytest.raises(InputError, match="another frame") if refused else nullcontext():
            cohort_from_frame(
                rows, "Scans", ["well", "ill"], output=output, root=tmp_path / top, sex="", age=""
            )


def test_a_name_that_leads_to_no_file_does_not_get_anothers(clinic):
    for place in ("P1/1", "P1/2", "P2/1", "P3/3"):
        draw(clinic / f"Scans/{place}.png")
    named = ["P1/1", "P1/2", "P2/1", "P9/3"]
    lines = ["Bild;Patient", *(f"X:\\{name}.png;{name[:2]}" for name in named)]
    (clinic / "Liste.csv").write_text("\n".join(lines))
    rows = match_images(clinic / "Scans", clinic / "Liste.csv", image="Bild", patient="Patient")
    found = [Path(file).relative_to(clinic / "Scans").as_posix() for file in rows["file"][:3]]
    assert found == ["P1/1.png", "P1/2.png", "P2/1.png"]
    assert rows["file"].iloc[3] == "X:\\P9/3.png"


def test_a_table_of_patients_may_repeat_a_row_and_lack_a_patient(clinic):
    table = clinic / "Liste.csv"
    table.write_text("Patient;Befund\nP0;krank\nP0;krank\nP1;gesund\n")
    rows = match_images(clinic / "Bilder", table, image="", patient="Patient")
    assert len(rows) == 40
    assert set(rows["Befund"]) == {"krank", "gesund", ""}


@pytest.mark.parametrize("kind", ["names", "flags", "floats"])
def test_labels_are_names_codes_or_flags_and_missing_values_spoil_no_id(
    frame, build, tmp_path, kind
):
    label, flag = frame["label"], frame["label"] == 1
    frame["label"] = {"names": flag.map({True: "ill", False: "well"}), "flags": flag,
                      "floats": label.astype(float)}[kind]  # fmt: skip
    frame["age"] = frame["age"].where(frame.index > 3)
    frame["patient"] = frame["patient"].astype(float)
    manifest = cohort_from_frame(frame, "Scans", ["well", "ill"], output=tmp_path / "mine.yaml")
    written = pd.read_csv(tmp_path / "mine/table.csv", dtype=str, keep_default_na=False)
    assert written["patient"].tolist() == [str(number // 2) for number in range(80)]
    assert (written["label"] == "ill").tolist() == flag.tolist()
    assert (
        build(str(manifest), data=manifest.parent, runs=tmp_path / "runs").table["age"].isna().sum()
        == 4
    )


def test_everything_wrong_in_a_frame_is_told_at_once(frame, build, tmp_path):
    frame = frame.astype(object)
    frame.loc[3, "file"], frame.loc[5, "patient"], frame.loc[7, "label"] = "no.png", None, 2
    path = cohort_from_frame(frame, "Scans", ["well", "ill"], output=tmp_path / "mine.yaml")
    with pytest.raises(InputError) as error:
        build(str(path), data=tmp_path)
    words = ["row 5: given .*no.png'; there is no such file", "row 7: given ''; expected a patient",
             r"row 9: given '2'; expected one of \['well', 'ill'\]"]  # fmt: skip
    assert len(error.value.faults) == 3
    assert all(re.search(word, str(error.value)) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"sex": "gender"}, "'gender' is there 0 times.*'sex'"), ({"file": "sex"}, "names no file")],
)
def test_a_wrong_column_of_a_frame_is_told_and_nothing_is_written(frame, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        cohort_from_frame(frame, "S", ["a", "b"], output=tmp_path / "mine.yaml", **changes)
    assert not (tmp_path / "mine").exists()


def test_the_snippet_for_a_monai_datalist_is_true(frame, build, tmp_path, monkeypatch):
    frame = frame.rename(columns={"file": "image"}).drop(columns=["sex", "age"])
    (tmp_path / "dataset.json").write_text(json.dumps({"training": frame.to_dict("records")}))
    monkeypatch.chdir(tmp_path)
    exec(snippet("monai"), {})
    assert len(build("mine.yaml", data=tmp_path, runs=tmp_path / "runs").table) == 80


def test_the_snippet_for_bids_is_true(frame, build, tmp_path, monkeypatch):
    people = frame.drop_duplicates("patient").assign(
        participant_id=lambda given: given["patient"].map("sub-{:02d}".format),
        group=lambda given: given["label"].map({0: "control", 1: "patient"}),
    )
    people[["participant_id", "age", "sex", "group"]].to_csv(
        tmp_path / "scans/participants.tsv", sep="\t", index=False
    )
    (tmp_path / "scans").rename(tmp_path / "bids")
    monkeypatch.chdir(tmp_path)
    exec(snippet("participants"), {})
    table = build("mine.yaml", data=tmp_path, runs=tmp_path / "runs").table
    assert table["patient"].nunique() == 40
    assert table["label"].sum() == 40


@pytest.mark.skipif(not find_spec("torchxrayvision"), reason="torchxrayvision is not there")
def test_the_snippet_for_torchxrayvision_is_true(frame, tmp_path, monkeypatch):
    """Its columns, as in its own table; the images are made up."""
    spec = find_spec("torchxrayvision")
    table = Path(spec.origin).parent / "data/Data_Entry_2017_v2020.csv.gz"
    csv = pd.read_csv(table, nrows=80)  # as torchxrayvision.datasets.NIH_Dataset holds it
    csv = csv.assign(patientid=csv["Patient ID"].astype(str), age_years=csv["Patient Age"] * 1.0)
    csv = csv.assign(sex_male=csv["Patient Gender"] == "M")
    (tmp_path / "images").mkdir()
    for old, new in zip(frame["file"], csv["Image Index"], strict=True):
        Path(old).rename(tmp_path / "images" / new)

    class Dataset:
        imgpath, pathologies = str(tmp_path / "images"), ["Effusion"]
        labels = csv[["Finding Labels"]].apply(lambda c: c.str.contains("Effusion")).to_numpy(float)

    dataset = Dataset()
    dataset.csv = csv
    monkeypatch.chdir(tmp_path)
    exec(snippet("pathologies"), {"dataset": dataset})
    fields = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert fields["sex"]["F"] == ["F"]
    written = pd.read_csv(tmp_path / "mine/table.csv", dtype=str)
    assert written["patient"].tolist() == csv["patientid"].tolist()
    assert (written["label"] == "effusion").sum() == Dataset.labels.sum()


def test_the_snippet_for_a_table_of_hugging_face_is_true(frame, build, tmp_path, monkeypatch):
    """A stand-in with the two methods it calls: ``datasets`` is no dependency."""

    class Table(list):
        def remove_columns(self, name):
            return Table({k: v for k, v in row.items() if k != name} for row in self)

        def to_pandas(self):
            return pd.DataFrame(list(self))

    rows = frame[["patient", "label"]].to_dict("records")
    pixels = [Image.open(path) for path in frame["file"]]
    dataset = Table({"image": image, **row} for image, row in zip(pixels, rows, strict=True))
    monkeypatch.chdir(tmp_path)
    exec(snippet("remove_columns"), {"dataset": dataset})
    table = build("mine.yaml", data=tmp_path, runs=tmp_path / "runs").table
    assert table["patient"].nunique() == 40
    assert table["label"].sum() == frame["label"].sum()
