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
    faults = []
    for given, remedy in wrong:
        place = f"{cells.subject.name}, column {given.name!r}"
        told = [f"{place}, {cells.noun} {row}: given {cell!r}; {remedy}"
                for row, cell in given[:SHOWN].items()]  # fmt: skip
        faults += first_few(told, len(given), f"such {cells.noun}s in column {given.name!r}")
    return faults


def first_few(faults: Sequence[str], total: int, noun: str) -> list[str]:
    """The first faults, and how many more there are."""
    more = [f"and {total - SHOWN} more {noun}"] if total > SHOWN else []
    return [*faults[:SHOWN], *more]


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
    columns = list(dict.fromkeys(needed))
    rows = _read(path, columns)[1]
    return pd.DataFrame(list(rows.values()), index=list(rows), columns=columns, dtype="str")


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


def read_numbers(cells: "pd.Series[str]", wrong: list[Wrong], hint: str = "") -> "pd.Series[float]":
    """Numbers of a column; an empty cell is NaN, anything else that is no number is wrong."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    not_numbers = cells[(cells != "") & ~np.isfinite(numbers)]
    wrong.append(Wrong(not_numbers, f"expected a number or an empty cell; correct it{hint}"))
    return numbers


def _read(path: Path, needed: list[str] | None) -> tuple[list[str], dict[int, list[str]]]:
    """Header, and the needed cells of each row; the header alone if none are asked for."""
    rows: dict[int, list[str]] = {}
    faults, line = [], 1
    try:
        with _open(path) as file:
            first_line = file.readline(2**16)  # csv takes no longer fields
            file.seek(0)
            reader = csv.reader(_lines(file), delimiter=_delimiter(first_line), strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            if needed is None:
                return header, {}
            check_columns(header, needed, path)
            at = [header.index(name) for name in needed]
            # Not pandas.read_csv: it drops a first row's cells beyond the header with a warning.
            line = reader.line_num + 1
            for number, row in enumerate(reader, start=2):
                line = reader.line_num + 1
                if any(row[len(header) :]):
                    fault = "has more cells than the header; put cells with a delimiter in quotes"
                    faults.append(f"{path.name}, row {number}: {fault}")
                elif any(row):
                    row += [""] * (len(header) - len(row))
                    rows[number] = [row[column].strip() for column in at]
    except UnicodeDecodeError as error:
        fault = f"{_find_wrong_byte(path) or error}: save the table as CSV in UTF-8"
        raise InputError(str(path), [fault]) from None
    except csv.Error as error:
        raise InputError(str(path), [f"line {line}: {error}; correct it"]) from None
    except (OSError, EOFError, zlib.error, OverflowError) as error:
        fault = f"cannot be read: {error}; put the whole file there and make it readable"
        raise InputError(str(path), [fault]) from None
    if faults:
        raise InputError(str(path), first_few(faults, len(faults), "such rows"))
    return header, rows


def _delimiter(first_line: str) -> str:
    """What parts the header into most cells; what stands in quotes parts nothing."""
    return max(",\t;", key=lambda mark: len(next(csv.reader([first_line], delimiter=mark), [])))


def _open(path: Path, errors: str = "strict") -> TextIO:
    opened = gzip.open if path.suffix == ".gz" else open
    return cast(TextIO, opened(path, "rt", encoding="utf-8-sig", errors=errors, newline=""))


def _find_wrong_byte(path: Path) -> str:
    """The line of the first byte that is no UTF-8; a decoder tells it by its own block only."""
    with _open(path, errors="surrogateescape") as file:
        for number, line in enumerate(_lines(file), start=1):
            if odd := [c for c in line if "\udc80" <= c <= "\udcff"]:
                byte, before = ord(odd[0]) - 0xDC00, line.partition(odd[0])[0][-20:]
                return f"line {number}: byte 0x{byte:02X} after {before!r} is not UTF-8"
    return ""


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
