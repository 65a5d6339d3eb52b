"""What there is to say of a dataset without errors, before anything is computed."""

import hashlib
import sys
from typing import Any

import pandas as pd
from tqdm import tqdm

from medunlearn.cohort.decode import Pixels
from medunlearn.cohort.partition import PARTITIONS
from medunlearn.cohort.schema import Manifest

SHOWN = 5  # examples of each oddity
OLDEST = 120  # years
DARK = 32  # an image that stays below uses an eighth of the grey range


def describe_cohort(manifest: Manifest, table: pd.DataFrame, pixels: Pixels) -> list[str]:
    """Lines for people: patients, images, counts and oddities of a dataset without errors."""
    count, channels, *_, size = pixels.shape
    oddities = describe_oddities(table, pixels)
    warned = sum(line.startswith("WARNING") for line in oddities)
    return [
        f"{manifest.title}: {table['patient'].nunique():,} {manifest.unit}s, {count:,} images of "
        f"{size} px, {channels} channel(s): no error found"
        + (f", but {warned} warning(s), see below" if warned else ""),
        *("", count_rows(table, manifest.label.classes), ""),
        *oddities,
    ]


def count_rows(table: pd.DataFrame, classes: tuple[str, ...]) -> str:
    """Images by partition, sex and class, and the patients of each, as a table to print."""
    shown = table.assign(label=table["label"].map(dict(enumerate(classes))))
    parts = pd.Categorical(shown["partition"], PARTITIONS)
    groups = [parts, shown["sex"].fillna("unknown").rename("sex")]
    counts = pd.crosstab(groups, shown["label"], rownames=["partition", "sex"])
    counts = counts[[name for name in classes if name in counts]]
    people = shown["patient"].groupby(groups, observed=True).nunique()
    return counts.assign(patients=people).rename_axis(columns="images of class").to_string()


def describe_oddities(table: pd.DataFrame, pixels: Pixels) -> list[str]:
    """Missing values, the grey range, dark images, and copies.

    Pixels are compared as the study sees them: shrunk.

    Args:
        table: One row for each image, in the order of the pixels.
        pixels: uint8, (images, channels, size, size); read image by image.
    """
    seen = pd.DataFrame(
        [
            (hashlib.sha256(image.tobytes()).hexdigest(), image.min(), image.max())
            for image in tqdm(pixels, "compare images", unit="image", file=sys.stderr)
        ],
        columns=["digest", "low", "high"],
    ).assign(**{name: table[name].to_numpy() for name in ("source_image", "patient", "partition")})
    copies = seen[seen["digest"].duplicated(keep=False)].groupby("digest")
    sets = copies["source_image"].agg(lambda given: " = ".join(map(str, given[:3])))
    dark = seen.loc[seen["high"] < DARK, "source_image"].astype(str)
    odd = {
        f"of {len(table):,} images are dark all over; look at the manifest's intensity": dark,
        "sets of copies are of different patients": sets[copies["patient"].agg(_differ)],
        "sets of copies are in different partitions": sets[copies["partition"].agg(_differ)],
    }
    return [
        *describe_people(table),
        f"grey range: {seen['low'].min()} to {seen['high'].max()}; of the median image "
        f"{seen['low'].median():.0f} to {seen['high'].median():.0f}",
        f"images that are copies of others: {seen['digest'].duplicated().sum():,}",
        *(
            f"WARNING: {len(n):,} {what}, as {', '.join(n[:SHOWN])}"
            for what, n in odd.items()
            if len(n)
        ),
    ]


def _differ(given: "pd.Series[Any]") -> bool:
    return bool((given != given.iloc[0]).any())


def describe_people(table: pd.DataFrame) -> list[str]:
    """Missing values, ages that nobody has, and a sex that all have."""
    missing = [f"{name} {table[name].isna().sum():,}" for name in ("sex", "age")]
    lines = [f"missing values: {', '.join(missing)} of {len(table):,} images"]
    odd = table.loc[(table["age"] < 0) | (table["age"] > OLDEST), "age"]
    if len(odd):
        some = f"from {odd.min():g} to {odd.max():g}"
        lines.append(f"WARNING: {len(odd):,} ages are below 0 or above {OLDEST} years ({some})")
    if len(sexes := table["sex"].dropna().unique()) == 1:
        lines.append(f"WARNING: all whose sex is known are {sexes[0]}: sexes cannot be compared")
    return lines
