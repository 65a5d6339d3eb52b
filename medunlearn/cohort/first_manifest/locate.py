"""Which column of a table names the images, and where the files of those names lie."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from glob import escape
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort.fields import LEAVES_FOLDER
from medunlearn.cohort.first_manifest.words import rank

SAMPLE, MOST_FOLDERS = 2000, 12


class Located(NamedTuple):
    """The image column.

    Args:
        column: Its header.
        names: Of each row the name as it is looked for.
        shortened: Whether names are the last parts of paths that do not fit the folders.
        folders: Where the files are, below the given folder; patterns if they are many.
        suffix: What file names add.
        found: Rows with a file.
        suffixes: Other endings of such files.
        doubled: Names that lie in several folders.
        others: Further columns that name files.
    """

    column: str
    names: "pd.Series[str]"
    shortened: bool
    folders: list[str]
    suffix: str
    found: int
    suffixes: list[str]
    doubled: list[str]
    others: list[str]


class _Files(NamedTuple):
    by_name: dict[str, list[str]]
    by_stem: dict[str, list[str]]

    def find(self, base: str) -> list[str]:
        return self.by_name.get(base) or self.by_stem.get(base) or []


def locate_images(frame: pd.DataFrame, files: Sequence[str]) -> Located | None:
    """The column at least half of whose values are names of files, with or without ending.

    Args:
        frame: The table as text.
        files: Paths below the folder, with ``/``.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for file in files:
        name = file.rsplit("/", 1)[-1]
        by_name[name].append(file)
        by_stem[_stem(name)].append(file)
    known = _Files(dict(by_name), dict(by_stem))
    sample = frame.iloc[:: max(1, len(frame) // SAMPLE)]
    scores = {}
    for column in map(str, frame):
        names = [_last(value) for value in sample[column].unique() if value]
        share = sum(bool(known.find(name)) for name in names) / max(1, len(names))
        if share >= 0.5:
            different = len(names) / len(sample)
            scores[column] = (share * different, rank(column, "image") is not None)
    if not scores:
        return None
    best = max(scores, key=lambda column: scores[column])
    return _describe(frame[best], known, [name for name in scores if name != best])


def _describe(cells: "pd.Series[str]", files: _Files, others: list[str]) -> Located:
    last = cells.map(_last)
    paths = {base: files.find(base) for base in last.unique() if base}
    fits = [
        next((p for p in paths.get(base, []) if _prefix(p, cell) is not None), None)
        for cell, base in zip(cells, last, strict=True)
    ]
    there = last.map(lambda base: bool(paths.get(base)))
    unsafe = cells.str.contains(LEAVES_FOLDER) | cells.str.contains("\\", regex=False)
    shortened = bool(unsafe.any()) or sum(f is not None for f in fits) < there.sum()
    names = last if shortened else cells
    chosen = [next(iter(paths.get(b, [])), None) for b in last] if shortened else fits
    places: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    for name, path in zip(names, chosen, strict=True):
        prefix = _prefix(path, name) if path else None
        if path and prefix is not None:
            places[prefix] += 1
            endings[path[len(f"{prefix}/{name}" if prefix else name) :]] += 1
    doubled = [base for base, held in paths.items() if shortened and len(held) > 1]
    suffix, *rest = [ending for ending, _ in endings.most_common()] or [""]
    return Located(
        str(cells.name), names, shortened, _fold_folders(places), suffix,
        int(there.sum()), rest, doubled, others,
    )  # fmt: skip


def _prefix(path: str, name: str) -> str | None:
    """The folder below which a file has this name, with or without its ending."""
    for whole in (path, path.removesuffix(PurePosixPath(path).suffix)):
        if whole == name:
            return ""
        if name and whole.endswith("/" + name):
            return whole.removesuffix("/" + name)
    return None


def _fold_folders(places: Counter[str]) -> list[str]:
    """The folders, or patterns for folders of each depth if they are many."""
    if len(places) <= MOST_FOLDERS:
        return [escape(folder) or "." for folder, _ in places.most_common()]
    depths = sorted({folder.count("/") + 1 if folder else 0 for folder in places})
    return ["/".join(["*"] * depth) or "." for depth in depths]


def _last(value: str) -> str:
    return re.split(r"[\\/]", value)[-1]


def _stem(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)
