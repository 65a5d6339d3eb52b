"""Pseudonyms: a cohort's table names no patient and no image as its source does.

They hide names from those who do not know them. They do not hide who is in a study from those who
have the list of its patients: see `pseudonymise`.
"""

import hmac
import secrets
from pathlib import Path

import pandas as pd
from filelock import FileLock

from medunlearn.disk import written_whole
from medunlearn.errors import InputError

SALT = "SECRET-salt-of-pseudonyms"
"""The one file that must not be passed on: with it a single guessed id can be tried."""

_BYTES = 32


def make_salt(cache: Path) -> bytes:
    """The salt of this cache, made at random when it is first asked for.

    Readable by its owner only, and beside the studies rather than in one of them, so that a study's
    folder can be passed on without it.

    Args:
        cache: The folder that all studies of a RUNS share.

    Raises:
        InputError: It cannot be written or read, or is not what was written.
    """
    path = cache / SALT
    try:
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / ".lock"):  # two first runs must get one salt
                if not path.exists():
                    with written_whole(path) as partial:
                        partial.touch(mode=0o600)
                        partial.write_bytes(secrets.token_bytes(_BYTES))
        salt = path.read_bytes()
    except OSError as error:
        remedy = "make it readable, check the folder and its permissions"
        raise InputError(str(path), [f"cannot be kept: {error.strerror}; {remedy}"]) from None
    if len(salt) != _BYTES:
        remedy = "restore it, or delete it: pseudonyms will then be others"
        raise InputError(str(path), [f"holds {len(salt)} bytes, expected {_BYTES}; {remedy}"])
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
