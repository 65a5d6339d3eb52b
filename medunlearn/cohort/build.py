"""From a manifest to a cohort on disk: table, partitions and decoded pixels."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.decode import Decoding
from medunlearn.cohort.download import fetch_missing, verify_files
from medunlearn.cohort.forget_sets import development_patients
from medunlearn.cohort.images import PixelCache, build_arrays, build_pixels, shrink
from medunlearn.cohort.kept import TABLE, keep, read_kept
from medunlearn.cohort.manifest import (
    ArraysManifest,
    DataManifest,
    DicomManifest,
    Manifest,
    PhantomManifest,
)
from medunlearn.cohort.partition import (
    check_partitions,
    partition_patients,
    patient_table,
    patients_of_split,
)
from medunlearn.cohort.phantom import make_phantom
from medunlearn.cohort.pixels import open_pixels, store_pixels
from medunlearn.cohort.pseudonyms import make_salt, pseudonymise, salt_mark
from medunlearn.cohort.sample import sample_patients
from medunlearn.cohort.table import read_table
from medunlearn.cohort.unchanged import stamp_paths, stamp_sources
from medunlearn.errors import InputError
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
    manifest: Manifest
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
    manifest: Manifest,
    data_root: Path | None,
    *,
    folder: Path,
    cache: Path,
    image_size: int,
    max_patients: int | None,
) -> Cohort:
    """Read a dataset, or find it as it was read before; nothing is decoded or drawn twice.

    Args:
        manifest: The dataset.
        data_root: Where datasets lie; not needed for the phantom.
        folder: Of the study; gets ``cohort.parquet`` and ``cohort.json``.
        cache: Gets the pixels, shared by studies of one image size.
        image_size: Pixels along each side, at most the manifest's.
        max_patients: A stratified sample of at most so many patients; all if none.

    Raises:
        InputError: Any fault of the data, all at once; nothing is left half-written.
    """
    size = min(image_size, manifest.image_size)
    parts = _decisive(manifest, size, max_patients)
    stamp = None
    if isinstance(manifest, DataManifest):
        fetch_missing(manifest, data_root)
        stamps = stamp_sources(manifest, data_root)
        stamp = canonical_hash([*parts, stamps]) if stamps else None
        if stamp and (known := _known(folder, cache, manifest, "stamp", stamp)):
            return known
        rows = _read_rows(manifest, data_root, max_patients)
        parts += [_table_hash(rows), stamp_paths(rows["path"])]
    fingerprint = canonical_hash(parts)
    if known := _known(folder, cache, manifest, "fingerprint", fingerprint):
        return known
    if isinstance(manifest, DataManifest):
        verify_files(manifest, data_root)
        table = finish_table(rows, manifest)
        held = decode_rows(rows, manifest, size, cache)
    elif isinstance(manifest, PhantomManifest):
        drawn, pixels = make_phantom(
            min(manifest.patients, max_patients or manifest.patients), size=manifest.image_size
        )
        table = finish_table(_with_codes(drawn, manifest), manifest)
        held = store_pixels(shrink(pixels, size), cache)
    # taken before ids become pseudonyms: they change no partition and no result
    sha256 = canonical_hash([held.key, _table_hash(table)])
    record: dict[str, str | None] = {"fingerprint": fingerprint, "stamp": stamp, "sha256": sha256}
    if getattr(manifest, "pseudonymise", False):
        table = pseudonymise(table, make_salt(cache))
        record["salt"] = salt_mark(cache)
    keep(folder, table, record | {"pixels": held.path.name})
    # as it will be read the next time: types may not differ between the first run and the second
    return Cohort(pd.read_parquet(folder / TABLE), manifest, held.path, sha256)


def _decisive(manifest: Manifest, size: int, max_patients: int | None) -> list[object]:
    """What a cohort depends on apart from the files: whatever the manifest says, and the code."""
    hashes = module_hashes("medunlearn.cohort.build")
    return [manifest.model_dump(mode="json"), size, max_patients, hashes]


def _known(folder: Path, cache: Path, manifest: Manifest, mark: str, value: str) -> Cohort | None:
    """The cohort as it was built before, if it carries this mark."""
    known = read_kept(folder, cache)
    salted = salt_mark(cache) if getattr(manifest, "pseudonymise", False) else None
    if not known or known.get(mark) != value or known.get("salt") != salted:
        return None
    table = pd.read_parquet(folder / TABLE)
    return Cohort(table, manifest, cache / known["pixels"], known["sha256"])


def _read_rows(
    manifest: DataManifest, data_root: Path | None, max_patients: int | None
) -> pd.DataFrame:
    """The rows to be used."""
    try:
        return sample_patients(read_table(manifest, data_root), manifest, max_patients)
    except InputError:
        verify_files(manifest, data_root)  # being another file is the better reason
        raise


def _with_codes(rows: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Class names as codes."""
    codes = {name: code for code, name in enumerate(manifest.label.classes)}
    truth = {"true_label": rows["true_label"].map(codes)} if "true_label" in rows else {}
    return rows.assign(label=rows["label"].map(codes), **truth)


def decode_rows(rows: pd.DataFrame, manifest: DataManifest, size: int, cache: Path) -> PixelCache:
    """The pixels of the rows, in their order.

    Args:
        rows: As from ``read_table``.
        manifest: Says how they are decoded.
        size: Pixels along each side.
        cache: Gets the pixels.

    Raises:
        InputError: Images that cannot be decoded; all are named.
    """
    how = Decoding(
        size=size,
        channels=manifest.channels,
        intensity=manifest.intensity,
        use_channel=manifest.use_channel,
        dicom=isinstance(manifest, DicomManifest),
    )
    if isinstance(manifest, ArraysManifest):
        return build_arrays(Path(rows["path"].iloc[0]), list(rows["source_image"]), cache, how)
    return build_pixels(list(rows["path"]), cache, how)


def finish_table(rows: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
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
    patients, shares = patient_table(table), manifest.partition.model_dump()
    official = patients_of_split(table, subject) if "split" in table else None
    partition = partition_patients(patients, shares, stream("partition"), official)
    table = table.drop(columns="split", errors="ignore")
    table["partition"] = table["patient"].map(partition)
    check_partitions(table, tuple(manifest.label.classes), subject)
    table["development"] = table["patient"].isin(development_patients(table))
    return table[_COLUMNS + [c for c in table.columns if c not in _COLUMNS]]


def _table_hash(table: pd.DataFrame) -> str:
    """Content of a table, whatever the file it came from looked like."""
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return canonical_hash([list(table.columns), rows.tobytes().hex()])
