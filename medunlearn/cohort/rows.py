"""Rows as the manifest's rules leave them: columns added, rows filtered, people and parts coded."""

from pathlib import Path

import pandas as pd

from medunlearn.cohort.cells import Wrong, cut_short, read_csv, read_numbers
from medunlearn.cohort.files import Places
from medunlearn.cohort.rules import Join, Split, order_steps
from medunlearn.cohort.schema import DataManifest
from medunlearn.errors import InputError

NOBODY = {"nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "unknown", "?", "-"}
"""Words that programs and people write into an empty cell: no id of a patient."""


def shape_rows(
    frame: pd.DataFrame, manifest: DataManifest, places: Places, wrong: list[Wrong]
) -> pd.DataFrame:
    """Derive columns, join tables and filter."""
    for step in order_steps([*manifest.derive, *manifest.joins])[0]:
        if isinstance(step, Join):
            frame = join_table(frame, step, places.find(step.table), wrong)
        else:
            frame = frame.assign(**{step.column: step.make(frame, wrong)})
    keep = pd.Series(True, index=frame.index)
    for rule in manifest.filters:
        keep &= rule.keep(frame, wrong)
    return frame[keep]


def join_table(frame: pd.DataFrame, join: Join, path: Path, wrong: list[Wrong]) -> pd.DataFrame:
    """Add the columns of another table; a row there may be repeated if it says the same.

    Raises:
        InputError: The table cannot be read, or says two things of one row.
    """
    ours, theirs = list(join.by), list(join.by.values())
    other = read_csv(path, [*theirs, *join.made]).drop_duplicates()
    twice = other[other.duplicated(theirs)]
    if len(twice):
        key, said = ", ".join(twice.iloc[0][theirs]), list(join.made)
        fault = f"row {twice.index[0]}: {key!r} is there twice, with different {said}"
        raise InputError(str(path), [f"{fault}; keep one of these rows"])
    keys = frame[ours].set_axis(theirs, axis=1)
    found = keys.merge(other, how="left", on=theirs, indicator="found").set_axis(frame.index)
    there = found["found"] == "both"
    if join.unmatched == "error":
        missing = frame[ours].agg(", ".join, axis=1)[~there].rename(", ".join(ours))
        remedy = f"{path.name} has no such {', '.join(theirs)}; add it, or set join.unmatched"
        wrong.append(Wrong(missing, remedy))
    joined = frame.assign(**{name: found[name].fillna("") for name in join.made})
    return joined[there] if join.unmatched == "drop" else joined


def read_split(
    frame: pd.DataFrame, split: Split, places: Places, wrong: list[Wrong]
) -> "pd.Series[str]":
    """The official part of each row: train, validation, test or train+validation.

    Args:
        frame: The rows as text.
        split: The manifest's rule.
        places: Where lists are.
        wrong: Gets rows that the split does not know.

    Raises:
        InputError: A list is not there, or two lists hold one entry.
    """
    given = frame[split.column]
    words: dict[str, str] = dict(split.mapping or {})
    expected = f"one of {list(words)}; correct it, or add it to split.mapping"
    if split.lists is not None:
        expected = f"it in one of {list(split.lists)}; add it there or filter the row out"
        for name, part in split.lists.items():
            path = places.find([name])
            entries = {line.strip() for line in path.read_text().splitlines() if line.strip()}
            if twice := sorted(entries & words.keys()):
                fault = f"{twice[0]!r} ({len(twice)} in all) is in another list too; keep one"
                raise InputError(str(path), [fault])
            words |= dict.fromkeys(entries, part)
    wrong.append(Wrong(given[~given.isin(list(words))], f"expected {expected}"))
    return given.map(words)


def check_ids(patients: "pd.Series[str]") -> list[Wrong]:
    """Cells that are no patient's id."""
    nobody = patients.str.lower().isin(NOBODY)
    return [
        Wrong(patients[patients == ""], "expected a patient's id; fill the cell"),
        Wrong(patients[nobody], "is no patient's id; fill the cell, or filter the row out"),
    ]


def code_sex(words: "pd.Series[str]", manifest: DataManifest, wrong: list[Wrong]) -> pd.Series:
    """F, M or None, where the manifest knows sexes."""
    codes = manifest.sex.codes if manifest.sex else dict.fromkeys(words.unique())
    known = ", ".join(repr(word) for word in codes if word)
    remedy = f"expected {known} or an empty cell; correct it, or add the word to the manifest's sex"
    wrong.append(Wrong(words[~words.isin(list(codes))], remedy))
    return pd.Series([codes.get(word) for word in words.tolist()], index=words.index, dtype=object)


def code_age(
    words: "pd.Series[str]", manifest: DataManifest, wrong: list[Wrong]
) -> "pd.Series[float]":
    """Years; NaN where not known."""
    years = {word: "" if age is None else str(age) for word, age in manifest.ages.items()}
    return read_numbers(
        words.replace(years), wrong, ", or say in the manifest's ages what it means"
    )


def settle_sex(
    table: pd.DataFrame, manifest: DataManifest, faults: list[str], noun: str
) -> pd.DataFrame:
    """What the manifest says of patients with two sexes: a fault, sex unknown, or left out."""
    known = table[table["sex"].notna() & (table["source_patient"] != "")]
    pairs = known.drop_duplicates(["source_patient", "sex"]).sort_values(["source_patient", "sex"])
    both = pairs.loc[pairs.duplicated("source_patient", keep=False), "source_patient"]
    affected = table["source_patient"].isin(both)
    if manifest.conflicting_sex == "drop":
        return table[~affected]
    if manifest.conflicting_sex == "null":
        return table.assign(sex=table["sex"].where(~affected, None))
    remedy = "correct them, or set conflicting_sex to null (sex unknown) or drop (patient left out)"
    female, male = both[::2], both[1::2]  # sorted so
    told = [
        f"patient {patient!r} is F in {noun} {row}, M in {noun} {other}; {remedy}"
        for patient, row, other in zip(female, female.index, male.index, strict=False)
    ]
    faults += cut_short(told, "patients with two sexes")
    return table
