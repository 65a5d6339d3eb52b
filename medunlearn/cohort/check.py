"""A dataset looked through before anything is computed: all faults at once, and oddities."""

import hashlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from medunlearn.cohort.build import build_cohort, decode_rows, finish_table
from medunlearn.cohort.decode import Pixels
from medunlearn.cohort.fetch import verify_files
from medunlearn.cohort.manifest import list_unstated
from medunlearn.cohort.partition import PARTITIONS
from medunlearn.cohort.pixels import open_pixels
from medunlearn.cohort.schema import DataManifest, Manifest
from medunlearn.cohort.table import describe_people, examine_table
from medunlearn.errors import InputError

SHOWN = 5  # examples of each oddity
DARK, BRIGHT = 32, 223  # an image that stays below or above uses an eighth of the grey range


class Looked(NamedTuple):
    """A dataset without faults, as `build_cohort` would make it of all its patients."""

    table: pd.DataFrame
    pixels: Pixels


def examine_cohort(
    manifest: Manifest, data_root: Path | None, cache: Path, image_size: int
) -> Looked:
    """Read rows and decode images, going on past faults so that all are told at once.

    Args:
        manifest: The dataset; nothing of it is downloaded.
        data_root: Where datasets lie.
        cache: Gets the pixels; what it holds is verified, and a study takes its images from it.
        image_size: Pixels along each side, at most the manifest's.

    Raises:
        InputError: All faults of files, rows, images and partitions.
    """
    size = min(image_size, manifest.image_size)
    if not isinstance(manifest, DataManifest):
        with TemporaryDirectory(prefix="medunlearn-check-") as folder:
            cohort = build_cohort(
                *(manifest, None),
                folder=Path(folder),
                cache=cache,
                image_size=size,
                max_patients=None,
            )
        return Looked(cohort.table, cohort.pixels)
    faults: list[str] = []
    held = None
    try:
        verify_files(manifest, data_root)
    except InputError as error:
        faults += error.faults
    try:
        rows, found, _ = examine_table(manifest, data_root)
    except InputError as error:
        raise InputError(error.subject, list(dict.fromkeys(faults + error.faults))) from None
    faults += found
    usable = rows[rows["path"].notna() & (rows["path"] != "")]
    try:
        held = decode_rows(usable, manifest, size, cache) if len(usable) else None
    except InputError as error:
        faults += error.faults
    if not found:  # partitions of wrong rows would mean nothing
        try:
            table = finish_table(rows, manifest)
        except InputError as error:
            faults += error.faults
    if faults or held is None:
        raise InputError(f"data of {manifest.name}", faults)
    return Looked(table, open_pixels(held.path))


def describe_cohort(manifest: Manifest, table: pd.DataFrame, pixels: Pixels) -> list[str]:
    """Lines for people: patients, images, counts and oddities of a dataset without faults."""
    count, channels, *_, size = pixels.shape
    lines = [
        f"{manifest.title}: {table['patient'].nunique():,} {manifest.unit}s, {count:,} images of "
        f"{size} px, {channels} channel(s): no fault found",
        *("", count_rows(table, manifest.label.classes), ""),
        *describe_oddities(table, pixels),
    ]
    unstated = ", ".join(list_unstated(manifest))
    return [*lines, f"not stated in the manifest yet: {unstated}"] if unstated else lines


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
    """Missing values, the grey range, dark and bright images, one grey, and duplicates.

    Pixels are compared as the study sees them: shrunk. Images of one grey are not called
    duplicates of each other.

    Args:
        table: One row for each image, in the order of the pixels.
        pixels: uint8, (images, channels, size, size); read image by image.
    """
    seen = _scan(pixels).assign(name=table["source_image"].astype(str).to_numpy())
    total = f"of {len(table):,} images"
    lines = [
        *describe_people(table),
        f"grey range: {seen['low'].min()} to {seen['high'].max()}; of the median image "
        f"{seen['low'].median():.0f} to {seen['high'].median():.0f}",
    ]
    dim = {"dark": seen["high"] < DARK, "bright": seen["low"] > BRIGHT}
    for kind, chosen in dim.items():
        if chosen.any():
            lines.append(
                f"WARNING: {chosen.sum():,} {total} are {kind} all over"
                f"{_examples(seen['name'][chosen])}; look at the manifest's intensity"
            )
    flat = seen["flat"]
    lines.append(f"images of one grey: {flat.sum():,}{_examples(seen['name'][flat])}")
    twice = table.assign(digest=seen["digest"].to_numpy())[~flat.to_numpy()]
    twice = twice[twice["digest"].duplicated(keep=False)]
    groups = twice.groupby("digest")
    owners, parts = groups["patient"].nunique(), groups["partition"].nunique()
    sets = groups["source_image"].agg(lambda given: " = ".join(map(str, given[:3])))
    lines.append(f"images whose pixels were there before: {len(twice) - groups.ngroups:,}")
    for kind, chosen in (
        ("of the same patient", owners < 2),
        ("of different patients", owners > 1),
        ("across partitions", parts > 1),
    ):
        lines.append(f"  sets {kind}: {chosen.sum():,}{_examples(sets[chosen])}")
    return lines


def _scan(pixels: Pixels) -> pd.DataFrame:
    """Of each image a hash, the lowest and highest value, and whether it is all one value."""
    rows = []
    for image in tqdm(pixels, "compare images", unit="image", file=sys.stderr):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()
        flat = bool((image == image[:, :1, :1]).all())
        rows.append((digest, int(image.min()), int(image.max()), flat))
    return pd.DataFrame(rows, columns=["digest", "low", "high", "flat"])


def _examples(names: "pd.Series[str]") -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" ({', '.join(names[:SHOWN])}{more})" if len(names) else ""
