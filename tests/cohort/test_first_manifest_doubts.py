"""A first manifest in doubt: nobody is given another's image, sex or scale; it is left open."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.build import build_cohort
from medunlearn.cohort.first_manifest.columns import guess_sex
from medunlearn.cohort.first_manifest.headers import find_key
from medunlearn.cohort.first_manifest.locate import locate_images
from medunlearn.cohort.first_manifest.propose import new_manifest, use_or_propose
from medunlearn.cohort.manifest import FILL_IN, load_manifest
from medunlearn.cohort.table import read_table
from medunlearn.errors import InputError
from medunlearn.study.status import check

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05_adapt_to_your_data.ipynb"
PATIENTS, EACH = [f"p{n:02d}" for n in range(20)], 3

Propose = Callable[..., dict[str, Any]]


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def write_table(folder: Path, lines: list[str], header: str = "file;patient;label") -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """A folder for each patient, in all of which the images have the same names."""
    folder = tmp_path / "data" / "clinic"
    for seed, patient in enumerate(PATIENTS):
        for number in range(EACH):
            draw(folder / "images" / patient / f"{number:04d}.png", 10 * seed + number)
    return folder


def name_all(folder: Path, name: str) -> Path:
    """A row for each image, named so."""
    return write_table(folder, [
        f"{name.format(p=patient, n=n)};{patient};{'ab'[place % 2]}"
        for place, patient in enumerate(PATIENTS) for n in range(EACH)
    ])  # fmt: skip


@pytest.fixture
def propose(tmp_path: Path) -> Propose:
    """Writes a first manifest and gives its fields, with its text and path."""

    def make(folder: Path, table: Path | None = None) -> dict[str, Any]:
        path = new_manifest(folder, table, tmp_path / "mine.yaml").path
        return yaml.safe_load(path.read_text()) | {"text": path.read_text(), "path": str(path)}

    return make


@pytest.mark.parametrize("below", ["", "images"])
@pytest.mark.parametrize(
    "name",
    [
        "/mnt/pacs/{p}/{n:04d}.png",
        "/mnt//pacs/{p}//{n:04d}",
        "D:\\pacs\\{p}\\{n:04d}.png",
        "old/{p}/{n:04d}.png",
        "{p}/{n:04d}.png",
    ],
)
def test_images_of_one_name_stay_with_their_patients(clinic, propose, tmp_path, name, below):
    made = propose(clinic / below, name_all(clinic, name))
    assert FILL_IN not in made["text"]
    rows = read_table(load_manifest(made["path"]), tmp_path / "data")
    assert len(rows) == len(PATIENTS) * EACH
    assert [Path(path).parent.name for path in rows["path"]] == rows["source_patient"].tolist()


@pytest.mark.parametrize("name", ["{n:04d}.png", "{n:04d}", "/mnt/{p}x/{n:04d}.png"])
def test_names_that_do_not_tell_whose_image_it_is_are_left_open(clinic, propose, tmp_path, name):
    made = propose(clinic, name_all(clinic, name))
    assert made["columns"]["image"].startswith(FILL_IN)
    assert made["columns"]["patient"] == "patient"
    assert made["images"] == ["."]  # no patient's folder in particular
    assert "'0000" in made["text"]
    with pytest.raises(InputError, match=r"columns\.image: is to be filled in"):
        load_manifest(made["path"])
    # what the manifest's comment advises
    text = yaml.safe_dump({name: made[name] for name in made if name not in {"text", "path"}} | {
        "columns": made["columns"] | {"image": "file_path"}, "images": ["images"],
        "derive": [
            {"column": "base", "rule": "extract", "source": "file", "pattern": r"(\d+)[^/]*$"},
            {"column": "file_path", "rule": "compose", "template": "{patient}/{base}"},
        ],
        "image_suffix": ".png",
    })  # fmt: skip
    Path(made["path"]).write_text(text)
    rows = read_table(load_manifest(made["path"]), tmp_path / "data")
    assert [Path(path).parent.name for path in rows["path"]] == rows["source_patient"].tolist()


def test_without_a_patient_column_doubled_names_are_no_patients(clinic, propose):
    table = write_table(clinic, [f"{n:04d}.png;{'ab'[n % 2]}" for n in range(EACH)] * 4, "file;dx")
    made = propose(clinic, table)
    assert made["columns"]["patient"] == f"{FILL_IN} the column of patient ids"


@pytest.mark.parametrize("root", ["", "/mnt/pacs/"])
def test_an_image_that_is_missing_is_not_replaced_by_one_of_its_name(tmp_path, propose, root):
    clinic = tmp_path / "data" / "clinic"
    for number in range(20):
        draw(clinic / f"images/p{number}/{number}.png", number)
    (clinic / "images/p5/5.png").rename(clinic / "images/p3/5.png")
    lines = [f"{root}p{n}/{n}.png;p{n};{'ab'[n % 2]}" for n in range(20)]
    made = propose(clinic / "images", write_table(clinic, lines))
    assert "names files in 19 of 20 rows" in made["text"]
    with pytest.raises(InputError) as error:
        read_table(load_manifest(made["path"]), tmp_path / "data")
    assert len(error.value.faults) == 1
    assert "p5/5.png" in error.value.faults[0]
    assert "there is no such file" in error.value.faults[0]


def test_a_name_that_ends_several_paths_is_nobodys():
    files = [f"{n}.png" for n in range(9)]
    frame = pd.DataFrame({"file": [f"/a/p{n}/{n % 9}.png" for n in range(10)]})
    located = locate_images(frame, files)
    assert located is not None
    assert located.doubled == ["0.png"]
    located = locate_images(frame[1:], files)
    assert located is not None
    assert (located.doubled, located.parts, located.found) == ([], 1, 9)


def test_paths_of_two_systems_in_one_column_are_all_found():
    frame = pd.DataFrame({"file": [f"images{'/' if n else chr(92)}{n}.png" for n in range(9)]})
    located = locate_images(frame, [f"images/{n}.png" for n in range(9)])
    assert located is not None
    assert (located.parts, located.found, located.doubled) == (1, 9, [])


def test_a_table_is_joined_to_dicom_files_only_by_names_that_are_there_once():
    headers = pd.DataFrame({"SOPInstanceUID": ["1.1", "1.2"], "PatientID": ["x", "y"]})
    frame = pd.DataFrame({"scan": ["0", "1"]})
    assert find_key(headers, frame, ["a/0.dcm", "b/1.dcm"])[:2] == ("image_key", "scan")
    assert find_key(headers, frame, ["a/0.dcm", "b/0.dcm", "a/1.dcm"]) is None


@pytest.mark.parametrize(
    ("header", "words", "female", "male"),
    [
        ("geslacht", "VM", "V", "M"),
        ("Geslacht patiënt", "vm", "v", "m"),
        ("sexo", "VM", "M", "V"),
        ("Sexo del paciente", "vm", "m", "v"),
        ("sexo", "HM", "M", "H"),
        ("sexo", "FM", "F", "M"),
        ("sex", "VM", "", ""),
        ("sexo", "FMV", "F", ""),
        ("geslacht", "FMV", "F", ""),
    ],
)
def test_v_and_m_mean_what_the_headers_language_says_or_nothing(header, words, female, male):
    sex = guess_sex(pd.DataFrame({header: list(words) * 5}), set())
    assert sex is not None
    assert ("".join(sex.female), "".join(sex.male)) == (female, male)
    assert sorted(sex.female + sex.male + sex.missing) == sorted(words)


def test_v_and_m_without_a_header_of_the_sex_are_no_sexes():
    assert guess_sex(pd.DataFrame({"a": ["V", "M"] * 5}), set()) is None


@pytest.mark.parametrize(("header", "female"), [("geslacht", "V"), ("sexo", "M"), ("gender", "")])
def test_the_manifest_says_which_word_is_which_sex(clinic, propose, header, female):
    lines = [f"{p}/{n:04d}.png;{p};{'VM'[int(p[1:]) % 2]};{'ab'[n % 2]}"
             for p in PATIENTS for n in range(EACH)]  # fmt: skip
    made = propose(clinic / "images", write_table(clinic, lines, f"file;patient;{header};label"))
    text = made["text"].replace("\n#   ", " ")
    if female:
        other = "VM".replace(female, "")
        assert made["sex"] == {"F": [female], "M": [other], "missing": []}
        assert f"'{female}' = female, '{other}' = male" in text
    else:
        with pytest.raises(InputError) as error:
            load_manifest(made["path"])
        assert [fault.split(":")[0] for fault in error.value.faults] == ["sex.F", "sex.M"]


def test_dicom_files_without_an_image_are_refused(lay_out, make_dicom, tmp_path):
    folder = lay_out("dicom")
    lacking = dict.fromkeys(("Rows", "Columns", "BitsStored", "PixelData"))
    for number, path in enumerate(sorted((folder / "scans").iterdir())):
        report = make_dicom(np.zeros((4, 4), np.uint8), PatientID=f"P{number}", **lacking)
        report.save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match="no header of the 20 DICOM files describes an image"):
        new_manifest(folder, None, tmp_path / "mine.yaml")
    assert not (tmp_path / "mine.yaml").exists()


def test_a_report_among_dicom_images_does_not_hide_them(lay_out, make_dicom, propose):
    folder = lay_out("dicom")
    lacking = dict.fromkeys(("Rows", "Columns", "BitsStored", "PixelData"))
    report = make_dicom(np.zeros((4, 4), np.uint8), PatientID="P0", **lacking)
    report.save_as(folder / "scans" / "report.dcm", enforce_file_format=True)
    assert propose(folder)["image_size"] == 24


def test_dicom_files_of_another_ending_are_to_be_renamed(lay_out, tmp_path):
    folder = lay_out("dicom")
    for path in sorted((folder / "scans").iterdir()):
        path.rename(path.with_suffix(".img"))
    with pytest.raises(InputError, match=r"20 DICOM files .*'scans/0\.img'.*rename them to end"):
        new_manifest(folder, None, tmp_path / "mine.yaml")


def test_an_index_of_dicom_files_alone_is_no_image(lay_out, tmp_path):
    folder = lay_out("dicom")
    for path in sorted((folder / "scans").iterdir()):
        path.replace(folder / "DICOMDIR")
    with pytest.raises(InputError, match=r"no image .* it holds 'DICOMDIR'"):
        new_manifest(folder, None, tmp_path / "mine.yaml")


def write_fractions(folder: Path, low: float, high: float) -> Path:
    """Twenty TIFF files of 32-bit floats, and their table."""
    for number in range(20):
        noise = np.random.default_rng(number).uniform(low, high, (16, 16)).astype(np.float32)
        noise[0, 0], noise[0, 1] = low, high
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(folder / f"{number}.tif")
    return write_table(folder, [f"{n}.tif;p{n};{'ab'[n % 2]}" for n in range(20)])


@pytest.mark.parametrize("high", [0.75, 1.0])
def test_fractions_up_to_one_are_scaled_from_0_to_1(tmp_path, propose, high):
    table = write_fractions(tmp_path / "data" / "clinic", 0, high)
    made = propose(table.parent, table)
    assert made["intensity"] == [0, 1]
    cohort = build_cohort(
        load_manifest(made["path"]), tmp_path / "data", folder=tmp_path / "study",
        cache=tmp_path / "cache", image_size=16, max_patients=None,
    )  # fmt: skip
    assert cohort.pixels.max() == round(255 * high)
    assert cohort.pixels.mean() == pytest.approx(255 * high / 2, abs=3)


@pytest.mark.parametrize(("low", "high"), [(0, 1.5), (-1, 1), (-1024, 3071), (0, np.nan)])
def test_the_scale_of_other_fractions_is_left_open(tmp_path, propose, low, high):
    table = write_fractions(tmp_path / "data" / "clinic", low, 1 if np.isnan(high) else high)
    if np.isnan(high):
        Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(table.parent / "3.tif")
    assert propose(table.parent, table)["intensity"].startswith(FILL_IN)
    with pytest.raises(InputError) as error:
        load_manifest(str(tmp_path / "mine.yaml"))
    assert len(error.value.faults) == 1  # not once more as no number
    assert error.value.faults[0].startswith("intensity: is to be filled in: [lowest, highest]")


def test_fractions_beside_whole_numbers_have_no_common_scale(tmp_path, propose):
    table = write_fractions(tmp_path / "data" / "clinic", 0, 1)
    Image.new("L", (16, 16), 200).save(table.parent / "3.tif")
    assert propose(table.parent, table)["intensity"].startswith(FILL_IN)


def test_a_manifest_that_is_there_is_used_as_it_was_corrected(clinic, tmp_path):
    table, output = name_all(clinic, "{p}/{n:04d}.png"), tmp_path / "mine.yaml"
    first = use_or_propose(clinic / "images", table, output)
    corrected = output.read_text().replace("licence: not stated", "licence: ours")
    output.write_text(corrected)
    again = use_or_propose(clinic / "images", table, output)
    assert (again.path, again.data_root) == (first.path, first.data_root) == (output, clinic.parent)
    assert "there already, and used as it is" in again.lines[0]
    assert again.lines[-1] == first.lines[-1]
    assert output.read_text() == corrected
    with pytest.raises(InputError, match="FOLDER"):
        use_or_propose(clinic / "gone", table, output)
    precious = tmp_path / "mine.txt"
    precious.write_text("mine")
    with pytest.raises(InputError, match=r"ends with \.yaml"):
        use_or_propose(clinic / "images", table, precious)


def run_cells(last: str, **parameters: str) -> dict[str, Any]:
    """Execute the notebook's cells up to the one that begins so, and give its variables."""
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "code":
            exec(code, names)
            names |= parameters if "parameters" in cell["metadata"].get("tags", []) else {}
            if code.startswith(last):
                return names
    raise AssertionError(last)


@pytest.mark.parametrize("own", [True, False])
def test_the_notebook_can_be_run_again_with_the_same_output(clinic, tmp_path, capsys, own):
    output = tmp_path / "mine.yaml"
    given = {"output": str(output)}
    if own:
        table = name_all(clinic, "{p}/{n:04d}.png")
        given |= {"folder": str(clinic / "images"), "table": str(table)}
    run_cells("if made_up and not there", **given)
    output.write_text(output.read_text() + "# corrected\n")
    corrected = output.read_text()
    capsys.readouterr()
    names = run_cells("if made_up and not there", **given)
    assert "there already, and used as it is" in capsys.readouterr().out
    if own:
        told = check(str(names["manifest"]), names["data_root"], "quick")
        assert "20 patients, 60 images" in told[0]
    assert output.read_text() == corrected
    assert names["manifest"] == output
