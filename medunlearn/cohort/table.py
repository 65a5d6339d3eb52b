"""A dataset's table as one row per image, checked against its manifest and its files."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from medunlearn.cohort.files import Wrong, find_images, find_places
from medunlearn.cohort.manifest import TableManifest
from medunlearn.cohort.schema import NumberFilter, ThresholdLabel, ValuesLabel
from medunlearn.errors import InputError

SHOWN = 10  # faults of one kind that are printed: a wrong column would print every row


def read_table(manifest: TableManifest, data_root: Path | None) -> pd.DataFrame:
    """Reads, filters and checks the table of a dataset; decodes no image.

    Rows are counted as a spreadsheet shows them: the header is row 1. What the manifest's filters
    leave out is not checked further. A sex that only some images of a patient state is not
    carried over to the others.

    Args:
        manifest: The dataset's manifest.
        data_root: The folder that holds the dataset's folder.

    Returns:
        One row per image, sorted by patient and image: `source_image`, `source_patient`, `sex`
        (F, M or None), `age` (years, NaN where not known), `label` (index into the manifest's
        classes), `path` (absolute).

    Raises:
        InputError: A file or column is missing, or rows are wrong; all faults of the rows at once.
    """
    places = find_places(manifest, data_root)
    cells, columns = _read_cells(places.table, manifest)
    wrong: list[Wrong] = []
    cells = _filter_rows(cells, manifest, wrong)
    images, patients = cells[columns["image"]], cells[columns["patient"]]
    paths, wrong_images = find_images(images, manifest.image_suffix, places)
    table = pd.DataFrame(
        {
            "source_image": images,
            "source_patient": patients,
            "sex": _code_sex(cells, columns, manifest, wrong),
            "age": _read_numbers(cells[columns["age"]], wrong) if "age" in columns else np.nan,
            "label": _code_label(cells, manifest, wrong),
            "path": paths,
        }
    )
    repeated = images[paths.fillna(images).duplicated() & (images != "")]
    wrong += [
        *wrong_images,
        Wrong(patients[patients == ""], "expected a patient's id; fill the cell"),
        Wrong(repeated, "this image has a row already; remove one of them"),
    ]
    faults = [fault for kind in wrong for fault in _list_rows(places.table, *kind)]
    table = _settle_sex(table, manifest, faults)
    if not faults and table.empty:
        faults = ["no row is left; fill the table or loosen the manifest's filters"]
    if faults:
        raise InputError(str(places.table), faults)
    table = table.astype({"label": "int64", "age": "float64"})
    return table.sort_values(["source_patient", "source_image"], ignore_index=True)


def _list_rows(path: Path, cells: pd.Series, remedy: str) -> list[str]:
    """One fault per cell, the first few only."""
    place = f"{path.name}, column {cells.name!r}"
    faults = [
        f"{place}, row {row}: given {cell!r}; {remedy}" for row, cell in cells[:SHOWN].items()
    ]
    if len(cells) > SHOWN:
        faults.append(f"{place}: and {len(cells) - SHOWN} more such rows")
    return faults


def _read_cells(path: Path, manifest: TableManifest) -> tuple[pd.DataFrame, dict[str, str]]:
    """The columns that the manifest needs, as text by row number; and the headers by role."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first_line = file.readline()
            file.seek(0)
            delimiter = max(",\t;", key=first_line.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            columns, needed = _choose_columns(header, manifest, path)
            at = {name: header.index(name) for name in needed}
            rows: dict[int, list[str]] = {}
            faults = []
            # Not pandas.read_csv: it drops a first row's cells beyond the header with a warning.
            for number, row in enumerate(reader, start=2):
                if any(row[len(header) :]):
                    fault = "has more cells than the header; put cells with a delimiter in quotes"
                    faults.append(f"{path.name}, row {number}: {fault}")
                elif any(row):
                    row += [""] * (len(header) - len(row))
                    rows[number] = [row[column].strip() for column in at.values()]
    except OSError as error:
        raise InputError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        fault = f"byte {error.start} is not UTF-8; save the table as CSV in UTF-8"
        raise InputError(str(path), [fault]) from None
    except csv.Error as error:
        raise InputError(str(path), [f"line {reader.line_num}: {error}; correct it"]) from None
    if faults:
        more = [f"and {len(faults) - SHOWN} more such rows"] if len(faults) > SHOWN else []
        raise InputError(str(path), faults[:SHOWN] + more)
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(at), dtype="str"), columns


def _choose_columns(
    header: list[str], manifest: TableManifest, path: Path
) -> tuple[dict[str, str], list[str]]:
    """The header of each role that the manifest states; and all headers that are needed."""
    wanted = {role: names for role, names in manifest.columns if names is not None}
    chosen = {
        role: next((name for name in names if name in header), names[0])
        for role, names in wanted.items()
    }
    others = [manifest.label.column, *(rule.column for rule in manifest.filters)]
    needed = list(dict.fromkeys([*chosen.values(), *others]))
    there = ", ".join(repr(name) for name in header)
    faults = [
        f"column {name!r} is there {header.count(name)} times, expected once; the table has {there}"
        for name in needed
        if header.count(name) != 1
    ]
    if faults:
        raise InputError(str(path), faults)
    return chosen, needed


def _read_numbers(cells: pd.Series, wrong: list[Wrong]) -> pd.Series:
    """Numbers of a column; an empty cell is NaN, anything else that is no number is wrong."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    not_numbers = cells[(cells != "") & ~np.isfinite(numbers)]
    wrong.append(Wrong(not_numbers, "expected a number or an empty cell; correct it"))
    return numbers


def _filter_rows(cells: pd.DataFrame, manifest: TableManifest, wrong: list[Wrong]) -> pd.DataFrame:
    keep = pd.Series(True, index=cells.index)
    for rule in manifest.filters:
        if isinstance(rule, NumberFilter):
            numbers = _read_numbers(cells[rule.column], wrong)
            keep &= numbers > rule.value if rule.rule == "above" else numbers < rule.value
        else:
            keep &= cells[rule.column].isin(rule.value)
    return cells[keep]


def _code_sex(
    cells: pd.DataFrame, columns: dict[str, str], manifest: TableManifest, wrong: list[Wrong]
) -> pd.Series:
    if manifest.sex is None:
        return pd.Series([None] * len(cells), index=cells.index, dtype=object)
    words, codes = cells[columns["sex"]], manifest.sex.codes
    known = ", ".join(repr(word) for word in codes if word)
    remedy = f"expected {known} or an empty cell; correct it, or add the word to the manifest's sex"
    wrong.append(Wrong(words[~words.isin(list(codes))], remedy))
    return pd.Series([codes.get(word) for word in words], index=words.index, dtype=object)


def _code_label(cells: pd.DataFrame, manifest: TableManifest, wrong: list[Wrong]) -> pd.Series:
    label = manifest.label
    given = cells[label.column]
    if isinstance(label, ValuesLabel):
        remedy = f"expected one of {list(label.mapping)}; correct it, or add it to label.mapping"
        wrong.append(Wrong(given[~given.isin(list(label.mapping))], remedy))
        return given.map(
            {value: label.classes.index(name) for value, name in label.mapping.items()}
        )
    wrong.append(Wrong(given[given == ""], "expected a label; fill the cell or filter the row out"))
    if isinstance(label, ThresholdLabel):
        return (_read_numbers(given, wrong) > label.above).astype(int)
    return (given != label.value).astype(int)


def _settle_sex(table: pd.DataFrame, manifest: TableManifest, faults: list[str]) -> pd.DataFrame:
    """What the manifest says of patients with two sexes: a fault, sex unknown, or left out."""
    known = table[table["sex"].notna() & (table["source_patient"] != "")]
    rows = known.reset_index(names="row").groupby(["sex", "source_patient"])["row"].first()
    female, male = (rows[rows.index.isin([sex], level=0)].droplevel(0) for sex in "FM")
    both = female.index.intersection(male.index)
    affected = table["source_patient"].isin(both)
    if manifest.conflicting_sex == "drop":
        return table[~affected]
    if manifest.conflicting_sex == "null":
        return table.assign(sex=table["sex"].where(~affected, None))
    remedy = "correct them, or set conflicting_sex to null (sex unknown) or drop (patient left out)"
    faults += [
        f"patient {patient!r} is F in row {female[patient]}, M in row {male[patient]}; {remedy}"
        for patient in both[:SHOWN]
    ]
    if len(both) > SHOWN:
        faults.append(f"and {len(both) - SHOWN} more patients with two sexes")
    return table
