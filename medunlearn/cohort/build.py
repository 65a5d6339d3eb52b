"""From a manifest to a cohort on disk: table, partitions and decoded pixels."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort import partition, schema
from medunlearn.cohort.cache import (
    PixelCache,
    build_arrays,
    build_pixels,
    open_pixels,
    read_key,
    store_pixels,
)
from medunlearn.cohort.decode import Decoding, shrink
from medunlearn.cohort.fetch import fetch_missing, verify_files
from medunlearn.cohort.forget_sets import development_patients
from medunlearn.cohort.kept import TABLE, keep, read_kept, stamp_file, stamp_tables
from medunlearn.cohort.phantom import make_phantom
from medunlearn.cohort.pseudonyms import make_salt, pseudonym, pseudonymise
from medunlearn.cohort.table import read_table
from medunlearn.randomness import stream
from medunlearn.sources import canonical_hash, module_hashes

_COLUMNS = ["sample", "patient", "source_image", "source_patient", "partition", "development"]


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
    size = min(image_size, manifest.image_size)
    if isinstance(manifest, schema.DataManifest):
        fetch_missing(manifest, data_root)
    code, tables = module_hashes("medunlearn.cohort.build"), stamp_tables(manifest, data_root)
    salt = make_salt(cache) if getattr(manifest, "pseudonymise", False) else None
    decisive = [manifest.model_dump(mode="json"), size, max_patients, code, tables]
    stamp = canonical_hash([*decisive, pseudonym("", salt) if salt else None])
    record = read_kept(folder, cache)
    if record and record["stamp"] == stamp:
        known = cache / record["pixels"]
        if not look_again or (not isinstance(manifest, schema.DataManifest) and read_key(known)):
            return Cohort(pd.read_parquet(folder / TABLE), manifest, known, record["sha256"])
    if isinstance(manifest, schema.DataManifest):
        rows = _read_rows(manifest, data_root, max_patients)
        table = finish_table(rows, manifest)
        held = decode_rows(rows, manifest, size, cache)
    elif isinstance(manifest, schema.PhantomManifest):
        count = min(manifest.patients, max_patients or manifest.patients)
        drawn, pixels = make_phantom(count, size=manifest.image_size)
        table = finish_table(_with_codes(drawn, manifest), manifest)
        held = store_pixels(shrink(pixels, size), cache)
    # taken before ids become pseudonyms: they change no partition and no result
    sha256 = canonical_hash([held.key, _table_hash(table)])
    pixel_stamp = {"pixels": held.path.name, "pixel_stamp": stamp_file(held.path)}
    keep(
        folder,
        pseudonymise(table, salt) if salt else table,
        {"stamp": stamp, "sha256": sha256} | pixel_stamp,
    )
    # as it will be read the next time: types may not differ between the first run and the second
    return Cohort(pd.read_parquet(folder / TABLE), manifest, held.path, sha256)


def _read_rows(
    manifest: schema.DataManifest, data_root: Path | None, max_patients: int | None
) -> pd.DataFrame:
    """The rows to be used, of the published files where these are named."""
    verify_files(manifest, data_root)
    rows, shares = read_table(manifest, data_root), manifest.partition.model_dump()
    return partition.sample_patients(rows, shares, max_patients, f"cohort {manifest.name}")


def _with_codes(rows: pd.DataFrame, manifest: schema.Manifest) -> pd.DataFrame:
    """Class names as codes."""
    codes = {name: code for code, name in enumerate(manifest.label.classes)}
    truth = {"true_label": rows["true_label"].map(codes)} if "true_label" in rows else {}
    return rows.assign(label=rows["label"].map(codes), **truth)


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
    is_dicom = isinstance(manifest, schema.DicomManifest)
    how = Decoding(size, manifest.channels, manifest.intensity, manifest.use_channel, is_dicom)
    if isinstance(manifest, schema.ArraysManifest):
        return build_arrays(Path(rows["path"].iloc[0]), list(rows["source_image"]), cache, how)
    return build_pixels(list(rows["path"]), cache, how)


def finish_table(rows: pd.DataFrame, manifest: schema.Manifest) -> pd.DataFrame:
    """Number samples and patients, give every patient a partition, reserve the development set.

    Args:
        rows: As from ``read_table``, or the phantom's.
        manifest: Names classes and shares.

    Raises:
        InputError: A class has no patient in a partition, or the official split tears one apart.
    """
    subject = f"cohort {manifest.name}"
    table = rows.drop(columns=["path"], errors="ignore").assign(
        sample=np.arange(len(rows), dtype=np.int32),
        patient=pd.factorize(rows["source_patient"], sort=True)[0].astype(np.int32),
        label=rows["label"].astype(np.int16),
        age=rows["age"].astype("float32"),
    )
    patients, shares = partition.patient_table(table), manifest.partition.model_dump()
    official = partition.patients_of_split(table, subject) if "split" in table else None
    drawn = partition.partition_patients(patients, shares, stream("partition"), official)
    table = table.drop(columns="split", errors="ignore")
    table["partition"] = table["patient"].map(drawn)
    partition.check_partitions(table, tuple(manifest.label.classes), subject)
    table["development"] = table["patient"].isin(development_patients(table))
    return table[_COLUMNS + [c for c in table.columns if c not in _COLUMNS]]


def _table_hash(table: pd.DataFrame) -> str:
    """Content of a table, whatever the file it came from looked like."""
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return canonical_hash([list(table.columns), rows.tobytes().hex()])
