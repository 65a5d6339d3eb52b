"""Rows of a dataset as text, and what is wrong with them: all sources are brought to this form.

A frame's index says where each row stands: rows are counted as a spreadsheet shows them (the header
is row 1), files and images of an array are named.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from medunlearn.errors import InputError

SHOWN = 10  # faults of one kind that are printed


class Wrong(NamedTuple):
    """Cells of one column that share a fault; their index is that of the rows."""

    cells: "pd.Series[str]"
    remedy: str


def place_of(row: object) -> str:
    """``row 5`` of a table, ``file a/1.png`` where files or images of an array are the rows."""
    return f"file {row}" if isinstance(row, str) else f"row {row}"


def list_faults(subject: Path, wrong: Sequence[Wrong]) -> list[str]:
    """One fault per cell, of each kind the first few only."""
    faults = []
    for given, remedy in wrong:
        at = f"{subject.name}, column {given.name!r}, "
        told = [f"{at}{place_of(row)}: given {cell!r}; {remedy}" for row, cell in given.items()]
        faults += cut_short(told, f"such rows in column {given.name!r}")
    return faults


def cut_short(faults: Sequence[str], noun: str, shown: int = SHOWN) -> list[str]:
    """The first faults, and how many more there are: a wrong setting would print every row."""
    more = [f"and {len(faults) - shown} more {noun}"] if len(faults) > shown else []
    return [*faults[:shown], *more]


def read_csv(path: Path, needed: Collection[str] | None = None) -> pd.DataFrame:
    """Columns of a table as text, by row number; empty lines count but give no row.

    Args:
        path: CSV or TSV, in UTF-8; packed if its name ends with ``.gz``.
        needed: Headers of the columns that are kept; all if none, also those that are repeated.

    Raises:
        InputError: The table cannot be read, lacks a column or has it twice, or has rows with too
            many cells; all are named.
    """
    text = read_text(path)
    try:
        # What stands in quotes parts nothing, and a header may have several lines.
        headers = {m: next(csv.reader(io.StringIO(text), delimiter=m), []) for m in ",\t;"}
        delimiter = max(headers, key=lambda mark: len(headers[mark]))
        header = [cell.strip() for cell in headers[delimiter]]
        # One column more than the header has: pandas would drop such cells or shift the row.
        frame = pd.read_csv(
            io.StringIO(text), sep=delimiter, header=None, names=range(len(header) + 1),
            dtype="str", na_filter=False, skip_blank_lines=False,
        )  # fmt: skip
    except (pd.errors.ParserError, csv.Error) as error:
        # It counts rows from 0.
        reason = re.sub(r"(?<=row )\d+", lambda row: f"{int(row[0]) + 1}", str(error).strip())
        fault = f"{reason}; correct it: put cells with a delimiter in quotes, and close all quotes"
        raise InputError(str(path), [fault]) from None
    check_columns(header, needed or (), path)
    frame.index += 1
    frame = frame[1:][(frame[1:] != "").any(axis=1)]
    *there, beyond = frame
    if longer := list(frame.index[frame[beyond].str.strip() != ""]):
        fault = "has more cells than the header; put cells with a delimiter in quotes"
        faults = [f"{path.name}, row {row}: {fault}" for row in longer]
        raise InputError(str(path), cut_short(faults, "such rows"))
    frame = frame[there].set_axis(header, axis=1)
    kept = frame if needed is None else frame[list(dict.fromkeys(needed))]
    stripped: pd.DataFrame = kept.apply(lambda cells: cells.str.strip())
    return stripped


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
    wrong.append(
        Wrong(not_numbers, f"expected a number such as 4.5, or an empty cell; correct it{hint}")
    )
    return numbers


def read_text(path: Path) -> str:
    """The text of a table or a list.

    Raises:
        InputError: It cannot be read, or is not UTF-8.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read()
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as wrong:
        before, byte = wrong.object[: wrong.start], wrong.object[wrong.start]
        line, after = before.count(b"\n") + 1, before.rpartition(b"\n")[2].decode(errors="replace")
        fault = f"line {line}: byte 0x{byte:02X} after {after[-20:]!r} is not UTF-8"
        fault += ': save it as UTF-8 (of a spreadsheet: as "CSV UTF-8")'
    except (OSError, EOFError, zlib.error) as error:
        fault = f"cannot be read: {error}; put the whole file there and make it readable"
    raise InputError(str(path), [fault])
