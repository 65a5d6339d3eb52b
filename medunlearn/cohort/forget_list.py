"""Patients to be forgotten, named in a text file by their ids in the user's own table."""

from pathlib import Path

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
    hidden = getattr(cohort.manifest, "pseudonymise", False)
    salt = make_salt(cohort.pixel_file.parent) if hidden else None
    known = cohort.table.drop_duplicates("patient").set_index("source_patient")
    found, faults = [], []
    for number, name in named.items():
        key = pseudonym(name, salt) if salt else name
        fault = _fault(known.loc[key]) if key in known.index else _UNKNOWN
        if fault:
            faults.append(f"line {number}: given {name!r}; {fault}")
        else:
            found.append(int(known.loc[key, "patient"]))
    if faults:
        raise InputError(str(path), faults)
    return list_forget_set(cohort.table, found, str(path))


_UNKNOWN = (
    "this study has no such patient; expected an id as in the table's patient column: correct it, "
    "or raise max_patients in the profile if the dataset has this patient"
)


def _fault(patient: "pd.Series[object]") -> str:
    """Why a known patient cannot be forgotten; empty if this is possible."""
    if patient["partition"] != TRAIN:
        where = f"this patient is in partition {patient['partition']!r}"
        return f"{where}, expected {TRAIN!r}: no model has learnt these images; remove the line"
    if patient["development"]:
        return "this patient is reserved for tuning (development), and always retained; remove it"
    return ""
