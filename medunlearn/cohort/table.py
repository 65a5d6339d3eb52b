"""A dataset's rows as one table, checked against its manifest and its files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from medunlearn.cohort.cells import (
    SHOWN,
    Cells,
    Wrong,
    list_faults,
    read_csv,
    read_header,
    read_numbers,
)
from medunlearn.cohort.files import Places, find_images, find_places
from medunlearn.cohort.listing import read_listing
from medunlearn.cohort.manifest import (
    ArraysManifest,
    DataManifest,
    DicomManifest,
    FilesManifest,
    TableManifest,
)
from medunlearn.cohort.npz import read_arrays
from medunlearn.cohort.rows import derive_columns, filter_rows, join_table
from medunlearn.cohort.splits import read_split
from medunlearn.errors import InputError


class Reading(NamedTuple):
    """A table, and what is wrong with it.

    Args:
        table: As `read_table` returns it; rows with a fault may lack a path.
        faults: Of the rows; all of them.
        subject: What was read.
    """

    table: pd.DataFrame
    faults: list[str]
    subject: Path


def read_table(manifest: DataManifest, data_root: Path | None) -> pd.DataFrame:
    """Reads, filters and checks the rows of a dataset; decodes no image.

    What the manifest's filters leave out is not checked further. A sex that only some images of a
    patient state is not carried over to the others.

    Args:
        manifest: The dataset's manifest.
        data_root: The folder that holds the dataset's folder.

    Returns:
        One row per image, sorted by patient and image: `source_image`, `source_patient`, `sex`
        (F, M or None), `age` (years, NaN where not known), `label` (index into the manifest's
        classes), `path` (absolute) and, if the manifest has an official split, `split`.

    Raises:
        InputError: A file or column is missing, or rows are wrong; all faults of the rows at once.
    """
    reading = examine_table(manifest, data_root)
    if reading.faults:
        raise InputError(str(reading.subject), reading.faults)
    return reading.table


def examine_table(manifest: DataManifest, data_root: Path | None) -> Reading:
    """As `read_table`, but faults of rows are returned beside the rows.

    Raises:
        InputError: No row can be read at all.
    """
    places = find_places(manifest, data_root)
    cells, paths = _read_source(manifest, places)
    return code_rows(cells, manifest, places, paths)


def needed_columns(manifest: DataManifest, header: list[str] | None = None) -> list[str]:
    """What a source has to offer: all that is used and neither derived nor joined.

    Args:
        manifest: Names the columns.
        header: What the source has; of several names for a role the first that it has is taken.
    """
    roles = choose_roles(manifest, header)
    made = {rule.column for rule in manifest.derive}
    made |= {name for join in manifest.joins for name in join.columns}
    used = [
        *roles.values(),
        *manifest.label.needed,
        *(rule.column for rule in manifest.filters),
        *([manifest.split.column] if manifest.split else []),
        *(name for rule in manifest.derive for name in rule.needed),
        *(name for join in manifest.joins for name in join.by),
    ]
    return [name for name in dict.fromkeys(used) if name not in made]


def choose_roles(manifest: DataManifest, header: list[str] | None) -> dict[str, str]:
    """The column of each role that the manifest states."""
    wanted = {role: names for role, names in manifest.columns if names is not None}
    return {
        role: next((name for name in names if name in (header or ())), names[0])
        for role, names in wanted.items()
    }


def code_rows(
    cells: Cells,
    manifest: DataManifest,
    places: Places | None = None,
    paths: "pd.Series[str] | None" = None,
) -> Reading:
    """Rows of text as a table: derived, joined, filtered and coded.

    Args:
        cells: The rows, with the columns of `needed_columns`.
        manifest: Says what they mean.
        places: Where images, joined tables and lists are; images are not looked for without it.
        paths: The image of each row, where the source knows it.
    """
    wrong: list[Wrong] = []
    frame = derive_columns(cells.frame, manifest.derive, wrong)
    for join in manifest.joins:
        if places is None:  # its columns are among the rows
            break
        frame = join_table(frame, join, places.find(join.table), wrong)
        frame = derive_columns(frame, manifest.derive, wrong)
    frame = filter_rows(frame, manifest.filters, wrong)
    columns = choose_roles(manifest, list(frame.columns))
    images, patients = frame[columns["image"]], frame[columns["patient"]]
    if paths is not None:
        paths = paths.reindex(frame.index)
    elif places is not None:
        suffix = getattr(manifest, "image_suffix", "")
        paths, wrong_images = find_images(images, suffix, places)
        wrong += wrong_images
    else:
        paths = images
    table = pd.DataFrame(
        {
            "source_image": images,
            "source_patient": patients,
            "sex": _code_sex(frame, columns, manifest, wrong),
            "age": read_numbers(frame[columns["age"]], wrong) if "age" in columns else np.nan,
            "label": manifest.label.code(frame, wrong),
            "path": paths,
        }
    )
    same = images if isinstance(manifest, ArraysManifest) else paths.fillna(images)
    wrong += [
        Wrong(patients[patients == ""], "expected a patient's id; fill the cell"),
        Wrong(
            images[same.duplicated() & (images != "")],
            "this image has a row already; remove one of them",
        ),
    ]
    if manifest.split is not None:
        table["split"] = read_split(frame, manifest.split, places, wrong)
    faults = list_faults(cells._replace(frame=frame), wrong)
    table = _settle_sex(table, manifest, faults, cells.noun)
    table = table if faults else table[table["label"].notna()]
    if not faults and table.empty:
        faults = ["no row is left; fill the table or loosen the manifest's filters"]
    table = table.astype({"label": "float64" if faults else "int64", "age": "float64"})
    ordered = table.sort_values(["source_patient", "source_image"], ignore_index=True)
    return Reading(ordered, faults, cells.subject)


def _read_source(manifest: DataManifest, places: Places) -> tuple[Cells, "pd.Series[str] | None"]:
    """The rows, and where the images are if the source knows it."""
    if isinstance(manifest, TableManifest):
        needed = needed_columns(manifest, read_header(places.table))
        return Cells(read_csv(places.table, needed), places.table), None
    needed = needed_columns(manifest)
    if isinstance(manifest, FilesManifest):
        return read_listing(manifest, places, needed)
    if isinstance(manifest, DicomManifest):
        from medunlearn.cohort.dicom import read_headers  # half a second that others need not pay

        return read_headers(places, needed)
    cells = read_arrays(places.table, needed)
    return cells, pd.Series(str(places.table), index=cells.frame.index, dtype="str")


def _code_sex(
    cells: pd.DataFrame, columns: dict[str, str], manifest: DataManifest, wrong: list[Wrong]
) -> pd.Series:
    if manifest.sex is None:
        return pd.Series([None] * len(cells), index=cells.index, dtype=object)
    words, codes = cells[columns["sex"]], manifest.sex.codes
    known = ", ".join(repr(word) for word in codes if word)
    remedy = f"expected {known} or an empty cell; correct it, or add the word to the manifest's sex"
    wrong.append(Wrong(words[~words.isin(list(codes))], remedy))
    return pd.Series([codes.get(word) for word in words], index=words.index, dtype=object)


def _settle_sex(
    table: pd.DataFrame, manifest: DataManifest, faults: list[str], noun: str
) -> pd.DataFrame:
    """What the manifest says of patients with two sexes: a fault, sex unknown, or left out."""
    known = table[table["sex"].notna() & (table["source_patient"] != "")]
    rows = known.rename_axis("row").reset_index().groupby(["sex", "source_patient"])["row"].first()
    female, male = (rows[rows.index.isin([sex], level=0)].droplevel(0) for sex in "FM")
    both = female.index.intersection(male.index)
    affected = table["source_patient"].isin(both)
    if manifest.conflicting_sex == "drop":
        return table[~affected]
    if manifest.conflicting_sex == "null":
        return table.assign(sex=table["sex"].where(~affected, None))
    remedy = "correct them, or set conflicting_sex to null (sex unknown) or drop (patient left out)"
    faults += [
        f"patient {patient!r} is F in {noun} {female[patient]}, M in {noun} {male[patient]}; "
        + remedy
        for patient in both[:SHOWN]
    ]
    if len(both) > SHOWN:
        faults.append(f"and {len(both) - SHOWN} more patients with two sexes")
    return table
