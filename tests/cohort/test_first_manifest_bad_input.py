"""Odd folders and tables: one clear error and nothing written, or a manifest that says so."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medunlearn.__main__ import main
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.table import read_table

ROWS = "".join(f"{n}.png;P{n};{'fm'[n % 2]};{'ab'[n // 2 % 2]}\n" for n in range(20))
TABLE = "file;patient;sex;label\n" + ROWS


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "clinic"
    (folder / "images").mkdir(parents=True)
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{number}.png")
    (folder / "list.csv").write_text(TABLE)
    return folder


def listing(tmp_path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(tmp_path.rglob("*"))}


def empty(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()


def text(content: str | bytes) -> Callable[[Path], object]:
    given = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / "list.csv").write_bytes(given)


def all_images(content: bytes) -> Callable[[Path], object]:
    return lambda folder: [p.write_bytes(content) for p in (folder / "images").iterdir()]


def link_out(folder: Path) -> None:
    outside = folder.parents[1] / "outside.png"
    outside.write_bytes((folder / "images" / "3.png").read_bytes())
    (folder / "images" / "3.png").unlink()
    (folder / "images" / "3.png").symlink_to(outside)


def only_arrays(folder: Path) -> None:
    empty(folder)
    (folder / "images" / "data.npz").write_bytes(b"PK")


REFUSED = {
    "an empty folder": (empty, "no image (PNG, JPEG"),
    "files that are no images": (
        lambda f: [empty(f), (f / "images/notes.docx").write_text("x")], "it holds 'notes.docx'",
    ),
    "only arrays": (only_arrays, "copy a manifest of kind arrays"),
    "an empty table": (text(""), "has no rows"),
    "a header alone": (text("file;patient;sex;label\n"), "has no rows"),
    "headers that are all there twice": (text("a;a\n1;2\n"), "has no rows"),
    "another encoding": (text(TABLE.replace("label", "Läsion").encode("latin-1")), "is not UTF-8"),
    "bytes": (text(os.urandom(300) + b"\xff"), "UTF-8"),
    "an open quote": (text(TABLE + '"20.png;P;f;a'), "line"),
    "too many cells": (text(TABLE + "20.png;P;f;a;b;c\n"), "row 22: has more cells"),
    "images of 0 bytes": (all_images(b""), "none of the images looked at can be read"),
    "a bomb": (
        all_images(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\0\0\0\0"),
        "none of the images looked at can be read",
    ),
    "a link out of the folder": (link_out, "3.png: is a link out of"),
    "a folder that is a file": (
        lambda f: [empty(f), (f / "images").rmdir(), (f / "images").write_text("")],
        "images is no folder",
    ),
    "no table": (lambda f: (f / "list.csv").unlink(), "list.csv is no file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_can_be_made_of_gives_one_error_and_no_file(
    name, clinic, tmp_path, monkeypatch, capsys
):
    spoil, said = REFUSED[name]
    spoil(clinic)
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    assert main(["new-manifest", str(clinic / "images"), str(clinic / "list.csv")]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("medunlearn: ")
    assert "Traceback" not in told
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("there.yaml", "is there already and is not overwritten"),
        ("dangling.yaml", "is there already and is not overwritten"),
        ("mine.txt", "ends with .yaml"),
        ("my data.yaml", "letters, digits"),
        ("nowhere/mine.yaml", "is no folder that can be written"),
    ],
)
def test_an_output_that_cannot_be_is_refused(output, said, clinic, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("precious")
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "gone")
    before = listing(tmp_path)
    arguments = [str(clinic), str(clinic / "list.csv"), "--output", output]
    assert main(["new-manifest", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert listing(tmp_path) == before


@pytest.mark.parametrize("folder", ["", "/nowhere"])
def test_a_folder_that_is_not_there_is_refused(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-manifest", folder]) == 2
    assert "FOLDER" in capsys.readouterr().err


def broken_one(folder: Path) -> None:
    (folder / "images" / "5.png").write_bytes(b"")


def mixed_sizes(folder: Path) -> None:
    for number in range(5):
        Image.new("L", (16 + number, 40)).save(folder / "images" / f"{number}.png")


ODD = {
    "one class": (text(TABLE.replace(";b\n", ";a\n")), "FILL IN the column of the label"),
    "no sex": (text(TABLE.replace(";sex", ";site").replace(";f;", ";1;").replace(";m;", ";2;")),
               "claims on the sexes are not tested"),
    "ids with spaces": (text(TABLE.replace("P", "Patient ")), "20 different in 20 rows"),
    "a column that is there twice": (
        text(TABLE.replace("\n", ";x\n").replace("label;x", "label;sex")),
        "claims on the sexes are not tested",
    ),
    "a mark of the byte order": (text(b"\xef\xbb\xbf" + TABLE.encode()), "image: file"),
    "one image of 0 bytes": (broken_one, "1 cannot be read: 'images/5.png'"),
    "mixed sizes": (mixed_sizes, "16 x 40"),
    "Windows paths": (
        text(TABLE.replace("\n", "\nC:\\scans\\", 20)), "their ends are looked for",
    ),
    "names that are nowhere": (text(TABLE.replace(".png", ".jpg").replace("\n", "\nx", 20)),
                               "FILL IN the column of image names"),
    "YAML in a header": (text(TABLE.replace("label", "label: {x: [1]} #")), "label: {x: [1]} #"),
    "control characters": (text(TABLE.replace(";a\n", ";a\x07\x85\u202e\n")), r"\x07"),
    "words that YAML takes for others": (
        text(TABLE.replace(";a\n", ";no\n").replace(";b\n", ";1e5\n")), "'no'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_said_in_a_manifest_that_is_sound(name, clinic, tmp_path, capsys):
    spoil, said = ODD[name]
    spoil(clinic)
    path = tmp_path / "mine.yaml"
    arguments = [str(clinic), str(clinic / "list.csv"), "--output", str(path)]
    assert main(["new-manifest", *arguments]) == 0
    content = path.read_text()
    assert said in content
    assert isinstance(yaml.safe_load(content), dict)
    code = (
        main(["check", "--dataset", str(path), "--data", str(tmp_path / "data")])
        if "FILL IN" in content
        else 2
    )
    assert code == 2  # what is to be filled in is an error of the check, told by name
    if "FILL IN" in content:
        assert "is to be filled in" in capsys.readouterr().err
    else:
        rows = read_table(load_manifest(str(path)), tmp_path / "data")
        assert len(rows) == 20


def test_a_table_of_a_hundred_thousand_rows_is_looked_at_as_a_whole(clinic, tmp_path):
    lines = [f"{n % 20}.png;P{n};{'fm'[n % 2]};{'ab'[n // 2 % 2]}" for n in range(100_000)]
    (clinic / "list.csv").write_text("file;patient;sex;label\n" + "\n".join(lines))
    path = tmp_path / "mine.yaml"
    assert main(["new-manifest", str(clinic), str(clinic / "list.csv"), "--output", str(path)]) == 0
    assert "100000 different in 100000 rows" in path.read_text()
