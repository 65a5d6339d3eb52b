"""Drafts for images without a row each: a folder for each class, or DICOM files with headers."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort.first_manifest.columns import MOST_CLASSES, map_split, name_classes
from medunlearn.cohort.first_manifest.draft import Draft, quote
from medunlearn.cohort.first_manifest.tables import put_label, put_looks

MASKS = r"(?i)[_-](mask|seg|segmentation|label)$"


class Levels(NamedTuple):
    """What the folders on the way to an image stand for; a level is counted from 0, outermost."""

    classes: int | None
    patient: int | None
    split: int | None
    folders: pd.DataFrame


def propose_listing(draft: Draft, images: str, files: dict[str, str], hidden: bool) -> None:
    """Fields for kind ``files``.

    Args:
        draft: Gets them.
        images: The folder of the images below the dataset's.
        files: Path below that folder to absolute path.
        hidden: Whether there are hidden files that are not meant.
    """
    draft.put("kind", "files")
    draft.put("images", [images])
    stems = {name.rsplit(".", 1)[0] for name in files}
    masks = {s for s in stems if (cut := re.sub(MASKS, "", s)) != s and cut in stems}
    plain = {name: path for name, path in files.items() if name.rsplit(".", 1)[0] not in masks}
    levels = read_levels(list(plain))
    deep = not levels.folders.empty and any("/" not in name for name in plain)
    suffix = _put_pattern(draft, masks, deep=deep, hidden=hidden)
    draft.put("columns.image", "file")
    draft.put(
        "columns.patient",
        "file",
        "guessed: no folder tells the patient, so each image counts as one. If a patient has "
        "several, add under derive the patient in the file's name, as "
        '{column: patient, rule: extract, source: file, pattern: "([^/_]+)_[^/]*$"}',
    )
    draft.put("unit", "image", "guessed: no folder tells the patient")
    put_levels(draft, levels)
    if levels.classes is None and suffix:
        for name, value in {
            "rule": "threshold",
            "column": "mask_pixels",
            "above": 0,
            "classes": ["nothing", "marked"],
            "reference_class": "nothing",
        }.items():
            draft.put(f"label.{name}", value)
        draft.notes["label.column"] = f"guessed: {len(masks)} images have a mask beside them"
    elif levels.classes is None:
        put_label(draft, pd.DataFrame({"none": [""]}), {"none"})
        draft.notes["label.column"] = "no folder tells the class: give a table as TABLE"
    put_looks(draft, plain)


def _put_pattern(draft: Draft, masks: set[str], *, deep: bool, hidden: bool) -> str:
    """Which files are taken; gives what names of masks add."""
    suffix = ""
    if masks:
        suffix = re.search(MASKS, sorted(masks)[0]).group()  # type: ignore[union-attr]
        draft.put("mask_suffix", suffix, "guessed: names in pairs, image and mask")
    if masks or deep or hidden:
        start = r"^(?!__MACOSX/|\.|.*/\.)" if hidden else ""
        start += r"(?=.+/)" if deep else ""
        before = f".*(?<!{re.escape(suffix)})" if suffix else ".*"
        draft.put(
            "pattern",
            rf"(?i){start}{before}\.(png|jpe?g|tiff?|bmp|webp)$",
            "guessed: without masks, hidden files and images beside the folders",
        )
    return suffix


def read_levels(names: Sequence[str]) -> Levels:
    """Find class, patient and split among the folders that lead to the files."""
    ways = [name.split("/")[:-1] for name in names]
    usual = max({len(way) for way in ways}, key=[len(way) for way in ways].count)
    folders = pd.DataFrame([way for way in ways if len(way) == usual and usual], dtype="str")
    counts = {level: folders[level].nunique() for level in range(folders.shape[1])}
    split = next((level for level in counts if map_split(folders[level].unique())), None)
    few = [i for i, count in counts.items() if 2 <= count <= MOST_CLASSES and i != split]
    classes = few[-1] if few else None  # the innermost folder of so few
    many = [i for i, count in counts.items() if count > MOST_CLASSES and i != split]
    patient = many[-1] if many else None
    return Levels(classes, patient, split, folders)


def put_levels(draft: Draft, levels: Levels) -> None:
    """What folders stand for, as rules; for kind ``files`` the innermost has a column."""
    innermost = levels.folders.shape[1] - 1
    folders = levels.folders

    def column(level: int, name: str) -> str:
        if level == innermost and draft.fields["kind"] == "files":
            return "folder"
        pattern = rf"^(?:[^/]+/){{{level}}}([^/]+)/"
        draft.add(
            "derive",
            {"column": name, "rule": "extract", "source": "file", "pattern": pattern},
            f"guessed: {name} is folder {level + 1}",
        )
        return name

    if levels.classes is not None:
        counts = folders[levels.classes].value_counts()
        mapping, reference = name_classes("folder", list(counts.index))
        rule = {
            "rule": "values",
            "column": column(levels.classes, "class_folder"),
            "classes": list(mapping.values()),
            "reference_class": reference,
            "mapping": mapping,
        }
        for name, value in rule.items():
            draft.put(f"label.{name}", value)
        seen = ", ".join(f"{quote([v])} {counts[v]} files" for v in mapping)
        draft.notes["label.column"] = f"guessed: a folder for each class: {seen}"
        draft.notes["label.reference_class"] = "guessed: the class that counts as negative"
    if levels.patient is not None:
        number = folders[levels.patient].nunique()
        draft.put(
            "columns.patient",
            column(levels.patient, "patient_folder"),
            f"guessed: {number} folders, one for each patient: "
            f"{quote(folders[levels.patient].unique())}",
        )
        draft.put("unit", "patient", "guessed: a folder for each patient")
    if levels.split is not None:
        mapping_ = map_split(folders[levels.split].unique())
        draft.put(
            "split",
            {"column": column(levels.split, "split_folder"), "mapping": mapping_},
            "guessed: an official split; without these lines patients are drawn",
        )
