"""A cohort from a pandas frame, as MONAI, torchxrayvision, Hugging Face and BIDS lead to one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medunlearn.cohort.cells import Wrong, check_columns, list_faults
from medunlearn.cohort.start import find_words, how_to_read, label_rule, write_fields
from medunlearn.errors import InputError

TABLE, IMAGES = "table.csv", "images"


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
        InputError: A column is not there, or rows have no image, patient or class; all are named.
            Or another frame was written there.
    """
    columns = {"image": file, "patient": patient, "label": label, "sex": sex, "age": age}
    columns = {role: name for role, name in columns.items() if name}
    check_columns([str(name) for name in frame.columns], list(columns.values()), Path("frame"))
    # whole numbers that missing values have made fractions become whole numbers again
    cells = frame[list(dict.fromkeys(columns.values()))].convert_dtypes().astype("string")
    rows = pd.DataFrame(
        {role: cells[name].fillna("").str.strip() for role, name in columns.items()}
    )
    names = rows["label"].map(_class_names(classes))
    paths = rows["image"].map(lambda given: os.path.realpath(root / given))
    wrong = {
        file: (rows["image"], paths.map(os.path.isfile), "there is no such file"),
        patient: (rows["patient"], rows["patient"] != "", "expected a patient's id"),
        label: (rows["label"], names.notna(), f"expected one of {list(classes)}, or its code"),
    }
    faults = list_faults(
        Path("frame"),
        [
            Wrong(given[~fits].rename(name), f"{remedy}; correct it, or drop the row")
            for name, (given, fits, remedy) in wrong.items()
        ],
    )
    if faults or rows.empty:
        raise InputError("frame", faults or ["it has no row; expected one for each image"])
    top = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    rows = rows.assign(image=[os.path.relpath(path, top) for path in paths], label=names)
    fields = _describe(rows, title, classes, output.stem) | how_to_read([*map(Path, paths)]) | more
    _write(rows.to_csv(index=False), Path(top), output, fields)
    return output


def _class_names(classes: Sequence[str]) -> dict[str, str]:
    """What a column of classes may hold: codes, yes and no where there are two, and names."""
    codes = {str(code): name for code, name in enumerate(classes)}
    flags = dict(zip(("False", "True"), classes, strict=True)) if len(classes) == 2 else {}
    return codes | flags | {name: name for name in classes}


def _describe(rows: pd.DataFrame, title: str, classes: Sequence[str], name: str) -> dict[str, Any]:
    """The manifest's fields, but for those on how images are read."""
    fields = {
        "title": title,
        "kind": "table",
        "folders": [name],
        "table": TABLE,
        "images": IMAGES,
        "links_outside": [f"{name}/{IMAGES}"],
        "columns": {role: role for role in rows if role != "label"},
        "label": label_rule("label", classes),
    }
    return fields | ({"sex": find_words(rows["sex"])} if "sex" in rows else {})


def _write(table: str, top: Path, output: Path, fields: dict[str, Any]) -> None:
    """Table, link and manifest, in this order; what is there already must be the same.

    Raises:
        InputError: It is of another frame.
    """
    folder = output.with_suffix("")
    path, link = folder / TABLE, folder / IMAGES
    if path.is_file() and (path.read_text("utf-8") != table or Path(os.path.realpath(link)) != top):
        fault = "holds another frame and is kept; give another output, or remove it and"
        raise InputError(str(folder), [f"{fault} {output}"])
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(table, "utf-8")
    if not link.is_symlink():
        link.symlink_to(top)
    if not output.exists():
        write_fields(output, fields)
