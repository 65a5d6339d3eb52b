"""A dataset looked through before anything is computed: all faults at once, and oddities."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from medunlearn.cohort.build import build_cohort, decode_rows, finish_table
from medunlearn.cohort.download import verify_files
from medunlearn.cohort.manifest import DataManifest, Manifest
from medunlearn.cohort.partition import PARTITIONS
from medunlearn.cohort.pixels import Pixels, open_pixels
from medunlearn.cohort.table import describe_people, examine_table
from medunlearn.errors import InputError

SHOWN = 5  # examples of each oddity


class Looked(NamedTuple):
    """A dataset without faults, as `build_cohort` would make it of all its patients."""

    table: pd.DataFrame
    pixels: Pixels


def examine_cohort(
    manifest: Manifest, data_root: Path | None, scratch: Path, image_size: int
) -> Looked:
    """Read rows and decode images, going on past faults so that all are told at once.

    Args:
        manifest: The dataset; nothing of it is downloaded.
        data_root: Where datasets lie.
        scratch: A folder for the pixels, to be removed afterwards; nothing else is written.
        image_size: Pixels along each side, at most the manifest's.

    Raises:
        InputError: All faults of files, rows, images and partitions.
    """
    size = min(image_size, manifest.image_size)
    if not isinstance(manifest, DataManifest):
        cohort = build_cohort(
            manifest, None, folder=scratch, cache=scratch, image_size=size, max_patients=None
        )
        return Looked(cohort.table, cohort.pixels)
    faults: list[str] = []
    try:
        verify_files(manifest, data_root)
    except InputError as error:
        faults += error.faults
    try:
        rows, found, _ = examine_table(manifest, data_root)
    except InputError as error:
        raise InputError(error.subject, list(dict.fromkeys(faults + error.faults))) from None
    faults += found
    usable, cache = rows[rows["path"].notna() & (rows["path"] != "")], None
    try:
        cache = decode_rows(usable, manifest, size, scratch) if len(usable) else None
    except InputError as error:
        faults += error.faults
    if not found:  # partitions of wrong rows would mean nothing
        try:
            table = finish_table(rows, manifest)
        except InputError as error:
            faults += error.faults
    if faults or cache is None:
        raise InputError(f"data of {manifest.name}", faults)
    return Looked(table, open_pixels(cache.path))


def count_rows(table: pd.DataFrame, classes: tuple[str, ...]) -> str:
    """Images by partition, sex and class, and the patients of each, as a table to print."""
    names = dict(enumerate(classes))
    shown = table.assign(label=table["label"].map(names), sex=table["sex"].fillna("unknown"))
    images = pd.crosstab([shown["partition"], shown["sex"]], shown["label"])
    patients = shown.groupby(["partition", "sex"])["patient"].nunique()
    order = [(p, s) for p in PARTITIONS for s in ("F", "M", "unknown") if (p, s) in images.index]
    counts = images[[name for name in classes if name in images]].assign(patients=patients)
    return counts.loc[order].rename_axis(columns="images of class").to_string()


def describe_oddities(table: pd.DataFrame, pixels: Pixels) -> list[str]:
    """Missing values, images that are all one grey, and images that are there more than once.

    Pixels are compared as the study sees them: shrunk. Images of one grey are not called
    duplicates of each other.

    Args:
        table: One row for each image, in the order of the pixels.
        pixels: uint8, (images, channels, size, size); read block by block.
    """
    digests, constant = _scan(pixels)
    names = table["source_image"].astype(str)
    lines = describe_people(table)
    flat = names[constant]
    lines.append(f"images of one grey: {len(flat):,}{_examples(list(flat))}")
    twice = table.assign(digest=digests)[~constant]
    twice = twice[twice["digest"].duplicated(keep=False)]
    groups = twice.groupby("digest")
    owners, parts = groups["patient"].nunique(), groups["partition"].nunique()
    kinds = {
        "of the same patient": owners < 2,
        "of different patients": owners > 1,
        "across partitions": parts > 1,
    }
    total = len(twice) - groups.ngroups
    lines.append(f"images whose pixels were there before: {total:,}")
    for kind, chosen in kinds.items():
        sets = groups["source_image"].agg(lambda given: " = ".join(map(str, given[:3])))
        held = sets[chosen]
        lines.append(f"  sets {kind}: {len(held):,}{_examples(list(held))}")
    return lines


def _scan(pixels: Pixels) -> tuple[list[bytes], NDArray[np.bool_]]:
    """A hash of each image, and whether it is all one value in each channel."""
    digests, constant = [], np.zeros(len(pixels), dtype=bool)
    for number, image in enumerate(_each(pixels)):
        digests.append(hashlib.blake2b(image.tobytes(), digest_size=16).digest())
        constant[number] = bool((image == image[:, :1, :1]).all())
    return digests, constant


def _each(pixels: Pixels) -> Iterator[Pixels]:
    shown = tqdm(total=len(pixels), desc="compare images", unit="image", file=sys.stderr)
    with shown as bar:
        for image in pixels:
            yield np.ascontiguousarray(image)
            bar.update()


def _examples(names: list[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" ({', '.join(names[:SHOWN])}{more})" if names else ""
