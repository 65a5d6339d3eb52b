"""Rows of a dataset as text, and what is wrong with them: all sources are brought to this form."""

import csv
import gzip
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO, cast

import numpy as np
import pandas as pd

from medunlearn.errors import InputError

SHOWN = 10  # faults of one kind that are printed: a wrong column would print every row
LONGEST_LINE, LARGEST_TABLE = 2**20, 2**31  # characters; the largest published table has 10^8


class Cells(NamedTuple):
    """Rows as text.

    Args:
        frame: One row per image; the index says where it stands: rows are counted as a spreadsheet
            shows them (the header is row 1), files and images of an array by their name.
        subject: The file or folder that the rows come from.
        noun: What the index counts: ``row``, ``file`` or ``image``.
    """

    frame: pd.DataFrame
    subject: Path
    noun: str = "row"


class Wrong(NamedTuple):
    """Cells of one column that share a fault; their index is that of the rows."""

    cells: "pd.Series[str]"
    remedy: str


def list_faults(cells: Cells, wrong: Sequence[Wrong]) -> list[str]:
    """One fault per cell, of each kind the first few only."""
    return [fault for kind in wrong for fault in _list_kind(cells, *kind)]


def _list_kind(cells: Cells, wrong: "pd.Series[str]", remedy: str) -> list[str]:
    place = f"{cells.subject.name}, column {wrong.name!r}"
    faults = [
        f"{place}, {cells.noun} {row}: given {cell!r}; {remedy}"
        for row, cell in wrong[:SHOWN].items()
    ]
    if len(wrong) > SHOWN:
        faults.append(f"{place}: and {len(wrong) - SHOWN} more such {cells.noun}s")
    return faults


def read_header(path: Path) -> list[str]:
    """The headers of a table.

    Raises:
        InputError: As `read_csv`.
    """
    return _read(path, None)[0]


def read_csv(path: Path, needed: Collection[str]) -> pd.DataFrame:
    """Columns of a table as text, by row number; empty lines count but give no row.

    Args:
        path: CSV or TSV, in UTF-8; packed if its name ends with ``.gz``.
        needed: Headers of the columns that are kept.

    Raises:
        InputError: The table cannot be read, lacks a column or has it twice, or has rows with too
            many cells; all are named.
    """
    _, rows = _read(path, needed)
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=list(dict.fromkeys(needed)), dtype="str"
    )


def check_columns(header: Sequence[str], needed: Collection[str], subject: Path) -> None:
    """Refuse a source that has not each of these columns once."""
    there = ", ".join(repr(name) for name in header)
    faults = [
        f"column {name!r} is there {header.count(name)} times, expected once; "
        f"there are {there}; correct the name in the manifest or in the table"
        for name in needed
        if header.count(name) != 1
    ]
    if faults:
        raise InputError(str(subject), faults)


def read_numbers(cells: "pd.Series[str]", wrong: list[Wrong]) -> "pd.Series[float]":
    """Numbers of a column; an empty cell is NaN, anything else that is no number is wrong."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    not_numbers = cells[(cells != "") & ~np.isfinite(numbers)]
    wrong.append(Wrong(not_numbers, "expected a number or an empty cell; correct it"))
    return numbers


def _read(path: Path, needed: Collection[str] | None) -> tuple[list[str], dict[int, list[str]]]:
    """Header, and the needed cells of each row; the header alone if none are asked for."""
    rows: dict[int, list[str]] = {}
    faults: list[str] = []
    reader = None
    try:
        with _open(path) as file:
            first_line = file.readline(LONGEST_LINE)
            file.seek(0)
            delimiter = max(",\t;", key=first_line.count)
            reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            if needed is None:
                return header, {}
            check_columns(header, needed, path)
            at = [header.index(name) for name in dict.fromkeys(needed)]
            # Not pandas.read_csv: it drops a first row's cells beyond the header with a warning.
            for number, row in enumerate(reader, start=2):
                if any(row[len(header) :]):
                    fault = "has more cells than the header; put cells with a delimiter in quotes"
                    faults.append(f"{path.name}, row {number}: {fault}")
                elif any(row):
                    row += [""] * (len(header) - len(row))
                    rows[number] = [row[column].strip() for column in at]
    except UnicodeDecodeError as error:
        fault = f"byte {error.start} is not UTF-8; save the table as CSV in UTF-8"
        raise InputError(str(path), [fault]) from None
    except csv.Error as error:
        line = reader.line_num if reader else 1
        raise InputError(str(path), [f"line {line}: {error}; correct it"]) from None
    except (OSError, EOFError, zlib.error, OverflowError) as error:
        fault = f"cannot be read: {error}; put the whole file there and make it readable"
        raise InputError(str(path), [fault]) from None
    if faults:
        more = [f"and {len(faults) - SHOWN} more such rows"] if len(faults) > SHOWN else []
        raise InputError(str(path), faults[:SHOWN] + more)
    return header, rows


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(newline="", encoding="utf-8-sig")


def _lines(file: TextIO) -> Iterator[str]:
    """Lines of bounded length and number: a few packed bytes can hold any amount of text."""
    total = 0
    while line := file.readline(LONGEST_LINE):
        total += len(line)
        if len(line) == LONGEST_LINE or total > LARGEST_TABLE:
            raise OverflowError(
                f"a line of over {LONGEST_LINE:,} or a table of over {LARGEST_TABLE:,} characters"
            )
        yield line
