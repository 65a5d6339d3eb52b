"""What a user can get wrong: each case gives one error that names the place and the remedy.

A case is a source, what is done to its files, changes of its manifest, and words that the error
must hold: place, value, expected, remedy. Nothing may be written, and no other error come out.
"""

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from medunlearn.cohort.build import build_cohort
from medunlearn.cohort.manifest import load_manifest
from medunlearn.errors import InputError

Spoil = Callable[[Path], object]


def edit(old: str, new: str, name: str = "table.csv") -> Spoil:
    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

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


def link(name: str, target: str) -> Spoil:
    def spoil(folder: Path) -> None:
        outside = folder.parents[1] / "outside"
        outside.write_bytes((folder / name).read_bytes())
        (folder / name).unlink()
        (folder / name).symlink_to(target or outside)

    return spoil


def image(name: str, values: np.ndarray, kind: str = "PNG") -> Spoil:
    return lambda folder: Image.fromarray(values).save(folder / name, kind)


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


def tags(name: str = "scans/3.dcm", **changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        dataset = pydicom.dcmread(folder / name)
        for keyword, value in changes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(folder / name)

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


def deflated(folder: Path) -> None:
    dataset = pydicom.dcmread(folder / "scans/3.dcm")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(folder / "scans/3.dcm")


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def nothing(_: Path) -> None:
    pass


HEAD = b"file,who,sex,age,state\n"
GREY = np.zeros((9, 9), np.uint8)
MASKED = {
    "label": {
        "rule": "threshold", "column": "mask_pixels", "above": 0, "classes": ["a", "b"],
        "reference_class": "a",
    },
    "mask_suffix": "_mask", "pattern": r"\d\.png$",
}  # fmt: skip
COLUMNS = {"image": "file", "patient": "who", "sex": "sex", "age": "age"}


def joined(**changes: object) -> dict[str, object]:
    return {"joins": [{"table": "more.csv", "by": {"who": "id"}, "columns": "x"} | changes]}


CASES: dict[str, tuple[str, Spoil, dict[str, object], list[str]]] = {
    # tables
    "no table": ("table", remove("table.csv"), {}, ["no table", "how to get it"]),
    "no rows": ("table", replace("table.csv", HEAD), {}, ["no row is left", "fill the table"]),
    "empty table": ("table", replace("table.csv", b""), {}, ["column 'file' is there 0 times"]),
    "binary table": ("table", replace("table.csv", bytes(range(256))), {}, ["not UTF-8", "save"]),
    "latin-1": ("table", replace("table.csv", HEAD + "\xfc".encode("latin-1")), {}, ["byte 23"]),
    "utf-16": ("table", replace("table.csv", HEAD.decode().encode("utf-16")), {}, ["UTF-8"]),
    "nul": ("table", edit("3.png", "3\x00.png"), {}, ["row 5", "below the image folders"]),
    "open quote": ("table", edit("3.png", '"3.png'), {}, ["line", "correct it"]),
    "column missing": ("table", edit("age", "Age"), {}, ["'age' is there 0 times", "'Age'"]),
    "column twice": ("table", edit("age", "sex"), {}, ["'sex' is there 2 times"]),
    "too many cells": ("table", edit("P3,", "P3,x,"), {}, ["row 5", "more cells", "quotes"]),
    "unknown sex": (
        "table",
        edit(",male", ",m"),
        {},
        ["row 3: given 'm'", "'male'", "add the word"],
    ),
    "no number": ("table", edit(",43,", ",4o,"), {}, ["row 5: given '4o'", "expected a number"]),
    "infinite age": ("table", edit(",43,", ",inf,"), {}, ["given 'inf'", "expected a number"]),
    "unknown label": (
        "table",
        edit("sick", "ill"),
        {},
        ["given 'ill'", "['well', 'sick']", "add it"],
    ),
    "empty label": ("table", edit("sick", ""), {}, ["given ''", "expected one of"]),
    "empty patient": ("table", edit("P3,", ","), {}, ["row 5: given ''", "patient's id", "fill"]),
    "empty image": ("table", edit("3.png", ""), {}, ["row 5: given ''", "name of an image"]),
    "image twice": ("table", edit("3.png", "4.png"), {}, ["row 6: given '4.png'", "a row already"]),
    "two sexes": ("table", edit("P3,male", "P2,male"), {}, ["'P2' is F in row 4, M in row 5"]),
    "way up": ("table", edit("3.png", "../3.png"), {}, ["row 5: given '../3.png'", "'..'"]),
    "absolute": ("table", edit("3.png", "/etc/passwd"), {}, ["'/etc/passwd'", "leading slash"]),
    "drive": ("table", edit("3.png", "C:\\3.png"), {}, ["row 5", "below the image folders"]),
    "home": ("table", edit("3.png", "~/3.png"), {}, ["'~/3.png'", "below the image folders"]),
    "table is a link out": (
        "table",
        link("table.csv", ""),
        {},
        ["is a link out of", "put the files"],
    ),
    "rare class": (
        "table",
        edit("19.png,P19,male,59,sick\n", ""),
        {"partition": {"train": 0.9, "validation": 0.05, "test": 0.05}},
        ["has no patient in partition", "larger share"],
    ),
    "no gzip": (
        "table",
        replace("t.csv.gz", HEAD),
        {"table": "t.csv.gz"},
        ["t.csv.gz", "cannot be"],
    ),
    "cut gzip": (
        "table",
        replace("t.csv.gz", gzip.compress(HEAD * 99)[:40]),
        {"table": "t.csv.gz"},
        ["cannot be read", "put the whole file"],
    ),
    "gzip bomb": (
        "table",
        replace("t.csv.gz", gzip.compress(bytes(2**22))),
        {"table": "t.csv.gz"},
        ["cannot be read", "characters"],
    ),
    "filters leave nothing": (
        "table",
        nothing,
        {"filters": [{"column": "age", "rule": "above", "value": 99}]},
        ["no row is left", "loosen"],
    ),
    "filter on no number": (
        "table",
        nothing,
        {"filters": [{"column": "state", "rule": "above", "value": 1}]},
        ["given 'well'", "expected a number"],
    ),
    "pattern finds nothing": (
        "table",
        nothing,
        {"derive": [{"column": "n", "rule": "extract", "source": "who", "pattern": "(x)"}]},
        ["given 'P0'", "expected to find '(x)'"],
    ),
    "no table to join": ("table", nothing, joined(), ["no file ['more.csv']", "how to get it"]),
    "join lacks a column": (
        "table",
        replace("more.csv", b"id,y\nP0,1\n"),
        joined(),
        ["more.csv", "'x' is there 0 times"],
    ),
    "join lacks patients": (
        "table",
        replace("more.csv", b"id,x\nP0,1\n"),
        joined(),
        ["row 3: given 'P1'", "more.csv has no such id", "add it"],
    ),
    "join says two things": (
        "table",
        replace("more.csv", b"id,x\nP0,1\nP0,2\n"),
        joined(),
        ["row 3: 'P0' is there twice", "keep one"],
    ),
    "unknown split": (
        "table",
        nothing,
        {"split": {"column": "state", "mapping": {"well": "train"}}},
        ["given 'sick'", "split.mapping"],
    ),
    "another checksum": (
        "table",
        nothing,
        {"distribution": [{"name": "table.csv", "md5": "0" * 32}]},
        ["given md5", "expected " + "0" * 32, "manifest of your own"],
    ),
    # images
    "image missing": (
        "table",
        remove("images/3.png"),
        {},
        ["row 5", "no such file", "remove the row"],
    ),
    "image is a link out": ("table", link("images/3.png", ""), {}, ["row 5", "link out of"]),
    "image is a loop": ("table", link("images/3.png", "3.png"), {}, ["row 5", "no such file"]),
    "no image": ("table", replace("images/3.png", b"text"), {}, ["3.png: its content is no image"]),
    "empty image file": ("table", replace("images/3.png", b""), {}, ["3.png", "no image of BMP"]),
    "cut image": ("table", cut("images/3.png", 0.5), {}, ["3.png", "truncated", "whole image"]),
    "image bomb": ("table", replace("images/3.png", bomb()), {}, ["3.png", "exceeds limit"]),
    "16 bits": (
        "table",
        image("images/3.png", GREY.astype(np.uint16)),
        {},
        ["16 bits", "intensity"],
    ),
    "8 bits, scale of 16": ("table", nothing, {"intensity": [0, 65535]}, ["have 8 bits", "65535"]),
    "not a number": (
        "table",
        image("images/3.png", np.full((9, 9), np.nan, np.float32), "TIFF"),
        {"intensity": [0, 1]},
        ["no numbers (NaN)"],
    ),
    "no such channel": ("table", nothing, {"use_channel": 2}, ["no channel 2"]),
    "folder, not an image": (
        "table",
        lambda f: ((f / "images/3.png").unlink(), (f / "images/3.png").mkdir()),
        {},
        ["row 5", "no such file"],
    ),
    # a folder per class
    "folder of no class": ("files", lambda f: (f / "sick").rename(f / "odd"), {}, ["given 'odd'"]),
    "pattern matches nothing": (
        "files",
        nothing,
        {"pattern": r"\.jpg$"},
        ["matches", "how to get"],
    ),
    "mask missing": ("files", nothing, MASKED, ["_mask.png: mask cannot be read", "whole mask"]),
    "no mask folder": ("files", nothing, {"label": MASKED["label"]}, ["'mask_pixels' is there 0"]),
    "file is a link out": ("files", link("sick/3.png", ""), {}, ["3.png", "link out of"]),
    # arrays
    "no npz": ("arrays", replace("data.npz", b"PK no"), {}, ["cannot be read as .npz", "again"]),
    "cut npz": ("arrays", cut("data.npz", 0.7), {}, ["cannot be read as .npz", "whole file"]),
    "array missing": (
        "arrays",
        arrays(val_images=None),
        {},
        ["'val_images' is missing", "MedMNIST"],
    ),
    "pickle": (
        "arrays",
        member("train_labels.npy", npy(np.array([{}] * 30), allow_pickle=True)),
        {},
        ["pickle", "never loaded"],
    ),
    "labels too few": (
        "arrays",
        arrays(val_labels=np.zeros((3, 1), np.uint8)),
        {},
        ["val_labels: given 3 labels for 12 images"],
    ),
    "labels of fractions": ("arrays", arrays(val_labels=np.zeros((12, 1))), {}, ["whole numbers"]),
    "3D": ("arrays", arrays(test_images=np.zeros((10, 9, 9, 9), np.uint8)), {}, ["3D sets"]),
    "16-bit array": (
        "arrays",
        arrays(val_images=np.zeros((12, 9, 9), np.uint16)),
        {},
        ["uint16", "state intensity"],
    ),
    "array of text": (
        "arrays",
        arrays(val_images=np.full((12, 9, 9), "a")),
        {},
        ["numbers, best uint8"],
    ),
    "label of no class": (
        "arrays",
        arrays(val_labels=np.full((12, 1), 7, np.uint8)),
        {},
        ["val/0000000: given '7'", "label.mapping"],
    ),
    "shape bomb": (
        "arrays",
        member("val_images.npy", npy(GREY, (12, 10**6, 10**6))),
        {},
        ["val_images: holds", "its shape"],
    ),
    "empty array": (
        "arrays",
        arrays(val_images=np.zeros((0, 9, 9), np.uint8), val_labels=np.zeros((0, 1), np.uint8)),
        {},
        ["given shape (0, 9, 9)"],
    ),
    "header of nonsense": (
        "arrays",
        member("val_images.npy", b"\x93NUMPY\x01\x00\x10\x00{'a': 1}"),
        {},
        ["cannot be read as .npz"],
    ),
    # DICOM
    "no DICOM": ("dicom", replace("scans/3.dcm", b"text"), {}, ["3.dcm: it is no DICOM file"]),
    "empty DICOM": ("dicom", replace("scans/3.dcm", b""), {}, ["3.dcm", "remove it"]),
    "cut DICOM": ("dicom", cut("scans/3.dcm", 0.6), {}, ["3.dcm"]),
    "no pixels": ("dicom", tags(PixelData=None), {}, ["3.dcm: it holds no image"]),
    "frames": ("dicom", tags(NumberOfFrames=3), {}, ["3 frames, expected one", "split it"]),
    "no rows tag": ("dicom", tags(Rows=None), {}, ["header lacks Rows"]),
    "huge": ("dicom", tags(Rows=65000, Columns=65000), {}, ["exceed the limit"]),
    "no window": (
        "dicom",
        tags(WindowCenter=None, WindowWidth=None),
        {},
        ["no window", "intensity:"],
    ),
    "scale not stated": (
        "dicom",
        nothing,
        {"intensity": None},
        ["16 bits or a window", "intensity"],
    ),
    "JPEG-LS": ("dicom", syntax("1.2.840.10008.1.2.4.80"), {}, ["no decoder", "gdcmconv"]),
    "broken JPEG": ("dicom", syntax("1.2.840.10008.1.2.4.50"), {}, ["cannot be decoded", "JPEG"]),
    "deflated": ("dicom", deflated, {}, ["deflated as a whole", "save it uncompressed"]),
    "no patient id": ("dicom", tags(PatientID=None), {}, ["file 3.dcm: given ''", "patient's id"]),
    "sex of other": ("dicom", tags(PatientSex="X"), {}, ["file 3.dcm: given 'X'", "'O', 'F', 'M'"]),
    "no keyword": (
        "dicom",
        nothing,
        {"columns": {"image": "file", "patient": "Who", "sex": "PatientSex"}},
        ["'Who' is no DICOM keyword"],
    ),
    "no files": (
        "dicom",
        lambda f: [p.unlink() for p in (f / "scans").iterdir()],
        {},
        ["no DICOM file"],
    ),
    "DICOM is a link out": ("dicom", link("scans/3.dcm", ""), {}, ["3.dcm", "link out of"]),
    # manifests
    "folder up": ("table", nothing, {"folders": "../mine"}, ["folders.0", "inside the data root"]),
    "table elsewhere": ("table", nothing, {"table": "/etc/passwd"}, ["table.0", "inside"]),
    "file elsewhere": (
        "table",
        nothing,
        {"distribution": [{"name": "../x"}]},
        ["distribution.0.name"],
    ),
    "short checksum": ("table", nothing, {"distribution": [{"name": "x", "md5": "12"}]}, ["md5"]),
    "address of a file": (
        "table",
        nothing,
        {"distribution": [{"name": "x", "contentUrl": "file:///etc/passwd"}]},
        ["contentUrl", "given 'file:///etc/passwd'"],
    ),
    "pattern without group": (
        "table",
        nothing,
        {"derive": [{"column": "a", "rule": "extract", "source": "who", "pattern": "P"}]},
        ["pattern", "0 groups", "expected 1"],
    ),
    "broken pattern": (
        "table",
        nothing,
        {"derive": [{"column": "a", "rule": "extract", "source": "who", "pattern": "("}]},
        ["no regular expression"],
    ),
    "template with attributes": (
        "table",
        nothing,
        {"derive": [{"column": "a", "rule": "compose", "template": "{who.__class__}"}]},
        ["template", "expected columns as {column}"],
    ),
    "upside-down scale": (
        "table",
        nothing,
        {"intensity": [9, 1]},
        ["intensity", "lower one first"],
    ),
    "window without DICOM": ("table", nothing, {"intensity": "window"}, ["only DICOM"]),
    "split by two rules": (
        "table",
        nothing,
        {"split": {"column": "a", "mapping": {"b": "test"}, "lists": {"c": "test"}}},
        ["split.lists", "one of the two"],
    ),
    "unknown partition": (
        "table",
        nothing,
        {"split": {"column": "a", "mapping": {"b": "dev"}}},
        ["split.mapping.b", "'dev'"],
    ),
    "unknown policy": (
        "table",
        nothing,
        {
            "label": {
                "rule": "mentions",
                "columns": "a",
                "uncertain": "maybe",
                "unmentioned": "zeros",
                "classes": ["a", "b"],
                "reference_class": "a",
            }
        },
        ["label.uncertain", "'zeros', 'ones' or 'ignore'"],
    ),
    "field of another kind": ("table", nothing, {"arrays": "x.npz"}, ["arrays: is no field here"]),
    "unknown kind": ("table", nothing, {"kind": "video"}, ["kind", "'dicom'"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_clear_error_and_nothing_is_written(
    case: str, lay_out, write_manifest, tmp_path: Path
):
    source, spoil, changes, expected = CASES[case]
    spoil(lay_out(source))
    path = write_manifest(source, **changes)
    with pytest.raises(InputError) as error:
        build_cohort(
            load_manifest(path), tmp_path / "data", folder=tmp_path / "study",
            cache=tmp_path / "cache", image_size=16, max_patients=None,
        )  # fmt: skip
    said = str(error.value)
    for words in expected:
        assert words in said, said
    assert all(str(fault).count("\n") == 0 for fault in error.value.faults), said
    assert not (tmp_path / "study").exists()
    assert {p.name for p in (tmp_path / "cache").glob("*")} <= {".lock"}
    assert not {p.name for p in tmp_path.iterdir()} - {"data", "mine.yaml", "cache", "outside"}


def test_there_are_enough_cases():
    assert len(CASES) >= 60


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read everything")
def test_an_unreadable_table_is_named(lay_out, write_manifest, tmp_path):
    (lay_out("table") / "table.csv").chmod(0)
    with pytest.raises(InputError, match="make it readable"):
        build_cohort(load_manifest(write_manifest("table")), tmp_path / "data",
                     folder=tmp_path / "study", cache=tmp_path / "cache", image_size=16,
                     max_patients=None)  # fmt: skip
