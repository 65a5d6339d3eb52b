"""A first manifest: what a folder and a table say of themselves, and what is to be filled in."""

import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pydantic import ValidationError

from medunlearn.cohort.cells import read_csv, read_header
from medunlearn.cohort.dicom import NAMES
from medunlearn.cohort.files import Places, list_files
from medunlearn.cohort.first_manifest.draft import Draft, quote
from medunlearn.cohort.first_manifest.headers import propose_dicom
from medunlearn.cohort.first_manifest.listings import propose_listing
from medunlearn.cohort.first_manifest.tables import propose_table
from medunlearn.cohort.manifest import FIELDS, FILL_IN, NOT_STATED, NOWHERE
from medunlearn.cohort.schema import KINDS
from medunlearn.errors import InputError
from medunlearn.yamlfile import describe_fault

PICTURES = r"(?i)\.(png|jpe?g|tiff?|bmp|webp)$"
HIDDEN = r"(^|/)(\.|__MACOSX/)"  # what systems leave in folders and archives
INDEX = r"(?i)(^|/)dicomdir$"  # has the mark of DICOM, but lists files
ENDINGS = {".yaml", ".yml"}
PARTITION = {"train": 0.5, "validation": 0.2, "test": 0.3}


class Given(NamedTuple):
    """What there is to look at.

    Args:
        base: The folder that holds images and table.
        images: Where the images are, below the base; ``.`` is the base.
        files: Path below the image folder to absolute path.
        frame: The table as text; none is given for folders that tell all.
        table: Path of the table below the base.
        hidden: Whether there are hidden images, which are not among the files.
    """

    base: Path
    images: str
    files: dict[str, str]
    frame: pd.DataFrame | None
    table: str
    hidden: bool


class Written(NamedTuple):
    """A first manifest.

    Args:
        path: Of the manifest.
        data_root: What DATA has to be.
        lines: What was guessed, and what to do next, for people.
    """

    path: Path
    data_root: Path
    lines: list[str]


def new_manifest(folder: Path, table: Path | None, output: Path | None = None) -> Written:
    """Look at a folder and a table, and write a first manifest in which every guess is marked.

    Args:
        folder: Of the images.
        table: CSV or TSV, one row for each image (with DICOM files also for each patient); none
            if folders or headers tell all.
        output: Of the manifest; default: named as the folder, where the command is given.

    Raises:
        InputError: Nothing can be made of it, or the output is there already. Nothing is written.
    """
    folder, table, base = _existing(folder, table)
    name = re.sub(r"[^A-Za-z0-9_]+", "_", folder.name).strip("_") or "mine"
    path = (output or Path(f"{name}.yaml")).expanduser()
    _check_output(path)
    given = _look(base, folder, table)
    draft = Draft()
    _put_head(draft, path.stem, base)
    dicom = not any(re.search(PICTURES, file) for file in given.files)
    if dicom:
        places = Places(given.base, folder, folder, [folder], "")
        propose_dicom(draft, places, given.images, given.files, given.frame, given.table)
    elif given.frame is None:
        propose_listing(draft, given.images, given.files, given.hidden)
    else:
        propose_table(draft, given.images, given.files, given.frame, given.table)
    draft.put("horizontal_flip", False, "guessed: the careful answer; true where left and right do "
              "not differ, as in skin or cells")  # fmt: skip
    draft.put("partition", PARTITION, "shares of the patients, drawn at random by sex and label")
    draft.put("pseudonymise", True, "ids of patients and images are written as salted hashes")
    _check(draft, path)
    with path.open("x", encoding="utf-8") as file:
        file.write(draft.text())
    return Written(path, base.parent, _tell(draft, path, base))


def use_or_propose(folder: Path, table: Path | None, output: Path) -> Written:
    """The manifest that is there, as it is; else a first one. So a notebook can be run again.

    Args:
        folder: Of the images.
        table: As for `new_manifest`.
        output: The manifest; if it is there it is not opened: the check tells its faults.

    Raises:
        InputError: As `new_manifest`.
    """
    path = output.expanduser()
    if path.suffix not in ENDINGS or not path.is_file():
        return new_manifest(folder, table, path)
    base = _existing(folder, table)[2]
    lines = [
        f"there already, and used as it is: {path}",
        "to have it guessed anew, remove it or give another name; to look it through:",
        _name_check(path, base),
    ]
    return Written(path, base.parent, lines)


def _existing(folder: Path, table: Path | None) -> tuple[Path, Path | None, Path]:
    """Both without links, and the folder that holds them."""
    faults = []
    folder = Path(os.path.realpath(folder.expanduser()))
    if not folder.is_dir():
        faults.append(f"FOLDER {folder} is no folder; give the folder that holds the images")
    if table is not None:
        table = Path(os.path.realpath(table.expanduser()))
        if not table.is_file():
            faults.append(f"TABLE {table} is no file; give a table with a row for each image")
        elif re.search(r"(?i)\.(xlsx?|ods|numbers|parquet|sav|json)$", table.name):
            faults.append(f"TABLE {table.name} is no text; save it as CSV in UTF-8 and give that")
    if faults:
        raise InputError("new-manifest", faults)
    base = Path(os.path.commonpath([folder, table.parent])) if table else folder
    return folder, table, base


def _check_output(path: Path) -> None:
    faults = []
    if path.suffix not in ENDINGS:
        faults.append("expected a name that ends with .yaml; give another --output")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem):
        faults.append("expected a name of letters, digits, _ and -; give another --output")
    if path.exists() or path.is_symlink():
        faults.append("is there already and is not overwritten; give another --output")
    elif not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        faults.append(f"{path.parent} is no folder that can be written; give another --output")
    if faults:
        raise InputError(str(path), faults)


def _look(base: Path, folder: Path, table: Path | None) -> Given:
    """List the files and read the table.

    Raises:
        InputError: There is no image, a link leaves the base, or the table cannot be read.
    """
    places = Places(base, folder, table or folder, [folder], "")
    found, faults = list_files(places, PICTURES)
    pictures = {name: path for name, path in found.items() if not re.search(HIDDEN, name)}
    others, more = ({}, []) if pictures else list_files(places, r"^(?!.*(^|/)\.)")
    dicoms = {n: p for n, p in others.items() if re.search(NAMES, n) and _is_dicom(p)}
    if not pictures and not dicoms:
        faults = [*faults, *more] or [_nothing_there(folder, others)]
    if faults:
        raise InputError(str(folder), faults[:10])
    frame = None
    if table is not None:
        header = read_header(table)
        frame = read_csv(table, [name for name in header if name and header.count(name) == 1])
        if frame.empty or not len(frame.columns):
            raise InputError(str(table), ["has no rows; give a table with a row for each image"])
    where = Path(os.path.relpath(folder, base)).as_posix()
    name = table.relative_to(base).as_posix() if table else ""
    return Given(base, where, pictures or dicoms, frame, name, len(found) > len(pictures))


def _is_dicom(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _nothing_there(folder: Path, others: dict[str, str]) -> str:
    if any(name.endswith(".npz") for name in others):
        return (
            "holds arrays (.npz): copy a manifest of kind arrays, as data_manifests/pathmnist.yaml"
        )
    misnamed = [n for n, p in others.items() if not re.search(INDEX, n) and _is_dicom(p)]
    if misnamed:
        return (
            f"{len(misnamed)} DICOM files are not named as such: {quote(misnamed)}; rename them to "
            "end with .dcm (or .ima, or with nothing)"
        )
    seen = f"; it holds {', '.join(map(repr, list(others)[:5]))}" if others else "; it is empty"
    return f"no image (PNG, JPEG, TIFF, BMP, WebP, DICOM) is in {folder}{seen}; give another FOLDER"


def _put_head(draft: Draft, name: str, base: Path) -> None:
    draft.put("name", name)
    draft.put("kind", "table")
    draft.put("unit", "patient")
    draft.put("title", f"Images of {base.name}", "to be stated: what the images show")
    draft.put("source", NOWHERE, "to be stated: where they come from")
    draft.put("licence", NOT_STATED, "to be stated: who may use them, for what")
    draft.put("citation", NOT_STATED, "to be stated: how they are to be cited")
    draft.put("how_to_get", NOT_STATED, "to be stated: printed where the files are missing")
    draft.put("folders", [base.name], "below DATA")


def _check(draft: Draft, path: Path) -> None:
    """Hold the draft against the schema, as any other manifest; a scale may be left open."""
    fields = dict(draft.fields)
    if str(fields.get("intensity")).startswith(FILL_IN):
        del fields["intensity"]
    try:
        KINDS[fields["kind"]].model_validate(fields)
    except ValidationError as error:
        faults = [describe_fault(fault, FIELDS) for fault in error.errors(include_url=False)]
        raise InputError(f"first manifest {path.name}", faults) from None


def _tell(draft: Draft, path: Path, base: Path) -> list[str]:
    told = [line for line in draft.told if not line.split("(", 1)[-1].startswith("to be stated")]
    lines = [f"written: {path}", "", *(f"  {line}" for line in told), ""]
    open_ones = draft.text().count(FILL_IN)
    if open_ones:
        lines.append(
            f"not guessed: fill in what {path} marks with {FILL_IN!r} ({open_ones} places)"
        )
    lines.append("look the guesses through, state where the images are from, then")
    return [*lines, _name_check(path, base)]


def _name_check(path: Path, base: Path) -> str:
    """The command that checks a manifest."""
    data = shlex.quote(str(base.parent))
    return f"  make check DATASET={shlex.quote(str(path))} DATA={data}"
