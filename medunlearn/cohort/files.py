"""Where a dataset's files lie: below the data root, unless its manifest names a link out of it."""

import os
import re
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from glob import glob
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from PIL import Image

from medunlearn.cohort.cells import Cells, Wrong, check_columns, cut_short
from medunlearn.cohort.rules import LEAVES_FOLDER
from medunlearn.cohort.schema import DataManifest, FilesManifest
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
        if path and self.allow(path):
            return path
        fault = f"{self.folder} has no file {list(names)}; {self.get}"
        raise InputError(str(self.folder), [self.tell_link(path) if path else fault])

    def allow(self, path: Path | str) -> bool:
        """Whether a path leads to a place that the dataset may be read from."""
        # Not Path.resolve: before Python 3.13 it fails on a loop of links.
        return self.holds(os.path.realpath(path))

    def holds(self, real: str) -> bool:
        """As `allow`, for a path that is real already."""
        ends = (str(self.root), *self.outside)
        return any(real == end or real.startswith(os.path.join(end, "")) for end in ends)  # noqa: PTH118

    def tell_link(self, path: Path | str) -> str:
        """The fault of a link that leaves the data root."""
        return f"{path} is a link out of {self.root}; {_OUTSIDE}"


def find_folder(manifest: DataManifest, data_root: Path | None) -> tuple[Path, Path | None]:
    """The data root, and of the manifest's folders the first that has the table, or is there.

    Raises:
        InputError: No data root is given, or it is no folder.
    """
    subject, get = f"data of {manifest.name}", f"how to get it: {manifest.how_to_get}"
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
    subject, get = f"data of {manifest.name}", f"how to get it: {manifest.how_to_get}"
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

    Returns:
        Path below its folder (with ``/``) to real path, each file once; and links out of the root.
    """
    wanted, found = re.compile(pattern), {}
    for place in reversed(places.images):
        found.update(_list_files(place, places))
    chosen: dict[str, str] = {}
    for name, path in sorted(found.items()):
        if wanted.search(name) or name.endswith("/"):  # a folder that is not looked into
            chosen[path or name] = name
    faults = [places.tell_link(name) for path, name in chosen.items() if path == name]
    return {name: path for path, name in chosen.items()}, faults


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

    @cache
    def real(path: str) -> str:  # os.path.realpath asks for every folder of each of 10^5 paths
        parent, name = os.path.split(path)
        if not name or os.path.islink(path):  # noqa: PTH114
            return os.path.realpath(path)
        return os.path.join(real(parent), name)  # noqa: PTH118

    def find(name: str) -> str | None:
        paths = (os.path.join(place, name) for place in places.images)  # noqa: PTH118
        path = next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113
        return path and (real(path) if places.holds(real(path)) else "")

    unsafe = (names + suffix).str.contains(LEAVES_FOLDER)
    usable = names[~unsafe & (names != "")]
    files = (usable + suffix).str.replace("\\", "/").map(os.path.normpath)  # of Windows, too
    paths = files.map(find)
    missing = (str(places.images[0]) + os.sep + files)[paths.isna()].rename(str(names.name))
    others = [str(place) for place in places.images[1:]]
    nor = f", nor in {others}" if others else ""
    return paths.reindex(names.index), [
        Wrong(names[names == ""], "expected the name of an image; fill the cell"),
        Wrong(
            names[unsafe], "expected a path below the image folders, without '..' or leading slash"
        ),
        Wrong(missing, f"there is no such file{nor}; put it there or remove the row"),
        Wrong(usable[paths == ""], f"is a link out of {places.root}; {_OUTSIDE}"),
    ]


def _tables(manifest: DataManifest) -> Sequence[str]:
    return cast("Sequence[str]", getattr(manifest, "table", getattr(manifest, "arrays", ())))


def _list_files(top: Path, places: Places) -> dict[str, str]:
    """Files by name, with real paths; an empty path where a link leaves the root."""
    files: dict[str, str] = {}
    listed: set[str] = set()
    todo = deque([(os.path.realpath(top), "")])
    while todo:
        folder, prefix = todo.popleft()
        if folder in listed:
            continue
        listed.add(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            fault = f"cannot be listed: {error.strerror}; make it readable"
            raise InputError(folder, [fault]) from None
        for entry in entries:
            name, linked = prefix + entry.name, entry.is_symlink()
            path = os.path.realpath(entry.path) if linked else entry.path
            with suppress(OSError):  # a loop of links is no file
                if linked and not places.allow(path):
                    files[name + "/" * entry.is_dir()] = ""
                elif entry.is_dir():  # a folder's own name comes before those that links give it
                    (todo.append if linked else todo.appendleft)((path, name + "/"))
                elif entry.is_file():
                    files[name] = path
    return files


def read_listing(
    manifest: FilesManifest, places: Places, needed: Sequence[str]
) -> tuple[Cells, pd.Series]:
    """Rows of the files with columns ``file``, ``folder``, ``mask_pixels``, and their real paths.

    Raises:
        InputError: No file matches, a mask is missing or broken, or a link leaves the data root.
    """
    columns = ["file", "folder"] + (["mask_pixels"] if manifest.mask_suffix else [])
    check_columns(columns, needed, places.folder)
    files, faults = list_files(places, manifest.pattern)
    if not files:
        faults = [f"no file below {places.folder} matches {manifest.pattern!r}; {places.get}"]
    frame = pd.DataFrame({"file": list(files)}, index=list(files), dtype="str")
    frame["folder"] = [Path(name).parent.name for name in files]
    if "mask_pixels" in needed and not faults:
        images = [Path(path) for path in files.values()]
        masks = [p.with_name(f"{p.stem}{manifest.mask_suffix}{p.suffix}") for p in images]
        with ThreadPoolExecutor() as pool:
            counts = list(pool.map(_count_pixels, masks))
        faults += [count for count in counts if not count.isdecimal()]
        frame["mask_pixels"] = counts
    if faults:
        raise InputError(str(places.folder), cut_short(faults, "files"))
    return Cells(frame, places.folder, "file"), pd.Series(files, dtype="str")


def _count_pixels(path: Path) -> str:
    """The number of a mask's pixels above 0, or the fault that names it."""
    try:
        with Image.open(path) as mask:
            return str(int(np.count_nonzero(np.asarray(mask.convert("L")))))
    except Exception as error:  # decoders raise almost anything on broken bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{path}: mask cannot be read ({reason}); put a whole mask there or remove its image"
