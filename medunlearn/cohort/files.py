"""Where a dataset's files lie, and how those that are published get there.

They lie below the data root, unless its manifest names a link out of it. Published files are
fetched where that is free, and checked against their published checksums.
"""

import hashlib
import os
import re
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
        table: The table, or the ``.npz`` file; the folder if there is none.
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
        return real if f"{real}/".startswith(tuple(f"{end.rstrip('/')}/" for end in ends)) else ""

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
    root = data_root.resolve() if data_root else None
    if root is None or not root.is_dir():
        given = f"{root} is no folder" if root else "no data root is given"
        raise InputError(subject, [f"{given}; pass DATA=<folder>; {get}"])
    tables: Sequence[str] = getattr(manifest, "table", getattr(manifest, "arrays", ()))
    patterns: Sequence[str] = getattr(manifest, "images", ())
    there = [root / name for name in manifest.folders if (root / name).is_dir()]
    if not there:
        remedy = f"pass its parent, DATA={root.parent}" if root.name in manifest.folders else get
        raise InputError(subject, [f"{root} has none of {list(manifest.folders)}; {remedy}"])
    held = [(f, f / name) for f in there for name in tables if (f / name).is_file()]
    folder, table = held[0] if held else (there[0], there[0])
    # Not Path.glob: it fails on "." and on some wrong patterns.
    found = (sorted(glob(pattern, root_dir=folder)) for pattern in patterns)  # noqa: PTH207
    images = [folder / name for here in found for name in here if (folder / name).is_dir()]
    outside = tuple(os.path.realpath(root / name) for name in manifest.links_outside)
    places = Places(root, folder, table, images, get, outside)
    faults = [
        f"{folder} has no {what} {list(names)}; {get}"
        for what, names, it in (("table", tables, held), ("image folder", patterns, images))
        if names and not it
    ]
    faults += [places.tell_link(p) for p in [folder, table, *images] if not places.real(p)]
    if faults:
        raise InputError(subject, list(dict.fromkeys(faults)))
    return places


def list_files(places: Places, pattern: str | re.Pattern[str]) -> tuple[dict[str, str], list[str]]:
    """All files below the image folders whose path there matches, in the order of their names.

    Returns:
        Path below its folder (with ``/``) to real path, each file once; and links out of the root.
    """
    names: dict[str, str] = {}
    faults, seen = list[str](), set[str]()
    todo = [(f"{place}/", str(place)) for place in places.images]
    for place, top in todo:  # linked folders are put at its end: own names come before theirs
        for folder, folders, files in os.walk(top, onerror=_refuse):
            if os.path.realpath(folder) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(folder))
            folders.sort()
            links = [os.path.join(folder, name) for name in folders]  # noqa: PTH118
            links = [path for path in links if os.path.islink(path)]  # noqa: PTH114
            found = [os.path.join(folder, name) for name in sorted(files)]  # noqa: PTH118
            found = [path for path in found if re.search(pattern, path.removeprefix(place))]
            real = {path: places.real(path) for path in [*links, *found]}
            faults += [
                places.tell_link(path.removeprefix(place)) for path in real if not real[path]
            ]
            todo += [(place, path) for path in links if real[path]]
            for path in found:
                names.setdefault(real[path], path.removeprefix(place))
    first = {name: path for path, name in reversed(names.items()) if os.path.isfile(path)}  # noqa: PTH113
    return dict(sorted(first.items())), faults


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
    paths = (given + suffix).str.replace("\\", "/").map(find)  # of Windows, too
    missing = (f"{places.images[0]}/" + given + suffix)[paths.isna()].rename(str(names.name))
    wrong = [Wrong(missing, "there is no such file; put it there or remove the row")]
    if len(given) > 1 and paths.isna().all():
        wrong = [_explain(given[:1], places)]
    return paths.reindex(names.index), [
        *wrong,
        Wrong(names[names == ""], "expected the name of an image; fill the cell"),
        Wrong(given[paths == ""], f"is a link out of {places.root}; {_OUTSIDE}"),
    ]


def _explain(given: "pd.Series[str]", places: Places) -> Wrong:
    """What to do where no row has an image, told of the first."""
    files, name = list_files(places, "")[0], given.iloc[0]
    held = [file for file in files if name in file][:2] or list(files)[:2]
    remedy = "set image_suffix if the names lack an ending; if rows are of patients, take kind: "
    remedy += "files and joins, as data_manifests/template.yaml shows"
    return Wrong(given, f"no row names a file below {places.folder}, as {held}; {remedy}")


def _refuse(error: OSError) -> None:
    fault = f"cannot be listed: {error.strerror}; make it readable"
    raise InputError(str(error.filename), [fault])


def fetch_missing(manifest: DataManifest, data_root: Path) -> None:
    """Download what the manifest gives an address for and is not there, into the data root.

    Only a whole file with the published checksum gets its name. Nothing is fetched for datasets
    that need an account.

    Raises:
        InputError: No network, not the published file, or no space; with the way to do it by hand.
    """
    for file in manifest.distribution:
        paths = [data_root / folder / file.name for folder in manifest.folders]
        if file.url and not any(path.is_file() for path in paths):
            _fetch(file, paths[0])


def verify_files(manifest: DataManifest, folder: Path) -> list[str]:
    """Files whose checksum is not the published one, as faults that name both sums."""
    faults = []
    for file in manifest.distribution:
        path = folder / file.name
        if file.md5 and path.is_file():
            with path.open("rb") as content:
                given = hashlib.file_digest(content, "md5").hexdigest()
            if given != file.md5:
                faults.append(
                    f"{path}: given md5 {given}; expected {file.md5}, the published file; get it "
                    "again, or write a manifest of your own for this file"
                )
    return faults


def _fetch(file: FileObject, path: Path) -> None:
    import pooch  # a quarter of a second that others need not pay

    checksum = f"md5:{file.md5}" if file.md5 else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
        pooch.retrieve(file.url, checksum, path.name, path.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # of disk and network; of the checksum, named by pooch
        fault = f"{file.url} cannot be downloaded: {tell(error)}; run again, or fetch it by hand, "
        by_hand = f"resuming where it broke off: curl -L -C - -o {path} {file.url}"
        raise InputError(str(path), [fault + by_hand]) from None
