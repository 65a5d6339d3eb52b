"""A cohort's table and record on disk: written whole, and believed while all is as it was."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medunlearn.cohort.files import find_places
from medunlearn.cohort.schema import DataManifest, DicomManifest, FilesManifest, Manifest
from medunlearn.disk import read_record, write_record, written_whole
from medunlearn.sources import canonical_hash, file_hash

TABLE, RECORD = "cohort.parquet", "cohort.json"


def keep(folder: Path, table: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Write a cohort's table, then its record with the table's checksum.

    Two notebooks opened at once may both do so: they write the same.

    Args:
        folder: Of the study; made if it is not there.
        table: One row for each image.
        record: What else is to be known; ``pixels`` names a file of the cache.

    Raises:
        DiskFullError: What was there before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / TABLE) as partial:
        table.to_parquet(partial, index=False)
        content = {**record, "table": file_hash(partial)}
    write_record(folder / RECORD, {**content, "checksum": canonical_hash(content)})


def read_kept(folder: Path, cache: Path) -> dict[str, Any] | None:
    """The record of a cohort; none if it or the table is not as it was written, or the pixels.

    Args:
        folder: Of the study.
        cache: Where the pixels lie: their size and time are compared, their bytes are not read.
    """
    record = read_record(folder / RECORD) or {}
    signed = record.pop("checksum", None) == canonical_hash(record)
    try:
        whole = signed and record["table"] == file_hash(folder / TABLE)
        same = whole and record["pixel_stamp"] == stamp_file(cache / record["pixels"])
    except OSError:
        return None
    return record if same else None


def stamp_tables(manifest: Manifest, data_root: Path | None) -> list[list[Any]]:
    """Path, size and time of the files that tell the rows, apart from the images.

    Files that are added or removed more than one folder deep show only when images are looked at.
    """
    if not isinstance(manifest, DataManifest):
        return []
    places = find_places(manifest, data_root)
    lists = manifest.split.lists if manifest.split else None
    named = [*(join.table for join in manifest.joins), *([name] for name in lists or ())]
    paths = [places.table, *map(places.find, named)]
    if isinstance(manifest, FilesManifest | DicomManifest):  # their folders stand for a table
        for place in places.images:
            paths += [place, *(Path(entry) for entry in os.scandir(place) if entry.is_dir())]
    return [[str(path), *stamp_file(path)] for path in paths]


def stamp_file(path: Path) -> list[int]:
    """Size and time of last change."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
