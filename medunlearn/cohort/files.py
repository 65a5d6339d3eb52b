"""Where a dataset's files lie: always below the data root, however a table or a link puts it."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort.cells import Wrong
from medunlearn.cohort.rules import LEAVES_FOLDER
from medunlearn.cohort.schema import DataManifest
from medunlearn.errors import InputError


class Places(NamedTuple):
    """Where a dataset lies.

    Args:
        root: The data root.
        folder: The dataset's folder in it.
        table: The table, or the ``.npz`` file.
        images: Folders with images, in the order of the search.
        get: How to get what is not there.
    """

    root: Path
    folder: Path
    table: Path
    images: list[Path]
    get: str

    def find(self, names: Sequence[str]) -> Path:
        """The first of these files of the folder that is there.

        Raises:
            InputError: None is there, or it is a link out of the data root.
        """
        path = next((self.folder / name for name in names if (self.folder / name).is_file()), None)
        if path is None:
            fault = f"{self.folder} has no file {list(names)}; {self.get}"
            raise InputError(str(self.folder), [fault])
        if not _is_inside(path, self.root):
            raise InputError(str(self.folder), [_link_fault(path, self.root)])
        return path


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
        raise InputError(subject, [f"{root} has none of {list(manifest.folders)}; {get}"])
    names: dict[str, Sequence[str]] = {
        "table": _tables(manifest),
        "image folder": getattr(manifest, "images", ()),
    }
    table = next((folder / name for name in names["table"] if (folder / name).is_file()), None)
    # Not Path.glob: it fails on "." and on some wrong patterns.
    found = (sorted(glob(pattern, root_dir=folder)) for pattern in names["image folder"])  # noqa: PTH207
    images = [folder / name for here in found for name in here if (folder / name).is_dir()]
    there = {"table": table, "image folder": images}
    faults = [
        f"{folder} has no {what} {list(names[what])}; {get}"
        for what, it in there.items()
        if names[what] and not it
    ]
    faults += [
        _link_fault(path, root)
        for path in [folder, *([table] if table else []), *images]
        if not _is_inside(path, root)
    ]
    if faults:
        raise InputError(subject, faults)
    return Places(root, folder, table or folder, images, get)


def list_files(places: Places, pattern: str) -> tuple[dict[str, str], list[str]]:
    """All files below the image folders whose path there matches, in the order of their names.

    Returns:
        Path below its folder (with ``/``) to absolute path; and the faults: links out of the root.
    """
    wanted, found = re.compile(pattern), {}
    for place in reversed(places.images):
        found.update(_list_files(place, None, places.root))
    chosen = {name.replace(os.sep, "/"): path for name, path in sorted(found.items())}
    chosen = {name: path for name, path in chosen.items() if wanted.search(name)}
    faults = [
        f"{name}: is a link out of {places.root}; put the image itself there"
        for name, path in chosen.items()
        if not path
    ]
    return chosen, faults


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
    files = (usable + suffix).str.replace("\\", "/").map(os.path.normpath)  # of Windows, too
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


def _tables(manifest: DataManifest) -> Sequence[str]:
    names: Sequence[str] = getattr(manifest, "table", ()) or getattr(manifest, "arrays", ())
    return names


def _how_to_get(manifest: DataManifest) -> str:
    return f"how to get it: {manifest.how_to_get}"


def _link_fault(path: Path, root: Path) -> str:
    remedy = "put the files there, or pass their own folder as DATA"
    return f"{path} is a link out of {root}; {remedy}"


def _list_files(image_folder: Path, wanted: set[str] | None, root: Path) -> dict[str, str]:
    """Wanted files (or all) with their paths; the path is empty where a link leaves the root."""
    files: dict[str, str] = {}
    todo = [(str(image_folder), "")]
    while todo:
        folder, prefix = todo.pop()
        try:
            with os.scandir(folder) as entries:
                found = [e for e in entries if wanted is None or prefix + e.name in wanted]
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
