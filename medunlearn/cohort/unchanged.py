"""Whether a dataset is as it was: without opening its files, and without keeping their names."""

from pathlib import Path

import pandas as pd

from medunlearn.cohort.files import find_places, list_files
from medunlearn.cohort.manifest import DataManifest, DicomManifest, FilesManifest
from medunlearn.errors import InputError

Stamps = list[tuple[str, int, int]]


def stamp_paths(paths: "pd.Series[str]") -> Stamps:
    """Path, size and time of last change of each file."""
    return [
        (str(path), (stat := Path(path).stat()).st_size, stat.st_mtime_ns)
        for path in paths.unique()
    ]


def stamp_sources(manifest: DataManifest, data_root: Path | None) -> Stamps | None:
    """Stamps of all files that rows are read from, where rows come from the images' own files.

    Opening every DICOM file or mask takes minutes for a large dataset. Nothing of them is kept
    to save that time, as headers hold names: that the files are unchanged is enough to know.

    Args:
        manifest: The dataset.
        data_root: Where datasets lie.

    Returns:
        None where rows come from a table, which is read quickly, or where something is amiss:
        reading the rows then says what.
    """
    if not isinstance(manifest, DicomManifest | FilesManifest):
        return None
    try:
        places = find_places(manifest, data_root)
        files, faults = list_files(places, "")
        tables = [places.find(join.table) for join in manifest.joins]
        lists = manifest.split.lists if manifest.split else None
        tables += [places.find([name]) for name in lists or ()]
        stamps = stamp_paths(pd.Series([*map(str, tables), *files.values()], dtype="str"))
    except (InputError, OSError):
        return None
    return None if faults else stamps
