"""What a user can get wrong: each case gives one error that names the place and the remedy.

A case is a source, what is done to its files, changes of its manifest, and words that the error
must hold: place, value, expected, remedy. Nothing may be written, and no other error come out.
"""

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from medunlearn.errors import InputError

Spoil = Callable[[Path], object]


def edit(old: str, new: str) -> Spoil:
    def spoil(folder: Path) -> None:
        text = (folder / "table.csv").read_text()
        assert old in text
        (folder / "table.csv").write_text(text.replace(old, new, 1))

    return spoil


def replace(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str, keep: float) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(keep * len(content))])

    return spoil


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def image(values: np.ndarray, kind: str = "PNG") -> Spoil:
    return lambda folder: Image.fromarray(values).save(folder / "images/3.png", kind)


def arrays(**changes: np.ndarray | None) -> Spoil:
    def spoil(folder: Path) -> None:
        held = dict(np.load(folder / "data.npz")) | changes
        np.savez(folder / "data.npz", **{k: v for k, v in held.items() if v is not None})

    return spoil


def member(name: str, content: bytes) -> Spoil:
    """A member of the .npz with these very bytes."""

    def spoil(folder: Path) -> None:
        with zipfile.ZipFile(folder / "data.npz") as old:
            kept = {n: old.read(n) for n in old.namelist() if n != name}
        with zipfile.ZipFile(folder / "data.npz", "w") as new:
            for other, held in (kept | {name: content}).items():
                new.writestr(other, held)

    return spoil


def npy(values: np.ndarray, shape: tuple[int, ...] | None = None, **how: object) -> bytes:
    file = io.BytesIO()
    if shape is None:
        np.save(file, values, **how)
        return file.getvalue()
    header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + values.tobytes()


def tags(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        dataset = pydicom.dcmread(folder / "scans/3.dcm")
        for keyword, value in changes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(folder / "scans/3.dcm")

    return spoil


def syntax(uid: str) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "scans/3.dcm"
        dataset = pydicom.dcmread(path)
        dataset.PixelData = pydicom.encaps.encapsulate([b"no image at all "])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = uid
        dataset.save_as(path, implicit_vr=False, little_endian=True)

    return spoil


def nothing(_: Path) -> None:
    pass


def remove_all(folder: Path) -> None:
    for path in (folder / "scans").iterdir():
        path.unlink()


def per_patient(folder: Path) -> None:
    """The table tells of patients, and each has images that are called after it."""
    for path in (folder / "images").iterdir():
        for view in (1, 2):
            (path.with_name(f"P{path.stem}_{view}.png")).write_bytes(path.read_bytes())
        path.unlink()


def derived(rule: str, **how: object) -> dict[str, object]:
    return {"derive": [{"column": "new", "rule": rule} | how]}


def joined(**changes: object) -> dict[str, object]:
    return {"joins": [{"table": "more.csv", "by": {"who": "id"}, "columns": "x"} | changes]}


def split(**how: object) -> dict[str, object]:
    return {"split": {"column": "state"} | how}


HEAD = b"file,who,sex,age,state\n"
GREY = np.zeros((9, 9), np.uint8)
ON_MASKS = {"rule": "threshold", "column": "mask_pixels", "above": 0}
TWO = {"classes": ["a", "b"], "reference_class": "a"}
MASKED = {"label": ON_MASKS | TWO, "mask_suffix": "_mask", "pattern": r"\d\.png$"}
BY_PATIENT = {"columns": {"image": "who", "patient": "who"}, "sex": None}
THRESHOLD = {"rule": "threshold", "column": "age", "above": 50} | TWO
ONE_HOT = {"rule": "one_hot", "mapping": {"well": "a", "sick": "b"}} | TWO
MISSPELT = {
    "rule": "values", "column": "state", "classes": ["well", "sick", "sik"],
    "reference_class": "well", "mapping": {"well": "well", "sick": "sick", "sik": "sik"},
}  # fmt: skip
LISTS = {"a.txt": "train+validation", "b.txt": "test"}
NO_AGE = {"image": "file", "patient": "who", "sex": "sex"}
UNLIT = np.full((9, 9), np.nan, np.float32)
# fmt: off
CASES: dict[str, list[tuple[str, Spoil, dict[str, object], list[str]]]] = {
    "table": [
        ("no table", remove("table.csv"), {}, ["no table", "how to get it"]),
        ("no rows", replace("table.csv", HEAD), {}, ["no row is left", "fill the table"]),
        ("empty table", replace("table.csv", b""), {}, ["column 'file' is there 0 times"]),
        ("latin-1", replace("table.csv", HEAD + b"\n" * 9000 + b"M\xfcller,P1"), {},
         ["line 9002: byte 0xFC after 'M' is not UTF-8", "CSV UTF-8"]),
        ("open quote", edit("3.png", '"3.png'), {}, ["row 5", "close all quotes"]),
        ("column missing", edit("age", "Age"), {}, ["'age' is there 0 times", "'Age'"]),
        ("column twice", edit("age", "sex"), {}, ["'sex' is there 2 times"]),
        ("too many cells", edit("P3,", "P3,x,"), {}, ["row 5", "more cells", "quotes"]),
        ("unknown sex", edit(",male", ",m"), {}, ["row 3: given 'm'", "'male'", "add the word"]),
        ("no number", edit(",43,", ',"43,5",'), {}, ["given '43,5'", "number such as 4.5", "ages"]),
        ("unknown label", edit("sick", "ill"), {}, ["'ill'", "['well', 'sick']", "add it"]),
        ("empty label", edit("sick", ""), {}, ["given ''", "label.empty"]),
        ("no 1 of several", edit("age,state", "well,sick"), {"label": ONE_HOT, "columns": NO_AGE},
         ["row 2: given '40,well'", "exactly one 1"]),
        ("empty patient", edit("P3,", ","), {}, ["row 5: given ''", "patient's id", "fill"]),
        ("patient NaN", edit("P3,", "NaN,"), {}, ["row 5: given 'NaN'", "no patient's id"]),
        ("empty image", edit("3.png", ""), {}, ["row 5: given ''", "name of an image"]),
        ("image twice", edit("3.png", "4.png"), {}, ["row 6: given '4.png'", "a row already"]),
        ("two sexes", edit("P3,male", "P2,male"), {}, ["'P2' is F in row 4, M in row 5"]),
        ("way up", edit("3.png", "../3.png"), {}, ["row 5: given", "no such file"]),
        ("up to a table", edit("3.png", "../../../mine.yaml"), {}, ["row 5", "is a link out of"]),
        ("rare class", edit("19.png,P19,male,59,sick\n", ""),
         {"partition": {"train": 0.9, "validation": 0.05, "test": 0.05}},
         ["has no patient in partition", "by partition or split"]),
        ("misspelt class", edit("P19,male,59,sick", "P19,male,59,sik"), {"label": MISSPELT},
         ["(1 in the whole cohort: P19; expected at least 1"]),
        ("one class", nothing, {"label": THRESHOLD | {"above": 0}},
         ["'a' has no patient in partition 'train' (0 in the"]),
        ("cut gzip", replace("t.csv.gz", gzip.compress(HEAD * 99)[:40]), {"table": "t.csv.gz"},
         ["cannot be read", "put the whole file"]),
        ("filters leave nothing", nothing,
         {"filters": [{"column": "age", "rule": "above", "value": 99}]}, ["no row is left"]),
        ("filter on no number", nothing,
         {"filters": [{"column": "state", "rule": "above", "value": 1}]}, ["given 'well'"]),
        ("pattern finds nothing", nothing, derived("extract", source="who", pattern="(x)"),
         ["given 'P0'", "expected to find '(x)'"]),
        ("no table to join", nothing, joined(), ["no file ['more.csv']", "how to get it"]),
        ("join lacks a column", replace("more.csv", b"id,y\nP0,1\n"), joined(),
         ["more.csv", "'x' is there 0 times"]),
        ("join lacks patients", replace("more.csv", b"id,x\nP0,1\n"), joined(),
         ["row 3: given 'P1'", "more.csv has no such id", "add it"]),
        ("join says two things", replace("more.csv", b"id,x\nP0,1\nP0,2\n"), joined(),
         ["row 3: 'P0' is there twice", "keep one"]),
        ("unknown split", nothing, split(mapping={"well": "train+validation", "x": "test"}),
         ["'sick'", "split.mapping"]),
        ("a patient torn apart", edit("\n2.png,P2,", "\n2.png,P0,"),
         split(mapping={"well": "train+validation", "sick": "test"}),
         ["'P0' has images in test and train"]),
        ("another checksum", nothing, {"distribution": [{"name": "table.csv", "md5": "0" * 32}]},
         ["given md5", "expected " + "0" * 32, "manifest of your own"]),
        # images
        ("image missing", remove("images/3.png"), {}, ["row 5", "no such file", "remove the row"]),
        ("all without ending", nothing, BY_PATIENT | {"columns": {"image": "n", "patient": "who"}}
         | {"derive": [{"column": "n", "rule": "extract", "source": "file", "pattern": r"(\d+)"}]},
         ["row 2: given '0'", "no row names a file", "'0.png'", "image_suffix"]),
        ("a table per patient", per_patient, BY_PATIENT,
         ["row 2: given 'P0'", "P0_1.png", "rows are of patients", "kind: files", "joins"]),
        ("no image", replace("images/3.png", b"text"), {}, ["3.png: its content is no image"]),
        ("cut image", cut("images/3.png", 0.5), {}, ["3.png", "truncated", "whole image"]),
        ("16 bits", image(GREY.astype(np.uint16)), {}, ["16 bits", "intensity"]),
        ("8 bits, scale of 16", nothing, {"intensity": [0, 65535]}, ["have 8 bits", "65535"]),
        ("not a number", image(UNLIT, "TIFF"), {"intensity": [0, 1]}, ["no numbers (NaN)"]),
        ("no such channel", nothing, {"use_channel": 2}, ["no channel 2"]),
        # manifests
        ("folder up", nothing, {"folders": "../mine"}, ["folders.0", "inside the data root"]),
        ("table elsewhere", nothing, {"table": "/etc/passwd"}, ["table.0", "inside"]),
        ("file elsewhere", nothing, {"distribution": [{"name": "../x"}]}, ["distribution.0.name"]),
        ("address of a file", nothing,
         {"distribution": [{"name": "x", "contentUrl": "file:///etc/passwd"}]},
         ["contentUrl", "given 'file:///etc/passwd'"]),
        ("pattern without group", nothing, derived("extract", source="who", pattern="P"),
         ["pattern", "0 groups", "expected 1"]),
        ("broken pattern", nothing, derived("extract", source="who", pattern="("),
         ["no regular expression"]),
        ("template with attributes", nothing, derived("compose", template="{who.__class__}"),
         ["template", "expected columns as {column}"]),
        ("column of itself", nothing, derived("compose", template="{new}/{file}"),
         ["['new'] wait for themselves", "new names"]),
        ("columns in a circle", nothing, {"derive": [
            {"column": new, "rule": "compose", "template": f"{{{old}}}"}
            for new, old in ("xy", "yx")
        ]}, ["['x', 'y'] wait for themselves", "new names"]),
        ("upside-down scale", nothing, {"intensity": [9, 1]}, ["intensity", "lower one first"]),
        ("split by two rules", nothing, split(mapping={"b": "test"}, lists={"c": "test"}),
         ["split: given", "one of the two"]),
        ("split by no rule", nothing, split(), ["split: given", "one of the two"]),
        ("split without validation", nothing, split(mapping={"well": "train", "sick": "test"}),
         ["no patient in partition 'validation_method'", "by partition or split"]),
        ("unknown partition", nothing, split(mapping={"b": "dev"}), ["split.mapping.b", "'dev'"]),
        ("unknown policy", nothing, {"label": TWO | {"rule": "mentions", "columns": "a",
         "uncertain": "maybe", "unmentioned": "zeros"}},
         ["label.uncertain", "'zeros', 'ones' or 'ignore'"]),
        ("empty of no class", nothing, {"label": THRESHOLD | {"empty": "c"}},
         ["label.empty: given 'c'", "['a', 'b']"]),
        ("field of another kind", nothing, {"arrays": "x.npz"}, ["arrays: is no field here"]),
        ("unknown kind", nothing, {"kind": "video"}, ["kind", "'dicom'"]),
    ],
    "files": [
        ("no class", lambda f: (f / "sick").rename(f / "odd"), {}, ["given 'odd'"]),
        ("no match", nothing, {"pattern": r"\.jpg$"}, ["matches '\\\\.jpg$'", "how to get"]),
        ("broken pattern", nothing, {"pattern": "("}, ["pattern: given '('", "valid regular"]),
        ("no mask", nothing, MASKED, ["_mask.png: mask cannot be read", "whole mask"]),
        ("no masks", nothing, {"label": MASKED["label"]}, ["'mask_pixels' is there 0"]),
    ],
    "arrays": [
        ("no npz", replace("data.npz", b"PK no"), {}, ["cannot be read as .npz", "again"]),
        ("cut npz", cut("data.npz", 0.7), {}, ["cannot be read as .npz", "whole file"]),
        ("missing", arrays(val_images=None), {}, ["no item named 'val_images.npy'", "MedMNIST"]),
        ("pickle", member("train_labels.npy", npy(np.array([{}] * 30), allow_pickle=True)), {},
         ["allow_pickle=False", "again"]),
        ("labels too few", arrays(val_labels=np.zeros((3, 1), np.uint8)), {},
         ["val: given images uint8 of shape (12, 16, 16), labels uint8 of shape (3, 1)"]),
        ("fractions", arrays(val_labels=np.zeros((12, 1))), {}, ["whole numbers"]),
        ("3D", arrays(test_images=np.zeros((10, 9, 9, 9), np.uint8)), {}, ["3D sets"]),
        ("16 bits", arrays(val_images=np.zeros((12, 9, 9), np.uint16)), {},
         ["uint16", "state intensity"]),
        ("label of no class", arrays(val_labels=np.full((12, 1), 7, np.uint8)), {},
         ["val/0000000: given '7'", "label.mapping"]),
        ("shape bomb", member("val_images.npy", npy(GREY, (12, 10**6, 10**6))), {},
         ["cannot be read as .npz"]),
        ("nonsense", member("val_images.npy", b"\x93NUMPY\x01\x00\x10\x00{'a': 1}"), {},
         ["cannot be read as .npz"]),
    ],
    "dicom": [
        ("no DICOM", replace("scans/3.dcm", b"text"), {}, ["3.dcm: File is missing DICOM"]),
        ("cut DICOM", cut("scans/3.dcm", 0.6), {}, ["3.dcm", "less than expected"]),
        ("no pixels", tags(PixelData=None), {}, ["3.dcm: ", "no pixel data to decode"]),
        ("frames", tags(NumberOfFrames=3), {}, ["3 frames, expected one", "split it"]),
        ("no window", tags(WindowCenter=None, WindowWidth=None), {}, ["no window", "intensity:"]),
        ("no scale", nothing, {"intensity": None}, ["16 bits or a window", "intensity: window"]),
        ("JPEG-LS", syntax("1.2.840.10008.1.2.4.80"), {}, ["requires", "pyjpegls"]),
        ("broken JPEG", syntax("1.2.840.10008.1.2.4.50"), {}, ["Unable to decode"]),
        ("no patient id", tags(PatientID=None), {}, ["file 3.dcm: given ''", "patient's id"]),
        ("sex of other", tags(PatientSex="X"), {}, ["file 3.dcm: given 'X'", "'O', 'F', 'M'"]),
        ("no keyword", nothing,
         {"columns": {"image": "file", "patient": "Who", "sex": "PatientSex"}},
         ["['Who'] are no DICOM keywords"]),
        ("no files", remove_all, {}, ["no file below", "dcm"]),
    ],
}
# fmt: on
FLAT = [(source, *case) for source, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("source", "spoil", "changes", "expected"),
    [(source, *case) for source, _, *case in FLAT],
    ids=[f"{source}: {name}" for source, name, *_ in FLAT],
)
def test_a_mistake_is_one_clear_error_and_nothing_is_written(
    source, spoil, changes, expected, lay_out, write_manifest, build, tmp_path: Path
):
    spoil(lay_out(source))
    with pytest.raises(InputError) as error:
        build(write_manifest(source, **changes))
    said = str(error.value)
    for words in expected:
        assert words in said, said
    assert all(str(fault).count("\n") == 0 for fault in error.value.faults), said
    assert not (tmp_path / "study").exists()
    assert {p.name for p in (tmp_path / "cache").glob("*")} <= {".lock"}
    assert not {p.name for p in tmp_path.iterdir()} - {"data", "mine.yaml", "cache"}


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read everything")
def test_an_unreadable_table_is_named(lay_out, write_manifest, build):
    (lay_out("table") / "table.csv").chmod(0)
    with pytest.raises(InputError, match="make it readable"):
        build(write_manifest("table"))
