"""Where a dataset's files lie, and how those that are published get there.

They lie below the data root, unless its manifest names a link out of it. Published files are
fetched where that is free, and checked against their published checksums.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort.cells import Wrong
from medunlearn.cohort.decode import tell
from medunlearn.cohort.schema import DataManifest, FileObject
from medunlearn.errors import InputError

TIMEOUT = 30  # seconds of a download without an answer
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
        if path and self.real(path):
            return path
        fault = f"{self.folder} has no file {list(names)}; {self.get}"
        raise InputError(str(self.folder), [self.tell_link(path) if path else fault])

    def real(self, path: Path | str) -> str:
        """Where a path leads; empty if the dataset may not be read from there."""
        # Not Path.resolve: before Python 3.13 it fails on a loop of links.
        real, ends = os.path.realpath(path), (str(self.root), *self.outside)
        inside = any(real == end or real.startswith(os.path.join(end, "")) for end in ends)  # noqa: PTH118
        return real if inside else ""

    def tell_link(self, path: Path | str) -> str:
        """The fault of a link that leaves the data root."""
        return f"{path} is a link out of {self.root}; {_OUTSIDE}"


def find_places(manifest: DataManifest, data_root: Path | None) -> Places:
    """Finds the dataset's folder, its table, and all its image folders.

    Of the manifest's folders it is the first that has the table, else the first that is there.

    Raises:
        InputError: Something is not there, or is a link to a place outside the data root.
    """
    subject, get = f"data of {manifest.name}", f"how to get it: {manifest.how_to_get}"
    if data_root is None:
        raise InputError(subject, [f"no data root is given; pass DATA=<folder>; {get}"])
    root = data_root.expanduser().resolve()
    if not root.is_dir():
        raise InputError(subject, [f"{root} is no folder; pass DATA=<a folder>; {get}"])
    tables: Sequence[str] = getattr(manifest, "table", getattr(manifest, "arrays", ()))
    patterns: Sequence[str] = getattr(manifest, "images", ())
    there = [root / name for name in manifest.folders if (root / name).is_dir()]
    if not there:
        remedy = f"pass its parent, DATA={root.parent}" if root.name in manifest.folders else get
        raise InputError(subject, [f"{root} has none of {list(manifest.folders)}; {remedy}"])
    having = [folder for folder in there if any((folder / name).is_file() for name in tables)]
    folder = (having or there)[0]
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
        if not places.real(path)
    ]
    if faults:
        raise InputError(subject, faults)
    return places


def list_files(places: Places, pattern: str | re.Pattern[str]) -> tuple[dict[str, str], list[str]]:
    """All files below the image folders whose path there matches, in the order of their names.

    Returns:
        Path below its folder (with ``/``) to real path, each file once; and links out of the root.
    """
    wanted, faults = re.compile(pattern), list[str]()
    found: dict[str, str] = {}
    listed: set[str] = set()
    todo = deque((os.path.realpath(place), "") for place in places.images)
    while todo:
        folder, prefix = todo.popleft()
        if folder in listed:
            continue
        listed.add(folder)
        for entry in _list_folder(folder):
            name, linked = prefix + entry.name, entry.is_symlink()
            path = places.real(entry.path) if linked else entry.path
            if os.path.isdir(path or entry.path):  # noqa: PTH112
                name += "/"
            elif not wanted.search(name):
                continue
            if not path:
                faults.append(places.tell_link(name))
            elif name.endswith("/"):  # its own name comes before those that links give it
                (todo.append if linked else todo.appendleft)((path, name))
            elif os.path.isfile(path):  # noqa: PTH113
                found.setdefault(name, path)
    once = {path: name for name, path in sorted(found.items())}
    return {name: path for path, name in once.items()}, faults


def find_images(
    names: "pd.Series[str]", suffix: str, places: Places
) -> tuple[pd.Series, list[Wrong]]:
    """Finds the image of each row.

    Args:
        names: Image names as in the table, which may contain folders.
        suffix: What the file's name adds to the name in the table.
        places: The folders to look in; the first that has the file wins.

    Returns:
        Real paths, missing where there is no file; and what is wrong with which rows.
    """

    def find(name: str) -> str | None:
        paths = (os.path.join(place, name) for place in places.images)  # noqa: PTH118
        path = next(filter(os.path.isfile, paths), None)
        return path and places.real(path)

    given = names[names != ""]
    files = (given + suffix).str.replace("\\", "/")  # of Windows, too
    paths = files.map(find)
    missing = (str(places.images[0]) + os.sep + files)[paths.isna()].rename(str(names.name))
    others = [str(place) for place in places.images[1:]]
    nor = f", nor in {others}" if others else ""
    return paths.reindex(names.index), [
        Wrong(names[names == ""], "expected the name of an image; fill the cell"),
        Wrong(missing, f"there is no such file{nor}; put it there or remove the row"),
        Wrong(given[paths == ""], f"is a link out of {places.root}; {_OUTSIDE}"),
    ]


def _list_folder(folder: str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            folder, [f"cannot be listed: {error.strerror}; make it readable"]
        ) from None


def fetch_missing(manifest: DataManifest, data_root: Path | None) -> None:
    """Download what the manifest gives an address for and is not there, into the data root.

    Only a whole file with the published checksum gets its name. Nothing is fetched for datasets
    that need an account.

    Raises:
        InputError: No network, not the published file, or no space; with the way to do it by hand.
    """
    root = data_root.expanduser().resolve() if data_root else None
    if root is None or not root.is_dir():
        return  # which is told where the files are looked for
    for file in manifest.distribution:
        paths = [root / folder / file.name for folder in manifest.folders]
        if file.url and not any(path.is_file() for path in paths):
            _fetch(file, paths[0])


def verify_files(manifest: DataManifest, data_root: Path | None) -> None:
    """Compare the published checksums with those of the files that are there.

    Raises:
        InputError: A file is another one; both sums are named. Or as `find_places`.
    """
    folder, faults = find_places(manifest, data_root).folder, []
    for file in manifest.distribution:
        path, (name, expected) = folder / file.name, file.checksum or ("", "")
        if not name or not path.is_file():
            continue
        with path.open("rb") as content:
            given = hashlib.file_digest(content, name).hexdigest()
        if given != expected:
            faults.append(
                f"{path}: given {name} {given}; expected {expected}, the published file; get "
                "it again, or write a manifest of your own for this file"
            )
    if faults:
        raise InputError(f"data of {manifest.name}", faults)


def _fetch(file: FileObject, path: Path) -> None:
    import pooch  # a quarter of a second that others need not pay
    from tqdm import tqdm

    checksum = ":".join(file.checksum) if file.checksum else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tqdm(desc=path.name, total=1, unit="B", unit_scale=True) as bar:
            downloader = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT)
            pooch.retrieve(file.url, checksum, path.name, path.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # of disk and network; of the checksum, named by pooch
        fault = f"{file.url} cannot be downloaded: {tell(error)}; run again, or fetch it by hand, "
        by_hand = f"resuming where it broke off: curl -L -C - -o {path} {file.url}"
        raise InputError(str(path), [fault + by_hand]) from None
