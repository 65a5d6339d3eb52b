"""A dataset looked through before anything is computed: all faults at once, and oddities."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from medunlearn.cohort.build import decode_rows, draw_phantom, finish_table
from medunlearn.cohort.cache import open_pixels
from medunlearn.cohort.decode import Pixels, shrink
from medunlearn.cohort.files import verify_files
from medunlearn.cohort.partition import PARTITIONS, sample_patients
from medunlearn.cohort.schema import DataManifest, Manifest, PhantomManifest
from medunlearn.cohort.table import examine_table
from medunlearn.errors import InputError

SHOWN = 5  # examples of each oddity
OLDEST = 120  # years
DARK, BRIGHT = 32, 223  # an image that stays below or above uses an eighth of the grey range


class Looked(NamedTuple):
    """A dataset without errors.

    Args:
        table: All its patients, as `build_cohort` would make them.
        pixels: Theirs.
        studied: The patients that a study would take, with their partitions.
    """

    table: pd.DataFrame
    pixels: Pixels
    studied: pd.DataFrame


def examine_cohort(
    manifest: Manifest,
    data_root: Path | None,
    cache: Path,
    image_size: int,
    max_patients: int | None = None,
) -> Looked:
    """Read rows and decode images, going on past faults so that all are told at once.

    Args:
        manifest: The dataset; nothing of it is downloaded.
        data_root: Where datasets lie.
        cache: Gets the pixels; what it holds is verified, and a study takes its images from it.
        image_size: Pixels along each side, at most the manifest's.
        max_patients: As many of the patients a study would take; all if none. Of a generated
            cohort no others are looked at.

    Raises:
        InputError: All faults of files, rows, images and partitions.
    """
    size = min(image_size, manifest.image_size)
    if isinstance(manifest, PhantomManifest):
        table, pixels = draw_phantom(manifest, max_patients)
        return Looked(table, shrink(pixels, size), table)
    assert isinstance(manifest, DataManifest)
    faults: list[str] = []

    def attempt(function: Callable[..., Any], *given: object) -> Any:
        try:
            return function(*given)
        except InputError as error:
            faults.extend(fault for fault in error.faults if fault not in faults)

    attempt(verify_files, manifest, data_root)
    reading = attempt(examine_table, manifest, data_root)
    if reading is None:
        raise InputError(f"data of {manifest.name}", faults)
    rows, found = reading
    faults += found
    usable = rows[rows["path"].notna() & (rows["path"] != "")]
    held = attempt(decode_rows, usable, manifest, size, cache) if len(usable) else None
    if not found:  # partitions of wrong rows would mean nothing
        table, shares = attempt(finish_table, rows, manifest), manifest.partition.model_dump()
        sample = attempt(sample_patients, rows, shares, max_patients, f"cohort {manifest.name}")
        if not faults:
            studied = attempt(finish_table, sample, manifest) if len(sample) < len(rows) else table
    if faults or held is None:
        raise InputError(f"data of {manifest.name}", faults)
    return Looked(table, open_pixels(held.path), studied)


def describe_cohort(manifest: Manifest, table: pd.DataFrame, pixels: Pixels) -> list[str]:
    """Lines for people: patients, images, counts and oddities of a dataset without errors."""
    count, channels, *_, size = pixels.shape
    oddities = describe_oddities(table, pixels)
    warned = sum(line.startswith("WARNING") for line in oddities)
    return [
        f"{manifest.title}: {table['patient'].nunique():,} {manifest.unit}s, {count:,} images of "
        f"{size} px, {channels} channel(s): no error found"
        + (f", but {warned} warning{'s' * (warned > 1)}, see below" if warned else ""),
        *("", count_rows(table, manifest.label.classes), ""),
        *oddities,
    ]


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
    """Missing values, the grey range, dark and bright images, and copies.

    Pixels are compared as the study sees them: shrunk.

    Args:
        table: One row for each image, in the order of the pixels.
        pixels: uint8, (images, channels, size, size); read image by image.
    """
    owners = ["source_image", "patient", "partition"]
    seen = pd.concat([table[owners].reset_index(drop=True), _scan(pixels)], axis=1)
    copies = seen[seen["digest"].duplicated(keep=False)].groupby("digest")
    sets = copies["source_image"].agg(lambda given: " = ".join(map(str, given[:3])))
    few, total = copies[owners].nunique(), f"of {len(table):,} images are"
    odd = {
        f"{total} dark all over; look at the manifest's intensity": seen["high"] < DARK,
        f"{total} bright all over; look at the manifest's intensity": seen["low"] > BRIGHT,
        f"{total} of one value all over": seen["low"] == seen["high"],
    }
    named = {what: seen["source_image"][chosen].astype(str) for what, chosen in odd.items()} | {
        "sets of copies are of different patients": sets[few["patient"] > 1],
        "sets of copies are in different partitions": sets[few["partition"] > 1],
    }
    return [
        *describe_people(table),
        f"grey range: {seen['low'].min()} to {seen['high'].max()}; of the median image "
        f"{seen['low'].median():.0f} to {seen['high'].median():.0f}",
        f"images that are copies of others: {seen['digest'].duplicated().sum():,}",
        *(f"WARNING: {len(n):,} {what}{_examples(n)}" for what, n in named.items() if len(n)),
    ]


def describe_people(table: pd.DataFrame) -> list[str]:
    """Missing values, ages that nobody has, and a sex that all have."""
    missing = [f"{name} {table[name].isna().sum():,}" for name in ("sex", "age")]
    lines = [f"missing values: {', '.join(missing)} of {len(table):,} images"]
    odd = table[(table["age"] < 0) | (table["age"] > OLDEST)]
    if len(odd):
        some = ", ".join(f"{age:g}" for age in sorted(odd["age"].unique(), reverse=True)[:5])
        lines.append(f"WARNING: {len(odd):,} ages are below 0 or above {OLDEST} years ({some})")
    if len(sexes := table["sex"].dropna().unique()) == 1:
        lines.append(f"WARNING: all whose sex is known are {sexes[0]}: sexes cannot be compared")
    return lines


def _scan(pixels: Pixels) -> pd.DataFrame:
    """Of each image a hash, and the lowest and highest value."""
    rows = [
        (hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest(), image.min(), image.max())
        for image in tqdm(pixels, "compare images", unit="image", file=sys.stderr)
    ]
    return pd.DataFrame(rows, columns=["digest", "low", "high"])


def _examples(names: "pd.Series[str]") -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" ({', '.join(names[:SHOWN])}{more})"
