"""A dataset's rows as one table, checked against its manifest and its files."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort import files, rows, schema
from medunlearn.cohort.cells import Cells, Wrong, check_columns, list_faults, read_csv
from medunlearn.cohort.npz import read_arrays
from medunlearn.cohort.schema import DataManifest
from medunlearn.errors import InputError

OLDEST = 120
LAST_PART = r"([^\\/]+)$"


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
    places = files.find_places(manifest, data_root)
    cells, paths = _read_source(manifest, places)
    return code_rows(cells, manifest, places, paths)


def needed_columns(manifest: DataManifest, header: list[str] | None = None) -> list[str]:
    """What a source has to offer: all that is used and neither derived nor joined.

    Args:
        manifest: Names the columns.
        header: What the source has; of several names for a role the first that it has is taken.
    """
    steps = [*manifest.derive, *manifest.joins]
    used = [
        *choose_roles(manifest, header).values(),
        *manifest.label.needed,
        *(rule.column for rule in manifest.filters),
        *([manifest.split.column] if manifest.split else []),
        *(name for step in steps for name in step.needed),
    ]
    made = {name for step in steps for name in step.made}
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
    places: files.Places,
    paths: "pd.Series[str] | None" = None,
) -> Reading:
    """Rows of text as a table: derived, joined, filtered and coded.

    Args:
        cells: The rows, with the columns of `needed_columns`.
        manifest: Says what they mean.
        places: Where images, joined tables and lists are.
        paths: The image of each row, where the source knows it.
    """
    wrong: list[Wrong] = []
    frame = rows.shape_rows(cells.frame, manifest, places, wrong)
    columns = choose_roles(manifest, list(frame.columns))
    images, patients = frame[columns["image"]], frame[columns["patient"]]
    if paths is not None:
        paths = paths.reindex(frame.index)
    else:
        suffix = getattr(manifest, "image_suffix", "")
        paths, missing = files.find_images(images, suffix, places)
        lost = len(paths) > 1 and paths.isna().all()
        wrong += [_explain_missing(images, suffix, places)] if lost else missing
    unknown = pd.Series("", index=frame.index, dtype="str")
    table = pd.DataFrame(
        {
            "source_image": images,
            "source_patient": patients,
            "sex": rows.code_sex(frame.get(columns.get("sex", ""), unknown), manifest, wrong),
            "age": rows.code_age(frame.get(columns.get("age", ""), unknown), manifest, wrong),
            "label": manifest.label.code(frame, wrong),
            "path": paths,
        }
    )
    same = images if isinstance(manifest, schema.ArraysManifest) else paths.fillna(images)
    again = images[same.duplicated() & (images != "")]
    wrong += rows.check_ids(patients)
    wrong.append(Wrong(again, "this image has a row already; remove one of them"))
    if manifest.split is not None:
        table["split"] = rows.read_split(frame, manifest.split, places, wrong)
    faults = list_faults(cells._replace(frame=frame), wrong)
    table = rows.settle_sex(table, manifest, faults, cells.noun)
    table = table if faults else table[table["label"].notna()]
    if not faults and table.empty:
        faults = ["no row is left; fill the table or loosen the manifest's filters"]
    table = table.astype({"label": "float64" if faults else "int64", "age": "float64"})
    ordered = table.sort_values(["source_patient", "source_image"], ignore_index=True)
    return Reading(ordered, faults, cells.subject)


def describe_people(table: pd.DataFrame) -> list[str]:
    """Lines for people: missing values, ages that nobody has, and a sex that all have."""
    missing = [f"{name} {table[name].isna().sum():,}" for name in ("sex", "age")]
    lines = [f"missing values: {', '.join(missing)} of {len(table):,} images"]
    odd = table[(table["age"] < 0) | (table["age"] > OLDEST)]
    if len(odd):
        some = ", ".join(f"{age:g}" for age in sorted(odd["age"].unique(), reverse=True)[:5])
        lines.append(f"WARNING: {len(odd):,} ages are below 0 or above {OLDEST} years ({some})")
    if len(sexes := table["sex"].dropna().unique()) == 1:
        lines.append(f"WARNING: all whose sex is known are {sexes[0]}: sexes cannot be compared")
    return lines


def _read_source(
    manifest: DataManifest, places: files.Places
) -> tuple[Cells, "pd.Series[str] | None"]:
    """The rows, and where the images are if the source knows it."""
    if isinstance(manifest, schema.TableManifest):
        frame = read_csv(places.table)
        needed = needed_columns(manifest, list(frame.columns))
        check_columns(list(frame.columns), needed, places.table)
        return Cells(frame[needed], places.table), None
    needed = needed_columns(manifest)
    if isinstance(manifest, schema.FilesManifest):
        return files.read_listing(manifest, places, needed)
    if isinstance(manifest, schema.DicomManifest):
        from medunlearn.cohort.dicom import read_headers  # half a second that others need not pay

        return read_headers(places, needed)
    cells = read_arrays(places.table, needed)
    return cells, pd.Series(str(places.table), index=cells.frame.index, dtype="str")


def _explain_missing(images: "pd.Series[str]", suffix: str, places: files.Places) -> Wrong:
    """Why no row has an image, told once: other endings, paths of elsewhere, rows of patients."""
    given = images[images != ""][:1]
    name = "".join(given)
    last = name.replace("\\", "/").rpartition("/")[2]
    there = [Path(file) for file in files.list_files(places, "")[0]]
    ends = [file.suffix for file in there if file.with_suffix("").as_posix() == name]
    held = [str(file) for file in there if name in str(file)]
    if ends:
        remedy = f"set image_suffix: {ends[0]}"
    elif last + suffix in {file.name for file in there}:
        remedy = f"keep the end of the path: derive a column by extract, pattern {LAST_PART!r}"
    elif len(held) > 1:
        remedy = f"but {held[:2]} hold this one; if rows are of patients, not of images, "
        remedy += "take kind: files and joins, as data_manifests/template.yaml shows"
    else:
        remedy = f"there are {[str(file) for file in there[:2]]}; correct columns.image or images"
    below = [str(place) for place in places.images]
    return Wrong(given, f"none of the {len(images)} names is a file below {below}; {remedy}")
