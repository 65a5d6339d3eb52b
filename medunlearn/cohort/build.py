"""From a manifest to a cohort on disk: table, partitions and decoded pixels."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort import partition, schema
from medunlearn.cohort.cache import (
    PixelCache,
    build_pixels,
    open_pixels,
    read_key,
    store_pixels,
)
from medunlearn.cohort.decode import Decoding, shrink
from medunlearn.cohort.files import fetch_missing, find_places, verify_files
from medunlearn.cohort.patients import make_salt, pseudonym, pseudonymise
from medunlearn.cohort.phantom import make_phantom
from medunlearn.cohort.table import finish_table, read_table
from medunlearn.disk import read_record, write_record, written_whole
from medunlearn.errors import InputError
from medunlearn.sources import canonical_hash, module_hashes

TABLE, RECORD = "cohort.parquet", "cohort.json"


@dataclass(frozen=True)
class Cohort:
    """Images, labels, patients and sex, ready for a study.

    Args:
        table: One row for each image, ``sample`` being the row number: ``patient``,
            ``source_image``, ``source_patient``, ``partition``, ``development``, ``sex`` (F, M or
            none), ``age`` (years), ``label`` (class code) and, of the phantom, the truth.
        manifest: Where it comes from.
        pixel_file: uint8, (samples, channels, size, size), memory-mapped.
        sha256: Of table and pixels: what results depend on.
    """

    table: pd.DataFrame
    manifest: schema.Manifest
    pixel_file: Path
    sha256: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by code."""
        return tuple(self.manifest.label.classes)

    @property
    def reference(self) -> int:
        """Code of the class that counts as negative."""
        return self.manifest.label.reference_code

    @property
    def salt(self) -> bytes | None:
        """Of the pseudonyms in the table; none where it holds the source's own ids."""
        return _find_salt(self.manifest, self.pixel_file.parent)

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """All images, (samples, channels, size, size), not read before they are used."""
        return open_pixels(self.pixel_file)


def build_cohort(
    manifest: schema.Manifest,
    data_root: Path | None,
    *,
    folder: Path,
    cache: Path,
    image_size: int,
    max_patients: int | None,
    look_again: bool = False,
) -> Cohort:
    """Open a cohort as it was built before, or build it.

    What was built is believed while manifest, code, tables and the pixel file are as they were,
    by their sizes and times: images are not looked at, so that opening takes under a second.

    Args:
        manifest: The dataset.
        data_root: Where datasets lie; not needed for the phantom.
        folder: Of the study; gets ``cohort.parquet`` and ``cohort.json``.
        cache: Gets the pixels, shared by studies of one image size.
        image_size: Pixels along each side, at most the manifest's.
        max_patients: A stratified sample of at most so many patients; all if none.
        look_again: Whether images and pixels are verified too; what has changed is decoded again.

    Raises:
        InputError: Any fault of the data, all at once; nothing is left half-written.
    """
    if isinstance(manifest, schema.DataManifest) and data_root and data_root.is_dir():
        fetch_missing(manifest, data_root)
    code, tables = module_hashes("medunlearn.cohort.build"), _stamp_tables(manifest, data_root)
    salt = _find_salt(manifest, cache)
    decisive = [manifest.model_dump(mode="json"), image_size, max_patients, code, tables]
    stamp = canonical_hash([*decisive, pseudonym("", salt) if salt is not None else None])
    kept = _read_kept(folder, cache)
    if kept and kept["stamp"] == stamp:
        known = cache / kept["pixels"]
        if not look_again or (manifest.kind == "phantom" and read_key(known)):
            return Cohort(pd.read_parquet(folder / TABLE), manifest, known, kept["sha256"])
    table, held = gather(manifest, data_root, cache, image_size, max_patients)
    # taken before ids become pseudonyms: they change no partition and no result
    sha256 = canonical_hash([held.key, _table_hash(table)])
    table = pseudonymise(table, salt) if salt is not None else table
    keep(folder, table, held.path, {"stamp": stamp, "sha256": sha256})
    # as it will be read the next time: types may not differ between the first run and the second
    return Cohort(pd.read_parquet(folder / TABLE), manifest, held.path, sha256)


def gather(
    manifest: schema.Manifest,
    data_root: Path | None,
    cache: Path,
    image_size: int,
    max_patients: int | None,
    *,
    go_on: bool = False,
) -> tuple[pd.DataFrame, PixelCache]:
    """Read and decode what a study takes of a dataset.

    Args:
        manifest: The dataset; nothing of it is downloaded.
        data_root: Where datasets lie.
        cache: Gets the pixels; what it holds is verified.
        image_size: Pixels along each side, at most the manifest's.
        max_patients: A stratified sample of at most so many patients; all if none.
        go_on: Whether images are decoded in spite of wrong rows, so that all faults are told.

    Returns:
        The finished table of the patients that a study takes, and its pixels.

    Raises:
        InputError: All faults of files and rows; with them, or else, those of images.
    """
    size = min(image_size, manifest.image_size)
    if isinstance(manifest, schema.PhantomManifest):
        count = min(manifest.patients, max_patients or manifest.patients)
        rows, pixels = make_phantom(count, size=manifest.image_size)
        codes = {name: code for code, name in enumerate(manifest.label.classes)}
        named = {column: rows[column].map(codes) for column in ("label", "true_label")}
        table = finish_table(rows.assign(**named), manifest)
        return table, store_pixels(shrink(pixels, size), cache)
    assert isinstance(manifest, schema.DataManifest)
    places = find_places(manifest, data_root)
    rows, faults = read_table(manifest, places)
    subject, table = f"data of {manifest.name}", pd.DataFrame()
    faults += verify_files(manifest, places.folder)
    taken = rows[rows["path"].notna() & (rows["path"] != "")]
    try:
        if not faults:  # partitions of wrong rows would mean nothing
            shares = manifest.partition.model_dump()
            taken = partition.sample_patients(rows, shares, max_patients, subject)
            table = finish_table(taken, manifest)
    except InputError as error:
        faults += error.faults
    try:
        if len(taken) and (go_on or not faults):
            held = decode_rows(taken, manifest, size, cache)
    except InputError as error:
        faults += error.faults
    if faults:
        raise InputError(subject, faults)
    return table, held


def decode_rows(
    rows: pd.DataFrame, manifest: schema.DataManifest, size: int, cache: Path
) -> PixelCache:
    """The pixels of the rows, in their order.

    Args:
        rows: As from ``read_table``.
        manifest: Says how they are decoded.
        size: Pixels along each side.
        cache: Gets the pixels.

    Raises:
        InputError: Images that cannot be decoded; all are named.
    """
    how = Decoding(size, manifest.channels, manifest.intensity, manifest.use_channel, manifest.kind)
    return build_pixels(list(zip(rows["path"], rows["source_image"], strict=True)), cache, how)


def _table_hash(table: pd.DataFrame) -> str:
    """Content of a table, whatever the file it came from looked like."""
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return canonical_hash([list(table.columns), rows.tobytes().hex()])


def keep(folder: Path, table: pd.DataFrame, pixels: Path, record: Mapping[str, Any]) -> None:
    """Write a cohort's table, then its record with sizes and times of the files, each whole.

    Two notebooks opened at once may both do so: they write the same.

    Raises:
        DiskFullError: What was there before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / TABLE) as partial:
        table.to_parquet(partial, index=False)
    stamps = [_stamp_file(folder / TABLE), _stamp_file(pixels)]
    content = {**record, "pixels": pixels.name, "files": stamps}
    write_record(folder / RECORD, {**content, "checksum": canonical_hash(content)})


def _read_kept(folder: Path, cache: Path) -> dict[str, Any] | None:
    """The record; none if it, the table or the pixels are not as they were written."""
    record = read_record(folder / RECORD) or {}
    if record.pop("checksum", None) != canonical_hash(record):
        return None
    try:
        stamps = [_stamp_file(folder / TABLE), _stamp_file(cache / record["pixels"])]
        return record if record["files"] == stamps else None
    except (OSError, KeyError):  # not there, or written by another version
        return None


def _stamp_tables(manifest: schema.Manifest, data_root: Path | None) -> list[list[Any]]:
    """Path, size and time of the files that tell the rows, apart from the images.

    Files that are added or removed more than one folder deep show only when images are looked at.
    """
    if not isinstance(manifest, schema.DataManifest):
        return []
    places = find_places(manifest, data_root)
    lists = manifest.split.lists if manifest.split else None
    named = [*(join.table for join in manifest.joins), *([name] for name in lists or ())]
    paths = [places.table, *map(places.find, named)]
    for place in places.images if places.table == places.folder else ():  # stand for a table
        paths += [place, *(Path(entry) for entry in os.scandir(place) if entry.is_dir())]
    return [[str(path), *_stamp_file(path)] for path in paths]


def _stamp_file(path: Path) -> list[int]:
    """Size and time of last change."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _find_salt(manifest: schema.Manifest, cache: Path) -> bytes | None:
    return make_salt(cache) if getattr(manifest, "pseudonymise", False) else None
