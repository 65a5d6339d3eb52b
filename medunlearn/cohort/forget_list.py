"""Patients to be forgotten, named in a text file by their ids in the user's own table."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medunlearn.cohort.build import Cohort
from medunlearn.cohort.forget_sets import ForgetSet, list_forget_set
from medunlearn.cohort.partition import TRAIN
from medunlearn.cohort.pseudonyms import make_salt, pseudonym
from medunlearn.errors import InputError


def read_forget_list(path: Path, cohort: Cohort) -> ForgetSet:
    """The forget set of the patients in a list.

    Args:
        path: UTF-8 text, one id a line, as in the patient column of the user's table. Empty lines
            are left out, and a repeated id counts once.
        cohort: Where ids are pseudonyms, those of the list are looked up by the salt of its cache.

    Returns:
        A forget set of composition ``listed``; it holds numbers of patients, and no id.

    Raises:
        InputError: As `find_listed`.
    """
    hidden = getattr(cohort.manifest, "pseudonymise", False)
    return find_listed(path, cohort.table, make_salt(cohort.pixel_file.parent) if hidden else None)


def find_listed(path: Path, table: pd.DataFrame, salt: bytes | None = None) -> ForgetSet:
    """The forget set of the patients in a list, in a table whose ids are pseudonyms by a salt.

    Raises:
        InputError: The list cannot be read, or ids are unknown, reserved for tuning or in another
            partition than training; all of them are named, with their lines. Or what it leaves to
            train on is no training set (see `list_forget_set`).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "expected a text file in UTF-8 with one id a line"
        raise InputError(str(path), [f"cannot be read: {error}; {remedy}"]) from None
    named = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    people = table.drop_duplicates("patient").set_index("source_patient").to_dict("index")
    found = [people.get(pseudonym(name, salt) if salt else name) for name in named.values()]
    faults = [
        f"line {number}: given {name!r}; {fault}"
        for (number, name), patient in zip(named.items(), found, strict=True)
        if (fault := _fault(patient))
    ]
    if faults:
        raise InputError(str(path), faults)
    chosen = [patient["patient"] for patient in found if patient]
    return list_forget_set(table, chosen, str(path))


def _fault(patient: Mapping[Hashable, Any] | None) -> str:
    """Why a patient cannot be forgotten; empty if this is possible."""
    if patient is None:
        return (
            "this study has no such patient; expected an id as in the table's patient column: "
            "correct it, or raise max_patients in the profile if the dataset has this patient"
        )
    if patient["partition"] != TRAIN:
        where = f"this patient is in partition {patient['partition']!r}"
        return f"{where}, expected {TRAIN!r}: no model has learnt these images; remove the line"
    if patient["development"]:
        return "this patient is reserved for tuning (development), and always retained; remove it"
    return ""
