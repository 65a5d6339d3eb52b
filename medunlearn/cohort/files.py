"""Where a dataset's files lie: below the data root, unless its manifest names a link out of it."""

import os
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort.cells import SHOWN, Wrong
from medunlearn.cohort.rules import LEAVES_FOLDER
from medunlearn.cohort.schema import DataManifest
from medunlearn.errors import InputError

_OUTSIDE = "put the files there, or name the link in the manifest's links_outside"


class Places(NamedTuple):
    """Where a dataset lies.

    Args:
        root: The data root.
        folder: The dataset's folder in it.
        table: The table, or the ``.npz`` file.
        images: Folders with images, in the order of the search.
        get: How to get what is not there.
        outside: Where the links lead that may leave the data root.
    """

    root: Path
    folder: Path
    table: Path
    images: list[Path]
    get: str
    outside: tuple[str, ...] = ()

    def find(self, names: Sequence[str]) -> Path:
        """The first of these files of the folder that is there.

        Raises:
            InputError: None is there, or it is a link out of the data root.
        """
        path = next((self.folder / name for name in names if (self.folder / name).is_file()), None)
        if path is None:
            fault = f"{self.folder} has no file {list(names)}; {self.get}"
            raise InputError(str(self.folder), [fault])
        if not self.allow(path):
            raise InputError(str(self.folder), [self.tell_link(path)])
        return path

    def allow(self, path: Path | str) -> bool:
        """Whether a path leads to a place that the dataset may be read from."""
        # Not Path.resolve: before Python 3.13 it fails on a loop of links.
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(place) for place in (str(self.root), *self.outside))

    def tell_link(self, path: Path | str) -> str:
        """The fault of a link that leaves the data root."""
        return f"{path} is a link out of {self.root}; {_OUTSIDE}"


def find_folder(manifest: DataManifest, data_root: Path | None) -> tuple[Path, Path | None]:
    """The data root, and of the manifest's folders the first that has the table, or is there.

    Raises:
        InputError: No data root is given, or it is no folder.
    """
    subject, get = f"data of {manifest.name}", _how_to_get(manifest)
    if data_root is None:
        raise InputError(subject, [f"no data root is given; pass DATA=<folder>; {get}"])
    root = data_root.expanduser().resolve()
    if not root.is_dir():
        raise InputError(subject, [f"{root} is no folder; pass DATA=<a folder>; {get}"])
    there = [root / name for name in manifest.folders if (root / name).is_dir()]
    tables = _tables(manifest)
    having = [folder for folder in there if any((folder / name).is_file() for name in tables)]
    return root, next(iter(having + there), None)


def find_places(manifest: DataManifest, data_root: Path | None) -> Places:
    """Finds the first of the manifest's folders and tables, and all its image folders.

    Raises:
        InputError: Something is not there, or is a link to a place outside the data root.
    """
    subject, get = f"data of {manifest.name}", _how_to_get(manifest)
    root, folder = find_folder(manifest, data_root)
    if folder is None:
        remedy = f"pass its parent, DATA={root.parent}" if root.name in manifest.folders else get
        raise InputError(subject, [f"{root} has none of {list(manifest.folders)}; {remedy}"])
    tables, patterns = _tables(manifest), getattr(manifest, "images", ())
    table = next((folder / name for name in tables if (folder / name).is_file()), None)
    # Not Path.glob: it fails on "." and on some wrong patterns.
    found = (sorted(glob(pattern, root_dir=folder)) for pattern in patterns)  # noqa: PTH207
    images = [folder / name for here in found for name in here if (folder / name).is_dir()]
    outside = tuple(os.path.realpath(root / name) for name in manifest.links_outside)
    places = Places(root, folder, table or folder, images, get, outside)
    faults = [
        f"{folder} has no {what} {list(names)}; {get}"
        for what, names, it in (("table", tables, table), ("image folder", patterns, images))
        if names and not it
    ]
    faults += [
        places.tell_link(path)
        for path in [folder, *([table] if table else []), *images]
        if not places.allow(path)
    ]
    if faults:
        raise InputError(subject, faults)
    return places


def list_files(places: Places, pattern: str) -> tuple[dict[str, str], list[str]]:
    """All files below the image folders whose path there matches, in the order of their names.

    A file that links lead to once more is listed once.

    Returns:
        Path below its folder (with ``/``) to real path; and the faults: links out of the root.
    """
    wanted, found = re.compile(pattern), {}
    for place in reversed(places.images):
        found.update(_list_files(place, places))
    chosen: dict[str, str] = {}
    for name, path in sorted(found.items()):
        name = name.replace(os.sep, "/")
        if wanted.search(name) or name.endswith("/"):  # a folder that is not looked into
            chosen[path or name] = name
    faults = [places.tell_link(name) for path, name in chosen.items() if path == name]
    return {name: path for path, name in chosen.items()}, faults


def find_images(
    names: "pd.Series[str]", suffix: str, places: Places
) -> tuple[pd.Series, list[Wrong]]:
    """Finds the image of each row by listing each folder once.

    Args:
        names: Image names as in the table, which may contain folders.
        suffix: What the file's name adds to the name in the table.
        places: The folders to look in; the first that has the file wins.

    Returns:
        Real paths, missing where there is no file; and what is wrong with which rows.
    """
    unsafe = (names + suffix).str.contains(LEAVES_FOLDER)
    usable = names[~unsafe & (names != "")]
    files = (usable + suffix).str.replace("\\", "/").map(os.path.normpath)  # of Windows, too
    wanted = set(files)
    for parent in set(files.map(os.path.dirname)):
        while parent and parent not in wanted:
            wanted.add(parent)
            parent = parent.rpartition(os.sep)[0]
    index: dict[str, str] = {}
    for place in reversed(places.images):
        index.update(_list_files(place, places, wanted))
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
        Wrong(usable[paths == ""], f"is a link out of {places.root}; {_OUTSIDE}"),
    ]


def cut_short(faults: list[str], noun: str, shown: int = SHOWN) -> list[str]:
    """The first faults, and how many more there are: a wrong setting would print every file."""
    more = [f"and {len(faults) - shown} more {noun}"] if len(faults) > shown else []
    return faults[:shown] + more


def _tables(manifest: DataManifest) -> Sequence[str]:
    names: Sequence[str] = getattr(manifest, "table", ()) or getattr(manifest, "arrays", ())
    return names


def _how_to_get(manifest: DataManifest) -> str:
    return f"how to get it: {manifest.how_to_get}"


def _list_files(top: Path, places: Places, wanted: set[str] | None = None) -> dict[str, str]:
    """Files (or those wanted) by name, with real paths; an empty path where a link leaves the root.

    Unless certain names are wanted, a folder that links lead to once more is listed once.
    """
    files: dict[str, str] = {}
    listed: set[str] = set()
    todo = deque([(os.path.realpath(top), "")])
    while todo:
        folder, prefix = todo.popleft()
        if wanted is None and folder in listed:
            continue
        listed.add(folder)
        try:
            with os.scandir(folder) as entries:
                found = [e for e in entries if wanted is None or prefix + e.name in wanted]
        except OSError as error:
            fault = f"cannot be listed: {error.strerror}; make it readable"
            raise InputError(folder, [fault]) from None
        for entry in sorted(found, key=lambda entry: entry.name):
            name, linked = prefix + entry.name, entry.is_symlink()
            path = os.path.realpath(entry.path) if linked else entry.path
            with suppress(OSError):  # a loop of links is no file
                if linked and not places.allow(path):
                    files[name + (os.sep if entry.is_dir() else "")] = ""
                elif entry.is_dir():  # a folder's own name comes before those that links give it
                    (todo.append if linked else todo.appendleft)((path, name + os.sep))
                elif entry.is_file():
                    files[name] = path
    return files
