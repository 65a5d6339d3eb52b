"""A cohort of one's own: from a folder of images and a spreadsheet, or from a pandas frame."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from medunlearn.cohort.cells import check_columns, read_csv
from medunlearn.cohort.decode import FORMATS
from medunlearn.errors import InputError

TABLE, LINK = "table.csv", "images"
ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
LOOKED_AT = 32
DEPTHS = (1, 255, 1023, 4095, 16383, 65535)
SEXES = {
    "F": {*"fwk", "female", "woman", "weiblich", "frau", "femme", "mujer", "femenino", "donna"},
    "M": {*"mh", "male", "man", "männlich", "mann", "homme", "hombre", "masculino", "uomo"},
    "missing": {*"duo?-", "unknown", "unbekannt", "divers", "other", "na", "nan", "n/a", "none"},
}
OF_PATIENT = (
    *(r"([^/]+)/[^/]+$", r"^([^/]+)/", r"([^/]+)\.[^/.]+$", r"([^/]+)_[^/_]*$", r"([^/]+)-[^/-]*$"),
    *(rf"([^/{s}]+(?:{s}[^/{s}]+){{{more}}}){s}[^/]*$" for s in "_-" for more in range(4)),
)
"""Where a file's path may tell the patient: its folder, its name, the beginning of its name."""


def look(folder: Path) -> pd.DataFrame:
    """Kinds of images below a folder (ending, size, bits, colour), from a look at a few of them.

    Of each kind also how many of those looked at, and their highest value.
    """
    looks = _look_at([folder / name for name in _list_images(folder)])
    kinds = looks.groupby(["ending", "size", "bits", "colour"])["highest"]
    return kinds.agg(images="size", highest="max").reset_index()


def match_images(folder: Path, table: Path, *, image: str, patient: str) -> pd.DataFrame:
    """A table's rows with the images that belong to them, in a column ``file``.

    Args:
        folder: That holds the images.
        table: CSV or TSV.
        image: Column of the files' names, which may be paths of another computer and lack their
            endings; empty if the table has a row for each patient, whose images are called after
            it or lie in a folder that is. The result then has a row for each image.
        patient: Column of patients.

    Returns:
        For `cohort_from_frame`. A name that leads to no file, or to several, stays as it is.

    Raises:
        InputError: The table cannot be read or has no such column, or no image is found by it.
    """
    cells, files = read_csv(table), _list_images(folder)
    check_columns(list(cells.columns), [name for name in (image, patient) if name], table)
    if not files:
        fault = f"no image ({', '.join(sorted(ENDINGS))}) is below it; for DICOM files take kind "
        raise InputError(str(folder), [f"{fault}dicom, as data_manifests/template.yaml shows"])
    rows = _find_named(cells, image, files) if image else _find_of_patients(cells, patient, files)
    there = rows["file"].isin(files)
    if not (there & rows[patient].isin(cells[patient])).any():
        name = image or patient
        fault = f"column {name!r} leads to no image: given {list(cells[name][:1])}, there is "
        remedy = "write the patients as the files do, or give the column of the files as image"
        if image:
            remedy = "correct its name; leave image empty if the table has a row for each patient"
        raise InputError(str(table), [f"{fault}{files[0]!r}; {remedy}"])
    return rows.assign(file=(f"{folder}{os.sep}" + rows["file"]).where(there, rows["file"]))


def cohort_from_frame(
    frame: pd.DataFrame,
    title: str,
    classes: Sequence[str],
    *,
    output: Path,
    file: str = "file",
    patient: str = "patient",
    label: str = "label",
    sex: str = "sex",
    age: str = "age",
    root: Path = Path(),
    **more: Any,
) -> Path:
    """Make a frame usable wherever a manifest is: ``open_study(str(path), data_root=...)``.

    Beside the manifest, a folder of its name gets the rows as ``table.csv`` and a link to the
    images, which are neither copied nor changed. The folder that holds both is the data root.
    What is wrong in a row is told by `check`, or when the study is opened.

    Args:
        frame: One row for each image.
        title: What the images show.
        classes: Names in the order of their codes; the first one counts as negative.
        output: The manifest to write, a ``.yaml``. If it is there, it is kept: it has to be of this
            very frame.
        file: Column of the paths of the images.
        patient: Column of the patients' ids; if they are not known give that of the paths, and
            ``unit="image"``.
        label: Column of the classes, as names or codes.
        sex: Column of the sex; empty if there is none.
        age: Column of the age in years; empty if there is none.
        root: What relative paths start from.
        more: Further fields of the manifest, such as ``licence`` or ``horizontal_flip``.

    Returns:
        The manifest.

    Raises:
        InputError: A column is not there, no row has an image, or another frame was written there.
    """
    columns = {"image": file, "patient": patient, "label": label, "sex": sex, "age": age}
    columns = {role: name for role, name in columns.items() if name}
    check_columns([str(name) for name in frame.columns], list(columns.values()), Path("frame"))
    # whole numbers that missing values have made fractions become whole numbers again
    cells = frame[list(dict.fromkeys(columns.values()))].convert_dtypes().astype("string")
    rows = pd.DataFrame(
        {role: cells[name].fillna("").str.strip() for role, name in columns.items()}
    )
    real = {name: os.path.realpath(root / name) for name in rows["image"].unique() if name}
    paths = {name: path for name, path in real.items() if os.path.isfile(path)}  # noqa: PTH113
    if not paths:
        fault = f"column {file!r} names no file: given {list(real)[:2]}; expected paths of images"
        raise InputError("frame", [fault])
    top = os.path.commonpath([os.path.dirname(path) for path in paths.values()])  # noqa: PTH120
    below = {name: os.path.relpath(path, top) for name, path in paths.items()}
    names = rows["label"].map(_class_names(classes)).fillna(rows["label"])
    rows = rows.assign(image=rows["image"].map(below).fillna(rows["image"]), label=names)
    fields: dict[str, Any] = {"name": output.stem, "title": title, "source": "https://example.org"}
    fields |= dict.fromkeys(("licence", "citation", "how_to_get"), "not stated")
    fields |= {"kind": "table", "folders": [output.stem], "table": TABLE, "images": LINK}
    fields |= {"links_outside": [f"{output.stem}/{LINK}"]}
    fields["columns"] = {role: role for role in rows if role != "label"}
    fields["label"] = {"rule": "values", "column": "label", "classes": list(classes)}
    fields["label"] |= {"reference_class": classes[0], "mapping": {c: c for c in classes}}
    if sex:
        fields["sex"] = _find_words(rows["sex"])
    fields |= _how_to_read([*map(Path, paths.values())]) | more
    _write(rows.to_csv(index=False), Path(top), output, fields)
    return output


def _class_names(classes: Sequence[str]) -> dict[str, str]:
    """What a column of classes may hold: codes, yes and no where there are two, and names."""
    codes = {str(code): name for code, name in enumerate(classes)}
    flags = dict(zip(("False", "True"), classes, strict=True)) if len(classes) == 2 else {}
    return codes | flags | {name: name for name in classes}


def _write(table: str, top: Path, output: Path, fields: dict[str, Any]) -> None:
    """Table, link and manifest, in this order; what is there already must be the same.

    Raises:
        InputError: It is of another frame.
    """
    folder = output.with_suffix("")
    path, link = folder / TABLE, folder / LINK
    elsewhere = link.is_symlink() and link.resolve() != top
    if elsewhere or (path.is_file() and path.read_text("utf-8") != table):
        fault = "holds another frame and is kept; give another output, or remove it and"
        raise InputError(str(folder), [f"{fault} {output}"])
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(table, "utf-8")
    if not link.is_symlink():
        link.symlink_to(top)
    if not output.exists():
        head = "# Every field is explained in data_manifests/template.yaml.\n"
        text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100)
        output.write_text(head + text, "utf-8")


def _list_images(folder: Path) -> list[str]:
    """Paths of images below a folder, with ``/``; no hidden ones."""
    found = (path.relative_to(folder) for path in folder.rglob("*.*") if path.is_file())
    names = (path.as_posix() for path in found if path.suffix.lower() in ENDINGS)
    return sorted(name for name in names if not re.search(r"(^|/)(\.|__MACOSX)", name))


def _look_at(images: Sequence[Path]) -> pd.DataFrame:
    """Of a few images: ending, size, the shorter side, bits, colour and the highest value."""
    looks = []
    for path in images[:: max(1, -(-len(images) // LOOKED_AT))]:
        try:
            with Image.open(path, formats=FORMATS) as opened:
                pixels = np.asarray(opened if opened.mode[0] in "IF" else opened.convert("RGB"))
        except Exception:  # decoders raise almost anything on broken bytes; `check` names the file
            continue
        height, width, *planes = pixels.shape
        colour = "colour" if planes and np.ptp(pixels, axis=-1).any() else "grey"
        looked = (path.suffix, f"{width} x {height}", min(width, height))
        looks.append((*looked, pixels.dtype.itemsize * 8, colour, pixels.max()))
    return pd.DataFrame(looks, columns=["ending", "size", "side", "bits", "colour", "highest"])


def _how_to_read(images: Sequence[Path]) -> dict[str, Any]:
    """A manifest's fields on size, colour and depth, from a look at a few of the images."""
    looks = _look_at(images)
    highest = float(looks.loc[looks["bits"] > 8, "highest"].max())  # NaN: all have 8 bits
    scale = {"intensity": [0, next((d for d in DEPTHS if highest <= d), highest)]}
    return {
        "image_size": int(looks["side"].clip(8, 224).median()) if len(looks) else 224,
        "channels": 3 if looks["colour"].eq("colour").any() else 1,
        **(scale if highest > 0 else {}),
        "horizontal_flip": False,
        "partition": {"train": 0.6, "validation": 0.2, "test": 0.2},
    }


def _find_words(words: "pd.Series[str]") -> dict[str, list[str]]:
    """A manifest's words for female, male and not known: those of a column that are understood."""
    given = sorted(set(words) - {""})
    known = {sex: [w for w in given if w.casefold() in told] for sex, told in SEXES.items()}
    return {"F": known["F"] or ["F"], "M": known["M"] or ["M"], "missing": known["missing"]}


def _find_named(cells: pd.DataFrame, image: str, files: Sequence[str]) -> pd.DataFrame:
    r"""Each row with the file whose path ends in its name, with or without ending.

    ``X:\scans\P3\1.png`` is ``P3/1.png`` below the folder, whatever the computer that wrote it. Of
    all names the same number of leading parts is left out: that with which most lead to a file.
    """

    def tails(path: str) -> list[str]:
        parts = path.split("/")
        return ["/".join(parts[first:]) for first in range(len(parts))]

    ends: dict[str, set[str]] = {}
    for file in files:
        for tail in (*tails(file), *tails(file.removesuffix(Path(file).suffix))):
            ends.setdefault(tail, set()).add(file)

    parts = cells[image].str.replace("\\", "/").str.split("/")
    alone = {end: found.pop() for end, found in ends.items() if len(found) == 1}
    depth = int(parts.map(len).max())
    ways = [parts.str[left_out:].str.join("/").map(alone) for left_out in range(depth)]
    best = max(ways, key=lambda files: int(files.notna().sum()))
    return cells.assign(file=best.fillna(cells[image]))


def _find_of_patients(cells: pd.DataFrame, patient: str, files: Sequence[str]) -> pd.DataFrame:
    """A row for each file, with the cells of the patient whom its name or folder tells."""
    names = pd.Series(files, dtype="str", name="file")
    told = (names.str.extract(part, expand=False) for part in OF_PATIENT)
    people = max(told, key=lambda found: int(found.isin(cells[patient]).sum()))
    cells = cells.drop(columns="file", errors="ignore").drop_duplicates()
    rows = names.to_frame().assign(**{patient: people}).merge(cells, how="left", on=patient)
    return rows.fillna("")
