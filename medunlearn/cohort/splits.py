"""The official split of a dataset: read from its rows, by patient, mapped to our partitions."""

import numpy as np
import pandas as pd

from medunlearn.cohort.cells import SHOWN, Wrong
from medunlearn.cohort.files import Places
from medunlearn.cohort.partition import (
    EVALUATION_VALIDATION,
    METHOD_VALIDATION,
    TEST,
    TRAIN,
    stratified_order,
)
from medunlearn.cohort.schema import Split
from medunlearn.errors import InputError


def read_split(
    frame: pd.DataFrame, split: Split, places: Places | None, wrong: list[Wrong]
) -> "pd.Series[str]":
    """The official partition of each row: train, validation, test or train+validation.

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
    if split.lists is not None and places is not None:
        expected = f"it in one of {list(split.lists)}; add it there or filter the row out"
        for name, partition in split.lists.items():
            path = places.find([name])
            entries = {line.strip() for line in path.read_text().splitlines() if line.strip()}
            if twice := sorted(entries & words.keys()):
                fault = f"{twice[0]!r} ({len(twice)} in all) is in another list too; keep one"
                raise InputError(str(path), [fault])
            words |= dict.fromkeys(entries, partition)
    wrong.append(Wrong(given[~given.isin(list(words))], f"expected {expected}"))
    return given.map(words)


def split_patients(
    patients: pd.DataFrame,
    official: "pd.Series[str]",
    shares: dict[str, float],
    generator: np.random.Generator,
) -> "pd.Series[str]":
    """Give every patient the official partition; validation is halved, as always.

    Args:
        patients: As from ``patient_table``.
        official: Of each patient; ``train+validation`` is divided by the shares of the two.
        shares: Of patients: ``train``, ``validation``, ``test``.
        generator: All randomness.

    Returns:
        The partition of each patient, indexed like ``patients``.
    """
    parts = []
    for word, members in sorted(patients.groupby(official).groups.items()):
        order = stratified_order(patients.loc[members], generator)
        total, train, validation = len(order), 0, 0
        if word == "train+validation":
            train = round(total * shares["train"] / (shares["train"] + shares["validation"]))
            validation = total - train
        elif word != TEST:
            train, validation = (total, 0) if word == TRAIN else (0, total)
        half = validation // 2
        sizes = [train, half, validation - half, total - train - validation]
        names = np.repeat([TRAIN, METHOD_VALIDATION, EVALUATION_VALIDATION, TEST], sizes)
        parts.append(pd.Series(names, index=order, name="partition"))
    return pd.concat(parts).sort_index()


def patients_of_split(table: pd.DataFrame, subject: str) -> "pd.Series[str]":
    """The one official partition of each patient.

    Args:
        table: One row for each image: ``patient``, ``source_patient``, ``split``.
        subject: Named in the error.

    Raises:
        InputError: A patient's images are in two partitions.
    """
    words = table.groupby("patient")["split"].agg(lambda given: sorted(set(given)))
    torn = words[words.map(len) > 1]
    if len(torn):
        names = table.drop_duplicates("patient").set_index("patient")["source_patient"].to_dict()
        remedy = "expected one; correct the split, or leave it out so that patients are drawn"
        faults = [
            f"patient {names[int(str(patient))]!r} has images in {' and '.join(found)} of the "
            f"official split; {remedy}"
            for patient, found in torn[:SHOWN].items()
        ]
        more = [f"and {len(torn) - SHOWN} more patients"] if len(torn) > SHOWN else []
        raise InputError(subject, faults + more)
    return words.str[0]
