"""A dataset's rows as one table, checked against its manifest and its files."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from medunlearn.cohort import files, partition, patients, schema
from medunlearn.cohort.cells import Wrong, check_columns, list_faults, read_csv, read_text
from medunlearn.cohort.decode import quiet
from medunlearn.cohort.forget_sets import development_patients
from medunlearn.cohort.listings import count_mask_pixels, read_arrays, read_listing
from medunlearn.cohort.rules import Join, Split, made_by
from medunlearn.cohort.schema import DataManifest
from medunlearn.errors import InputError
from medunlearn.randomness import stream

_COLUMNS = ["sample", "patient", "source_image", "source_patient", "partition", "development"]
NOBODY = {"nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "unknown", "?", "-"}
"""Words that programs and people write into an empty cell: no id of a patient."""


def read_table(manifest: DataManifest, places: files.Places) -> tuple[pd.DataFrame, list[str]]:
    """Reads, filters and checks the rows of a dataset; decodes no image.

    What the manifest's filters leave out is not checked further. A sex that only some images of a
    patient state is not carried over to the others.

    Args:
        manifest: The dataset's manifest.
        places: Where it lies.

    Returns:
        One row per image, sorted by patient and image: `source_image`, `source_patient`, `sex`
        (F, M or None), `age` (years, NaN where not known), `label` (index into the manifest's
        classes), `path` (absolute) and, if the manifest has an official split, `split`.
        And all faults of the rows; what a wrong row holds means nothing.

    Raises:
        InputError: A file or column is missing, so that no row can be read.
    """
    frame, paths = _read_source(manifest, places)
    return code_rows(frame, manifest, places, paths)


def finish_table(rows: pd.DataFrame, manifest: schema.Manifest) -> pd.DataFrame:
    """Number samples and patients, give every patient a partition, reserve the development set.

    Args:
        rows: As from ``read_table``, or the phantom's.
        manifest: Names classes and shares.

    Raises:
        InputError: A class has no patient in a partition, or the official split tears one apart.
    """
    subject = f"cohort {manifest.name}"
    table = rows.drop(columns=["path"], errors="ignore").assign(
        sample=np.arange(len(rows), dtype=np.int32),
        patient=pd.factorize(rows["source_patient"], sort=True)[0].astype(np.int32),
        label=rows["label"].astype(np.int16),
        age=rows["age"].astype("float32"),
    )
    patients, shares = partition.patient_table(table), manifest.partition.model_dump()
    official = partition.patients_of_split(table, subject) if "split" in table else None
    drawn = partition.partition_patients(patients, shares, stream("partition"), official)
    table = table.drop(columns="split", errors="ignore")
    table["partition"] = table["patient"].map(drawn)
    partition.check_partitions(table, tuple(manifest.label.classes), subject)
    table["development"] = table["patient"].isin(development_patients(table))
    return table[_COLUMNS + [c for c in table.columns if c not in _COLUMNS]]


def needed_columns(manifest: DataManifest) -> list[str]:
    """What a source has to offer: all that is used and neither derived nor joined."""
    steps = [*manifest.derive, *manifest.joins]
    used = [
        *(name for _, name in manifest.columns if name is not None),
        *manifest.label.needed,
        *(rule.column for rule in manifest.filters),
        *([manifest.split.column] if manifest.split else []),
        *(name for step in steps for name in step.needed),
    ]
    made = {name for step in steps for name in made_by(step)}
    return [name for name in dict.fromkeys(used) if name not in made]


def code_rows(
    frame: pd.DataFrame, manifest: DataManifest, places: files.Places, paths: pd.Series | None
) -> tuple[pd.DataFrame, list[str]]:
    """Bring the rows of a source into the form of `read_table`.

    Args:
        frame: The rows as text, with the columns of `needed_columns`.
        manifest: Says what they mean.
        places: Where images, joined tables and lists are.
        paths: The image of each row, where the source knows it.
    """
    wrong: list[Wrong] = []
    frame = shape_rows(frame, manifest, places, wrong)
    columns = manifest.columns
    images, people = frame[columns.image], frame[columns.patient]
    if paths is not None:
        paths = paths.reindex(frame.index)
    else:
        suffix = getattr(manifest, "image_suffix", "")
        paths, missing = files.find_images(images, suffix, places)
        wrong += missing
    unknown = pd.Series("", index=frame.index, dtype="str")
    table = pd.DataFrame(
        {
            "source_image": images,
            "source_patient": people,
            "sex": patients.code_sex(frame.get(columns.sex, unknown), manifest, wrong),
            "age": patients.code_age(frame.get(columns.age, unknown), manifest, wrong),
            "label": manifest.label.code(frame, wrong),
            "path": paths,
        }
    )
    same = images if isinstance(manifest, schema.ArraysManifest) else paths.fillna(images)
    again = images[same.duplicated() & (images != "")]
    nobody = people.str.lower().isin(NOBODY)
    wrong += [
        Wrong(people[people == ""], "expected a patient's id; fill the cell"),
        Wrong(people[nobody], "is no patient's id; fill the cell, or filter the row out"),
        Wrong(again, "this image has a row already; remove one of them"),
    ]
    if manifest.split is not None:
        table["split"] = read_split(frame, manifest.split, places, wrong)
    faults = list_faults(places.table, wrong)
    table = patients.settle_sex(table, manifest, faults)
    table = table if faults else table[table["label"].notna()]
    if not faults and table.empty:
        faults = ["no row is left; fill the table or loosen the manifest's filters"]
    table = table.astype({"label": "float64" if faults else "int64", "age": "float64"})
    return table.sort_values(["source_patient", "source_image"], ignore_index=True), faults


def shape_rows(
    frame: pd.DataFrame, manifest: DataManifest, places: files.Places, wrong: list[Wrong]
) -> pd.DataFrame:
    """Derive columns, join tables and filter.

    Raises:
        InputError: A table to join cannot be used, or columns wait for themselves.
    """
    left = [*manifest.derive, *manifest.joins]
    while left:
        waiting = {name for step in left for name in made_by(step)}
        step = next((step for step in left if waiting.isdisjoint(step.needed)), None)
        if step is None:
            fault = f"columns {sorted(waiting)} wait for themselves: give new columns new names"
            raise InputError(f"manifest {manifest.name}", [fault])
        left.remove(step)
        if isinstance(step, Join):
            frame = join_table(frame, step, places.find(step.table), wrong)
        else:
            frame = frame.assign(**{step.column: step.make(frame, wrong)})
    keep = pd.Series(True, index=frame.index)
    for rule in manifest.filters:
        keep &= rule.keep(frame, wrong)
    return frame[keep]


def join_table(frame: pd.DataFrame, join: Join, path: Path, wrong: list[Wrong]) -> pd.DataFrame:
    """Add the columns of another table; a row there may be repeated if it says the same.

    Raises:
        InputError: The table cannot be read, or says two things of one row.
    """
    ours, theirs, made = list(join.by), list(join.by.values()), list(made_by(join))
    other = read_csv(path, [*theirs, *made]).drop_duplicates()
    twice = other[other.duplicated(theirs)]
    if len(twice):
        key = ", ".join(twice.iloc[0][theirs])
        fault = f"row {twice.index[0]}: {key!r} is there twice, with different {made}"
        raise InputError(str(path), [f"{fault}; keep one of these rows"])
    keys = frame[ours].set_axis(theirs, axis=1)
    found = keys.merge(other, how="left", on=theirs, indicator="found").set_axis(frame.index)
    there = found["found"] == "both"
    if join.unmatched == "error":
        missing = frame[ours].agg(", ".join, axis=1)[~there].rename(", ".join(ours))
        remedy = f"{path.name} has no such {', '.join(theirs)}; add it, or set join.unmatched"
        wrong.append(Wrong(missing, remedy))
    joined = frame.assign(**{name: found[name].fillna("") for name in made})
    return joined[there] if join.unmatched == "drop" else joined


def read_split(
    frame: pd.DataFrame, split: Split, places: files.Places, wrong: list[Wrong]
) -> "pd.Series[str]":
    """The official part of each row: train, validation, test or train+validation.

    Raises:
        InputError: A list is not there, or two lists hold one entry.
    """
    given = frame[split.column]
    words: dict[str, str] = dict(split.mapping or {})
    expected = f"one of {list(words)}; correct it, or add it to split.mapping"
    if split.lists is not None:
        expected = f"it in one of {list(split.lists)}; add it there or filter the row out"
        for name, part in split.lists.items():
            path = places.find([name])
            entries = set(map(str.strip, read_text(path).splitlines())) - {""}
            if twice := sorted(entries & words.keys()):
                fault = f"{twice[0]!r} ({len(twice)} in all) is in another list too; keep one"
                raise InputError(str(path), [fault])
            words |= dict.fromkeys(entries, part)
    wrong.append(Wrong(given[~given.isin(list(words))], f"expected {expected}"))
    return given.map(words)


def _read_source(
    manifest: DataManifest, places: files.Places
) -> tuple[pd.DataFrame, "pd.Series[str] | None"]:
    """The rows, and where the images are if the source knows it."""
    paths: pd.Series[str] | None = None
    needed = needed_columns(manifest)
    if isinstance(manifest, schema.TableManifest):
        frame = read_csv(places.table)
    elif isinstance(manifest, schema.FilesManifest):
        columns, suffix = ["mask_pixels"] if manifest.mask_suffix else [], manifest.mask_suffix
        read = partial(count_mask_pixels, suffix=str(suffix))
        frame, paths = read_listing(places, manifest.pattern, columns, read)
    elif isinstance(manifest, schema.DicomManifest):
        from medunlearn.cohort import dicom  # half a second that others need not pay

        tags = [name for name in needed if name not in {"file", "folder"}]
        dicom.check_tags(tags, places.folder)
        with quiet(dicom=True):
            read = partial(dicom.read_tags, tags=tags)
            frame, paths = read_listing(places, dicom.NAMES, tags, read)
    else:
        frame, paths = read_arrays(places.table)
    check_columns(list(frame.columns), needed, places.table)
    return frame[needed], paths
