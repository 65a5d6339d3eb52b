"""Which column of a table means what: guessed from headers and values."""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import pandas as pd

from medunlearn.cohort.first_manifest.words import (
    FEMALE,
    LETTERS,
    MALE,
    NO,
    REFERENCE,
    SPLITS,
    WORDS,
    YES,
    fold,
    rank,
)

MOST_CLASSES, MOST_SEXES = 20, 8
AGE = r"^\s*0*(\d{1,3})(?:[.,]\d+)?\s*(?:[yYjJaA]\w*)?$"
"""Years, perhaps with their unit (years, Jahre, ans); not months or days of small children."""


class Sex(NamedTuple):
    """The column of the sex and its words; no words of a sex if they could not be told apart."""

    column: str
    female: list[str]
    male: list[str]
    missing: list[str]
    others: list[str]


class Classes(NamedTuple):
    """The column of the label, the class of each of its values, and the negative one."""

    column: str
    mapping: dict[str, str]
    reference: str
    empty: int
    others: list[str]


def order_by_header(frame: pd.DataFrame, role: str, taken: Collection[str]) -> list[str]:
    """Columns whose headers fit a role, the likeliest first."""
    ranks = {name: rank(name, role) for name in map(str, frame) if name not in taken}
    return sorted((n for n, r in ranks.items() if r is not None), key=lambda n: ranks[n] or 0)


def guess_sex(frame: pd.DataFrame, taken: Collection[str]) -> Sex | None:
    """The column that is called so, or whose values are words for both sexes."""
    named = order_by_header(frame, "sex", taken)
    told = [name for name in map(str, frame) if name not in taken and all(_sexes(frame[name])[:2])]
    likely = [name for name in named if name in told] or named or told
    if not likely or (likely == named and frame[likely[0]].nunique() > MOST_SEXES + 1):
        return None
    others = [name for name in dict.fromkeys([*named, *told]) if name != likely[0]]
    return Sex(likely[0], *_sexes(frame[likely[0]]), others)


def _sexes(cells: "pd.Series[str]") -> tuple[list[str], list[str], list[str]]:
    """Words for female, for male, and the rest."""
    words = [word for word in cells.unique() if word]
    if len(words) > MOST_SEXES:
        return [], [], words
    folded = {word: fold(word) for word in words}
    coded = _read_letters(str(cells.name), set(folded.values()))
    plain = dict.fromkeys(MALE, "M") | dict.fromkeys(FEMALE, "F") | coded
    means = {word: plain.get(letters, "") for word, letters in folded.items()}
    female, male, rest = ([w for w in words if means[w] == sex] for sex in ("F", "M", ""))
    return female, male, rest


def _read_letters(header: str, words: set[str]) -> dict[str, str]:
    """What M, V and H mean where that depends on their neighbours or on the header's language.

    M is male, but *mujer* beside H (*hombre*) or V (*varón*) in Spanish; V is female in Dutch.
    """
    if "v" not in words:
        return {"m": "F"} if {"m", "h"} <= words else {}
    place = rank(header, "sex")
    language = WORDS["sex"][place] if place is not None else ""
    if {"f", "h"} & words or language not in LETTERS:
        return {"v": "", "m": ""}
    return LETTERS[language]


def guess_age(frame: pd.DataFrame, taken: Collection[str]) -> tuple[str, bool] | None:
    """The column that is called so and holds years; whether they must be cut out of its text."""
    for name in order_by_header(frame, "age", taken):
        filled = frame[name][frame[name] != ""]
        numbers = pd.to_numeric(filled, errors="coerce")
        if len(filled) and numbers.notna().all():
            if numbers.between(0, 120).mean() > 0.9:
                return name, False
        elif len(filled) and filled.str.match(AGE).mean() > 0.5:
            return name, True
    return None


def guess_patient(frame: pd.DataFrame, taken: Collection[str]) -> list[str]:
    """Columns that may identify the patient, the likeliest first; only named ones are sure."""
    named = order_by_header(frame, "patient", taken)
    many = [name for name in named if frame[name].nunique() > MOST_CLASSES / 4]
    # of two columns about the patient the one with the id; never a case's before a patient's
    ids = r"(?i)id$|nr\.?$|no\.?$|num|key|code"
    return sorted(many, key=lambda n: (rank(n, "patient"), not re.search(ids, n)))


def list_ids(frame: pd.DataFrame, taken: Collection[str]) -> list[str]:
    """Columns with so many different values that they might be ids."""
    few = max(5.0, len(frame) / 50)
    kept = [name for name in map(str, frame) if name not in taken and frame[name].nunique() >= few]
    return [name for name in kept if not frame[name].str.fullmatch(r"-?\d*\.\d+|").all()]


def list_candidates(frame: pd.DataFrame, taken: Collection[str]) -> list[str]:
    """Columns with so few different values that they might be labels."""
    most = min(MOST_CLASSES, len(frame) // 4)
    return [
        name
        for name in map(str, frame)
        if name not in taken and 2 <= frame[name][frame[name] != ""].nunique() <= most
    ]


def guess_classes(frame: pd.DataFrame, taken: Collection[str]) -> Classes | None:
    """The column that is called so, or the only one that could be the label."""
    candidates = list_candidates(frame, taken)
    named = [n for n in order_by_header(frame, "label", taken) if n in candidates]
    if not named and len(candidates) != 1:
        return None
    column = (named or candidates)[0]
    cells = frame[column]
    values = list(cells[cells != ""].value_counts().index)
    others = [name for name in candidates if name != column]
    return Classes(column, *name_classes(column, values), int((cells == "").sum()), others)


def name_classes(column: str, values: Sequence[str]) -> tuple[dict[str, str], str]:
    """A class for each value, the negative one first; yes and no are named by the column.

    Args:
        column: Header of the label.
        values: The frequent ones first: without a telling word the first is the negative class.
    """
    folded = {value: fold(value) for value in values}
    order = {word: place for place, word in enumerate(REFERENCE)}
    known = [value for value in values if folded[value] in order]
    first = min(known, key=lambda value: order[folded[value]]) if known else values[0]
    ordered = [first, *sorted(value for value in values if value != first)]
    if len(values) == 2 and folded[first] in NO and folded[ordered[1]] in YES:
        return {first: f"not {column}", ordered[1]: column}, f"not {column}"
    return {value: value for value in ordered}, first


def guess_findings(frame: pd.DataFrame, taken: Collection[str]) -> tuple[str, str] | None:
    """A column of joined findings, and its value for nothing found."""
    for name in order_by_header(frame, "label", taken):
        for value in frame[name].value_counts().index[:MOST_CLASSES]:
            if fold(value) in REFERENCE and frame[name].nunique() > MOST_CLASSES:
                return name, str(value)
    return None


def guess_split(
    frame: pd.DataFrame, patients: "pd.Series[str]", taken: Collection[str]
) -> tuple[str, dict[str, str]] | None:
    """The column of an official split that parts patients, and its words."""
    for name in order_by_header(frame, "split", taken):
        mapping = map_split(frame[name].unique())
        if mapping and frame[name].groupby(patients).nunique().max() == 1:
            return name, mapping
    return None


def map_split(words: Collection[str]) -> dict[str, str] | None:
    """Words of a split and our partitions; validation is taken from train if there is none."""
    mapping = {word: SPLITS.get(fold(word), "") for word in words}
    if not {"train", "test"} <= set(mapping.values()) or "" in mapping.values():
        return None
    whole = "train" if "validation" in mapping.values() else "train+validation"
    return {word: whole if part == "train" else part for word, part in mapping.items()}


def guess_unit(column: str) -> str:
    """What a patient column identifies, by its header."""
    place = rank(column, "patient")
    word = WORDS["patient"][place] if place is not None else ""
    return {"lesion": "lesion", "lasion": "lesion", "eye": "eye", "auge": "eye"}.get(
        word, "patient"
    )


def free_name(wanted: str, frame: pd.DataFrame) -> str:
    """A name for a new column, which the table has not."""
    while wanted in frame:
        wanted += "_"
    return wanted
