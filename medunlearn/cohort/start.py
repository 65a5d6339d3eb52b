"""A start with own data: look at a folder, and write a manifest from six names."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from medunlearn.cohort.cells import read_csv
from medunlearn.cohort.decode import FORMATS
from medunlearn.errors import InputError

IMAGES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
LOOKED_AT, MOST_CLASSES = 32, 50
DICOM = "for DICOM files take the lines for kind dicom of data_manifests/template.yaml"
DEPTHS = (1, 255, 1023, 4095, 16383, 65535)
SEXES = {
    "F": {*"fwk", "female", "woman", "weiblich", "frau", "femme", "mujer", "femenino", "donna"},
    "M": {*"mh", "male", "man", "männlich", "mann", "homme", "hombre", "masculino", "uomo"},
    "missing": {*"uo?-", "unknown", "unbekannt", "divers", "other", "na", "nan", "n/a", "none"},
}
NAME, UP = r"[^\\/]+", r"[^\\/]+[\\/]"
LAST_PARTS = (r"^(.*)$", *(f"({UP * more}{NAME})$" for more in range(3)))
"""What of a path in the table is kept: all, or its last one, two or three parts."""
OF_PATIENT = (
    *(r"([^/]+)/[^/]+$", r"^([^/]+)/", r"([^/]+)\.[^/.]+$"),
    *(part for s in "_-" for part in (rf"([^/{s}]+){s}[^/]*$", rf"([^/]+){s}[^/{s}]*$")),
)
"""Where a file's path may tell the patient: its folder, its name, the beginning of its name."""


def look(folder: Path) -> list[str]:
    """Files and endings below a folder; sizes, depths and colours of a few of its images."""
    files = _files(folder)
    endings = Counter(Path(name).suffix.lower() or "without ending" for name in files)
    lines = [f"{len(files):,} files: {', '.join(f'{n:,} {e}' for e, n in endings.most_common())}"]
    if ".dcm" in endings:
        lines.append(DICOM)
    images = [folder / name for name in files if Path(name).suffix.lower() in IMAGES]
    looks = _look_at_images(images)
    groups = looks.groupby(["size", "bits", "colour"])["highest"]
    kinds = groups.agg(images="size", most="max").reset_index()
    return lines + [
        f"{count} of {len(looks)} images: {size} px, {bits} bits, {colour}, at most {highest:g}"
        for size, bits, colour, count, highest in kinds.itertuples(index=False, name=None)
    ]


def dataset_folder(folder: Path, table: Path) -> Path:
    """The folder that holds both images and table; its parent is what to give as DATA."""
    return Path(os.path.commonpath([folder.resolve(), table.resolve().parent]))


def write_manifest(
    output: Path,
    folder: Path,
    table: Path,
    *,
    image: str,
    patient: str,
    label: str,
    reference: str,
    sex: str = "",
    age: str = "",
) -> Path:
    """Write a manifest from the names of five columns and of one class; `check` tells the rest.

    Args:
        output: A ``.yaml`` file that is not there yet; its name becomes the dataset's.
        folder: That holds the images.
        table: CSV or TSV, in the same folder or in one around it.
        image: Column of the files' names; empty if the table has a row for each patient, whose
            images are called after it or lie in a folder that is.
        patient: Column of patients.
        label: Column of classes.
        reference: The value of that column which counts as negative.
        sex: Column of the sex; empty if there is none.
        age: Column of the age; empty if there is none.

    Returns:
        The folder to give as DATA.

    Raises:
        InputError: A name is not there, no image is found by the names, or the file is there
            already: it is never overwritten.
    """
    files = [name for name in _files(folder) if Path(name).suffix.lower() in IMAGES]
    if not files:
        fault = f"no image ({', '.join(sorted(IMAGES))}) is below {folder}; {DICOM}"
        raise InputError("manifest", [fault])
    tells = {role: name for role, name in (("sex", sex), ("age", age)) if name}
    needed = [name for name in (image, patient, label, *tells.values()) if name]
    cells, root = read_csv(table, needed), dataset_folder(folder, table)
    images, path = (p.resolve().relative_to(root).as_posix() for p in (folder, table))
    if image:
        fields = _row_per_image(cells[image], files, images) | {"table": path}
        fields["columns"] |= {"patient": patient} | tells
    else:
        fields = _row_per_patient(cells[patient], files, images)
        taken = {"by": {"patient_of_file": patient}, "columns": [label, *tells.values()]}
        fields |= {"joins": [{"table": path} | taken]}
        fields["columns"] |= tells
    fields = {"folders": [root.name]} | fields
    fields["label"] = label_rule(label, _list_classes(cells[label], reference))
    if sex:
        fields["sex"] = find_words(cells[sex])
    write_fields(output, fields | how_to_read([folder / name for name in files]))
    return root.parent


def write_fields(output: Path, fields: Mapping[str, Any]) -> None:
    """Write a manifest; what only the owner of the data knows is filled in as not stated.

    Raises:
        InputError: The file is there already: it is never overwritten.
    """
    told = dict.fromkeys(("licence", "citation", "how_to_get"), "not stated")
    head = {"name": output.stem, "title": f"Images of {output.stem}"}
    head |= {"source": "https://example.org"} | told
    text = yaml.safe_dump(head | dict(fields), sort_keys=False, allow_unicode=True, width=100)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write("# Every field is explained in data_manifests/template.yaml.\n" + text)
    except FileExistsError:
        fault = f"{output} is there already and is kept; correct it, or give another name"
        raise InputError("manifest", [fault]) from None


def _files(folder: Path) -> list[str]:
    """Paths below a folder, with ``/``; no hidden ones."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not re.search(r"(^|/)(\.|__MACOSX)", name))


def _look_at_images(images: Sequence[Path]) -> pd.DataFrame:
    """Of a few images: width x height, the shorter side, bits, colour and the highest value."""
    looks = []
    for path in images[:: max(1, -(-len(images) // LOOKED_AT))]:
        try:
            with Image.open(path, formats=FORMATS) as opened:
                pixels = np.asarray(opened if opened.mode[0] in "IF" else opened.convert("RGB"))
        except Exception:  # decoders raise almost anything on broken bytes; `check` names the file
            continue
        height, width, *planes = pixels.shape
        colour = "colour" if planes and np.ptp(pixels, axis=-1).any() else "grey"
        bits = pixels.dtype.itemsize * 8
        looks.append((f"{width} x {height}", min(width, height), bits, colour, pixels.max()))
    return pd.DataFrame(looks, columns=["size", "side", "bits", "colour", "highest"])


def how_to_read(images: Sequence[Path]) -> dict[str, Any]:
    """A manifest's fields on size, colour and depth, from a look at a few of the images."""
    looks = _look_at_images(images)
    highest = float(looks.loc[looks["bits"] > 8, "highest"].max())  # NaN: all have 8 bits
    scale = {"intensity": [0, next((d for d in DEPTHS if highest <= d), highest)]}
    return {
        "image_size": int(looks["side"].clip(8, 224).median()) if len(looks) else 224,
        "channels": 3 if looks["colour"].eq("colour").any() else 1,
        **(scale if highest > 0 else {}),
        "horizontal_flip": False,
        "partition": {"train": 0.6, "validation": 0.2, "test": 0.2},
    }


def _list_classes(values: "pd.Series[str]", reference: str) -> list[str]:
    """Each value is a class, the reference the first."""
    found = sorted(set(values) - {""})
    if reference not in found or not 1 < len(found) <= MOST_CLASSES:
        some = f"column {values.name!r} has {len(found)} different values, as {found[:5]}; "
        remedy = f"expected 2 to {MOST_CLASSES}, {reference!r} among them: correct label or "
        raise InputError("manifest", [f"{some}{remedy}reference, or see the template's rules"])
    return sorted(found, key=lambda value: value != reference)


def label_rule(column: str, classes: Sequence[str]) -> dict[str, Any]:
    """A manifest's label: each value of the column is a class, the first counts as negative."""
    rule = {"rule": "values", "column": column, "classes": list(classes)}
    return rule | {"reference_class": classes[0], "mapping": {name: name for name in classes}}


def find_words(words: "pd.Series[str]") -> dict[str, list[str]]:
    """A manifest's words for female, male and not known: those of a column that are understood."""
    given = sorted(set(words) - {""})
    known = {sex: [w for w in given if w.casefold() in told] for sex, told in SEXES.items()}
    return {"F": known["F"] or ["F"], "M": known["M"] or ["M"], "missing": known["missing"]}


def _row_per_image(names: "pd.Series[str]", files: Sequence[str], place: str) -> dict[str, Any]:
    """How names in the table become files: the ending, and which part of a path tells the file."""
    bases = {name.rpartition("/")[2] for name in files}
    below = {Path(place, *"*" * name.count("/")).as_posix() for name in files}
    indexes = [([place], set(files))] + [(sorted(below), bases)] * (len(bases) == len(files))
    ends = ["", *sorted({Path(name).suffix for name in files})]
    ways = [(part, *index, end) for part in LAST_PARTS for index in indexes for end in ends]

    def count(way: tuple[str, list[str], set[str], str]) -> int:
        part, _, index, end = way
        taken = names.str.extract(part, expand=False).fillna("").str.replace("\\", "/")
        return len(set(taken + end) & index)

    best = max(ways, key=count)
    if not count(best):
        fault = f"column {names.name!r} names no file: given {names.iloc[0]!r}, expected one such "
        remedy = f"as {files[0]!r}; leave image empty if the table has a row for each patient"
        raise InputError("manifest", [fault + remedy])
    part, images, _, end = best
    fields = {"kind": "table", "images": images, "image_suffix": end}
    if part == LAST_PARTS[0]:
        return fields | {"columns": {"image": names.name}}
    rule = {"column": "file_below", "rule": "extract", "source": names.name, "pattern": part}
    return fields | {"derive": [rule], "columns": {"image": "file_below"}}


def _row_per_patient(ids: "pd.Series[str]", files: Sequence[str], place: str) -> dict[str, Any]:
    """How the names of files tell the patient."""
    names = pd.Series(files, dtype="str")
    known = {part: names.str.extract(part)[0].isin(ids).sum() for part in OF_PATIENT}
    part = max(known, key=lambda one: known[one])
    if not known[part]:
        fault = f"no file tells a patient of column {ids.name!r}: given {ids.iloc[0]!r}, "
        raise InputError("manifest", [f"{fault}expected it in names such as {files[0]!r}"])
    made = {"column": "patient_of_file", "rule": "extract", "source": "file", "pattern": part}
    roles = {"image": "file", "patient": "patient_of_file"}
    return {"kind": "files", "images": [place], "derive": [made], "columns": roles}
