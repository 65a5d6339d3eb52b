"""Where a dataset's files lie: always below the data root, however a table or a link puts it."""

import os
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort.manifest import TableManifest
from medunlearn.cohort.schema import LEAVES_FOLDER
from medunlearn.errors import InputError


class Wrong(NamedTuple):
    """Cells of one column that share a fault; their index is their row in the table."""

    cells: "pd.Series[str]"
    remedy: str


class Places(NamedTuple):
    """The data root, the table, and the folders with images in the order of the search."""

    root: Path
    table: Path
    images: list[Path]


def find_places(manifest: TableManifest, data_root: Path | None) -> Places:
    """Finds the first of the manifest's folders and tables, and all its image folders.

    Raises:
        InputError: Something is not there, or is a link to a place outside the data root.
    """
    subject = f"data of {manifest.name}"
    get = f"how to get it: {manifest.how_to_get}"
    if data_root is None:
        raise InputError(subject, [f"no data root is given; pass DATA=<folder>; {get}"])
    root = data_root.expanduser().resolve()
    if not root.is_dir():
        raise InputError(subject, [f"{root} is no folder; pass DATA=<a folder>; {get}"])
    folder = next((root / name for name in manifest.folders if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(subject, [f"{root} has none of {list(manifest.folders)}; {get}"])
    table = next((folder / name for name in manifest.table if (folder / name).is_file()), None)
    # Not Path.glob: it fails on "." and on some wrong patterns.
    found = (sorted(glob(pattern, root_dir=folder)) for pattern in manifest.images)  # noqa: PTH207
    images = [folder / name for names in found for name in names if (folder / name).is_dir()]
    wanted = [(table, "table", manifest.table), (images, "image folder", manifest.images)]
    faults = [
        f"{folder} has no {what} {list(names)}; {get}" for it, what, names in wanted if not it
    ]
    faults += [
        f"{path} is a link out of {root}; put the files there, or pass their own folder as DATA"
        for path in [folder, *([table] if table else []), *images]
        if not _is_inside(path, root)
    ]
    if faults or table is None:
        raise InputError(subject, faults)
    return Places(root, table, images)


def find_images(
    names: "pd.Series[str]", suffix: str, places: Places
) -> tuple[pd.Series, list[Wrong]]:
    """Finds the image of each row by listing each folder once.

    Args:
        names: Image names as in the table, which may contain folders.
        suffix: What the file's name adds to the name in the table.
        places: The folders to look in; the first that has the file wins.

    Returns:
        Absolute paths, missing where there is no file; and what is wrong with which rows.
    """
    unsafe = (names + suffix).str.contains(LEAVES_FOLDER)
    usable = names[~unsafe & (names != "")]
    files = (usable + suffix).map(os.path.normpath)
    wanted = set(files)
    for parent in set(files.map(os.path.dirname)):
        while parent and parent not in wanted:
            wanted.add(parent)
            parent = parent.rpartition(os.sep)[0]
    index: dict[str, str] = {}
    for place in reversed(places.images):
        index.update(_list_files(place, wanted, places.root))
    paths = files.map(index.get)
    missing = (str(places.images[0]) + os.sep + files)[paths.isna()].rename(str(names.name))
    others = [str(place) for place in places.images[1:]]
    nor = f", nor in {others}" if others else ""
    return paths.reindex(names.index), [
        Wrong(names[names == ""], "expected the name of an image; fill the cell"),
        Wrong(
            names[unsafe], "expected a path below the image folders; remove '..' or leading slash"
        ),
        Wrong(missing, f"there is no such file{nor}; put it there or remove the row"),
        Wrong(usable[paths == ""], f"is a link out of {places.root}; put the image itself there"),
    ]


def _is_inside(path: Path | str, root: Path) -> bool:
    # Not Path.resolve: before Python 3.13 it fails on a loop of links.
    return Path(os.path.realpath(path)).is_relative_to(root)


def _list_files(image_folder: Path, wanted: set[str], root: Path) -> dict[str, str]:
    """Wanted files with their paths; the path is empty where a link leaves the root."""
    files: dict[str, str] = {}
    todo = [(str(image_folder), "")]
    while todo:
        folder, prefix = todo.pop()
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if prefix + entry.name in wanted]
        except OSError as error:
            fault = f"cannot be listed: {error.strerror}; make it readable"
            raise InputError(folder, [fault]) from None
        for entry in found:
            name = prefix + entry.name
            with suppress(OSError):  # a loop of links is no file
                if entry.is_symlink() and not _is_inside(entry.path, root):
                    files[name] = ""
                elif entry.is_dir():
                    todo.append((entry.path, name + os.sep))
                elif entry.is_file():
                    files[name] = entry.path
    return files
