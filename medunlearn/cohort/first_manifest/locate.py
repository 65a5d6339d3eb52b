"""Which column of a table names the images, and where the files of those names lie."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from glob import escape
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
        parts: How many last parts of its paths are names, as whole ones do not fit the folders; 0
            if they do.
        folders: Where the files are, below the given folder; patterns if they are many.
        suffix: What file names add.
        found: Rows with a file.
        suffixes: Other endings of such files.
        doubled: Names that do not tell which file is meant: they lie in several folders, or are
            the ends of several paths. Nobody may then be given an image by them.
        others: Further columns that name files.
    """

    column: str
    names: "pd.Series[str]"
    parts: int
    folders: list[str]
    suffix: str
    found: int
    suffixes: list[str]
    doubled: list[str]
    others: list[str]


class _Match(NamedTuple):
    """Files of the names that so many last parts of a column's paths are (0: whole cells)."""

    parts: int
    names: "pd.Series[str]"
    paths: dict[str, str]
    found: int
    doubled: list[str]


def locate_images(frame: pd.DataFrame, files: Sequence[str]) -> Located | None:
    """The column at least half of whose values are names of files, with or without ending.

    Args:
        frame: The table as text.
        files: Paths below the folder, with ``/``.
    """
    bases = {file.rsplit("/", 1)[-1] for file in files}
    known = bases | {_stem(base) for base in bases}
    sample = frame.iloc[:: max(1, len(frame) // SAMPLE)]
    scores = {}
    for column in map(str, frame):
        names = [_last(value) for value in sample[column].unique() if value]
        share = sum(name in known for name in names) / max(1, len(names))
        if share >= 0.5:
            different = len(names) / len(sample)
            scores[column] = (share * different, rank(column, "image") is not None)
    if not scores:
        return None
    best = max(scores, key=lambda column: scores[column])
    return _describe(frame[best], files, [name for name in scores if name != best])


def part_pattern(part: int) -> str:
    """Finds the last part of a path (1), the last but one (2), ..., whatever parts it."""
    return r"([^\\/]+)" + r"[\\/]+[^\\/]+" * (part - 1) + "$"


def _describe(cells: "pd.Series[str]", files: Sequence[str], others: list[str]) -> Located:
    match = _choose_parts(cells, files)
    places: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    for name in match.names:
        path = match.paths.get(name)
        prefix = _prefix(path, name) if path else None
        if path and prefix is not None:
            places[prefix] += 1
            endings[path[len(f"{prefix}/{name}" if prefix else name) :]] += 1
    suffix, *rest = [ending for ending, _ in endings.most_common()] or [""]
    return Located(
        str(cells.name), match.names, match.parts, _fold_folders(places), suffix,
        match.found, rest, match.doubled, others,
    )  # fmt: skip


def _choose_parts(cells: "pd.Series[str]", files: Sequence[str]) -> _Match:
    """How much of the paths is looked for: as much as fits half of the images or more.

    The folders in a path tell whose image it is. They are left away only if hardly any fits (paths
    of another machine), or if the names say the same without them; images that do not fit where
    most do are missing, and no other folder's are taken for them.
    """
    unsafe = cells.str.contains(LEAVES_FOLDER) | cells.str.contains("\\", regex=False)
    deepest = 1 + max(file.count("/") for file in files)
    last = _match(cells, 1, files)
    longest = last
    for parts in [*([] if unsafe.any() else [0]), *range(deepest, 1, -1)]:
        match = _match(cells, parts, files)
        if 2 * match.found >= last.found:
            longest = match
            break
    for parts in range(1, longest.parts):
        match = last if parts == 1 else _match(cells, parts, files)
        if match.found == longest.found and not match.doubled:
            return match
    return longest


def _match(cells: "pd.Series[str]", parts: int, files: Sequence[str]) -> _Match:
    whole = cells.str.replace(r"[\\/]+", "/", regex=True)
    pattern = "([^/]+" + "/[^/]+" * (parts - 1) + ")$"
    names = whole.str.extract(pattern, expand=False).fillna("") if parts else cells
    held = _find(set(names) - {""}, files)
    origins = whole.groupby(names).nunique()
    doubled = {str(name) for name in origins.index[origins > 1]} & set(held)
    doubled |= {n for n, paths in held.items() if len({_prefix(path, n) for path in paths}) > 1}
    paths = {name: paths[0] for name, paths in held.items()}
    return _Match(parts, names, paths, int(names.isin(list(held)).sum()), sorted(doubled))


def _find(names: Collection[str], files: Sequence[str]) -> dict[str, list[str]]:
    """The files whose paths end with each name, or if there is none do so without their ending."""
    depths = {name.count("/") for name in names}
    whole: dict[str, list[str]] = defaultdict(list)
    without: dict[str, list[str]] = defaultdict(list)
    for file in files:
        parts = file.split("/")
        for depth in depths:
            if depth < len(parts):
                end = "/".join(parts[-depth - 1 :])
                if end in names:
                    whole[end].append(file)
                if (stem := _stem(end)) in names:
                    without[stem].append(file)
    return {**without, **whole}


def _prefix(path: str, name: str) -> str | None:
    """The folder below which a file has this name, with or without its ending."""
    for whole in (path, _stem(path)):
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
    """As of a ``PurePosixPath``, which takes ten times as long."""
    base, dot, ending = name.rpartition(".")
    return base if dot and ending and "/" not in ending and base[-1:] not in {"", "/"} else name
