"""The patients of a dataset: their ids, sexes and ages, their pseudonyms, and lists of them.

Pseudonyms hide names from those who do not know them. They do not hide who is in a study from those
who have the list of its patients: see `pseudonymise`.
"""

import hmac
import secrets
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from medunlearn.cohort.cells import Wrong, cut_short, place_of, read_numbers, read_text
from medunlearn.cohort.forget_sets import ForgetSet, list_forget_set
from medunlearn.cohort.partition import TRAIN
from medunlearn.cohort.schema import DataManifest
from medunlearn.disk import written_whole
from medunlearn.errors import InputError

BYTES = 32
SALT = "SECRET-salt-of-pseudonyms"
"""The one file that must not be passed on: with it a single guessed id can be tried."""

ELSEWHERE = (
    "If a network of your own has learnt them, forget them there by unlearn_with_record. For this "
    "study leave the line out, and say so in your record of the request"
)
"""What to do about a patient whom this study cannot forget."""


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


def settle_sex(table: pd.DataFrame, manifest: DataManifest, faults: list[str]) -> pd.DataFrame:
    """What the manifest says of patients with two sexes: a fault, or sex unknown."""
    known = table[table["sex"].notna() & (table["source_patient"] != "")]
    pairs = known.drop_duplicates(["source_patient", "sex"]).sort_values(["source_patient", "sex"])
    both = pairs[pairs.duplicated("source_patient", keep=False)]
    if manifest.conflicting_sex is None:
        affected = table["source_patient"].isin(both["source_patient"])
        return table.assign(sex=table["sex"].where(~affected, None))
    female, male = both["source_patient"][::2], both.index[1::2]  # sorted so
    told = [
        f"patient {patient!r} is F in {place_of(row)}, M in {place_of(other)}; correct them, or "
        "set conflicting_sex to null (sex unknown)"
        for (row, patient), other in zip(female.items(), male, strict=True)
    ]
    faults += cut_short(told, "patients with two sexes")
    return table


def make_salt(cache: Path) -> bytes:
    """The salt of this cache, made at random when it is first asked for.

    Readable by its owner only, and beside the studies rather than in one of them, so that a study's
    folder can be passed on without it.

    Args:
        cache: The folder that all studies of a RUNS share.

    Raises:
        InputError: It is not what was written.
    """
    path = cache / SALT
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):  # two first runs must get one salt
        if not path.exists():
            with written_whole(path) as partial:
                partial.touch(mode=0o600)
                partial.write_bytes(secrets.token_bytes(BYTES))
    if len(salt := path.read_bytes()) != BYTES:
        remedy = "restore it, or delete it: pseudonyms will then be others"
        raise InputError(str(path), [f"holds {len(salt)} bytes, expected {BYTES}; {remedy}"])
    return salt


def pseudonymise(table: pd.DataFrame, salt: bytes) -> pd.DataFrame:
    """The table with pseudonyms in place of the source's ids of patients and images.

    A pseudonym is the HMAC-SHA256 of the id (RFC 2104), cut to 128 bits: one id has one pseudonym
    wherever the salt is the same, and without the salt a single guessed id cannot be tried.

    That is all. Patients and rows are numbered in the order of the source's ids, and partitions
    and draws depend on these numbers: whoever has the complete list of a study's ids finds each
    one by its rank, without the salt. Nor are faults pseudonymised, which name files and rows:
    they are printed, and stay in ``jobs/`` if a file changes while a study runs.
    """
    hidden = {
        column: table[column].map({name: pseudonym(name, salt) for name in table[column].unique()})
        for column in ("source_patient", "source_image")
    }
    return table.assign(**hidden)


def pseudonym(given: object, salt: bytes) -> str:
    """The pseudonym of one id."""
    return hmac.digest(salt, str(given).encode(), "sha256").hex()[:32]


def find_listed(path: Path, table: pd.DataFrame, salt: bytes | None = None) -> ForgetSet:
    """The forget set of the patients in a list.

    Args:
        path: UTF-8 text, one id a line, as in the patient column of the user's table. Empty lines
            are left out, and a repeated id counts once.
        table: The cohort's.
        salt: Of the pseudonyms, if the table holds them in place of ids.

    Returns:
        A forget set of composition ``listed``; it holds numbers of patients, and no id.

    Raises:
        InputError: The list cannot be read, or ids are unknown, reserved for tuning or in another
            partition than training; all of them are named, with their lines. Or what it leaves to
            train on is no training set (see `list_forget_set`).
    """
    lines = read_text(path).splitlines()
    named = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    people = table.drop_duplicates("patient").set_index("source_patient").to_dict("index")
    found = [people.get(name if salt is None else pseudonym(name, salt)) for name in named.values()]
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
        return (
            f"this patient is in partition {patient['partition']!r}, expected {TRAIN!r}: no model "
            "of this study has learnt these images. To keep your own partition, set `split` in "
            f"the manifest. {ELSEWHERE}"
        )
    if patient["development"]:
        return f"this patient is reserved for tuning: all models retain these images. {ELSEWHERE}"
    return ""
