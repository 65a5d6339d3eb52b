"""A frame becomes a cohort; frames as other tools give them."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.frame import cohort_from_frame
from medunlearn.cohort.manifest import FOLDER, load_manifest
from medunlearn.errors import InputError

SNIPPETS = (FOLDER / "README.md").read_text().split("```python\n")[1:]


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


def test_everything_wrong_in_a_frame_is_told_at_once(frame, tmp_path):
    frame = frame.astype(object)
    frame.loc[3, "file"], frame.loc[5, "patient"], frame.loc[7, "label"] = "no.png", None, 2
    with pytest.raises(InputError) as error:
        cohort_from_frame(frame, "Scans", ["well", "ill"], output=tmp_path / "mine.yaml")
    words = ["row 3: given 'no.png'; there is no such file", "row 5: given ''; expected a patient",
             "row 7: given '2'; expected one of ['well', 'ill']"]  # fmt: skip
    assert len(error.value.faults) == 3
    for word in words:
        assert any(word in fault for fault in error.value.faults), word
    with pytest.raises(InputError, match=r"'gender' is there 0 times.*'sex'"):
        cohort_from_frame(frame, "S", ["a", "b"], output=tmp_path / "mine.yaml", sex="gender")
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
