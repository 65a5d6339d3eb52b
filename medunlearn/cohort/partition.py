"""Partitions of patients, and orders of patients from which forget sets are taken."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.errors import InputError

TRAIN, METHOD_VALIDATION, EVALUATION_VALIDATION, TEST = (
    "train",
    "validation_method",
    "validation_evaluation",
    "test",
)
PARTITIONS = (TRAIN, METHOD_VALIDATION, EVALUATION_VALIDATION, TEST)


def patient_table(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each patient, with what orders are stratified by.

    Args:
        table: One row for each image, with ``patient``, ``sex`` and ``label`` (a class code).

    Returns:
        Indexed by patient, sorted: ``sex`` (``F``, ``M`` or none) and ``rarest``, the one of the
        patient's labels that has the fewest images in the cohort.
    """
    frequency = table["label"].map(table["label"].value_counts())
    rarest_first = table.assign(frequency=frequency).sort_values(
        ["patient", "frequency", "label"], kind="stable"
    )
    patients = rarest_first.groupby("patient", sort=True).first()
    # groupby.first skips missing values; one patient has one sex, so this is the patient's
    return patients[["sex", "label"]].rename(columns={"label": "rarest"})


def stratified_order(
    patients: pd.DataFrame, generator: np.random.Generator, first: pd.Series | None = None
) -> NDArray[np.int64]:
    """All patients in random order, every beginning of which holds each stratum in proportion.

    Within a stratum (sex x rarest label) patients are shuffled and spread evenly over the order,
    with a random offset; the first q patients are therefore a stratified sample for every q.

    Args:
        patients: As from ``patient_table``.
        generator: All randomness.
        first: A value for each patient; within a stratum the lowest then come first, instead of
            being shuffled.

    Returns:
        Patient ids, int64.
    """
    position = pd.Series(0.0, index=patients.index)
    strata = patients["sex"].fillna("unknown") + "/" + patients["rarest"].astype(str)
    for _, members in sorted(strata.groupby(strata).groups.items()):
        ranks, offset = generator.permutation(len(members)), generator.uniform()
        if first is not None:
            ranks = np.argsort(np.argsort(first[members].to_numpy(), kind="stable"))
        position.loc[members] = (ranks + offset) / len(members)
    shuffled = position.iloc[generator.permutation(len(position))]  # ties fall at random
    return shuffled.sort_values(kind="stable").index.to_numpy(dtype=np.int64)


def partition_patients(
    patients: pd.DataFrame, shares: dict[str, float], generator: np.random.Generator
) -> pd.Series:
    """Give every patient one partition; validation is halved for methods and for evaluation.

    Args:
        patients: As from ``patient_table``.
        shares: Of patients: ``train``, ``validation``, ``test``; they sum to 1.
        generator: All randomness.

    Returns:
        The partition of each patient, indexed like ``patients``.
    """
    order = stratified_order(patients, generator)
    total = len(order)
    train = round(shares["train"] * total)
    validation = round(shares["validation"] * total)
    half = validation // 2
    sizes = [train, half, validation - half, total - train - validation]
    # every order position is stratified, so consecutive blocks are too
    return pd.Series(np.repeat(PARTITIONS, sizes), index=order, name="partition").sort_index()


def check_partitions(table: pd.DataFrame, classes: tuple[str, ...], subject: str) -> None:
    """Refuse a cohort in which some class has no patient in some partition.

    Raises:
        InputError: Names every such class and partition, with the number of its patients.
    """
    counts = table.groupby(["partition", "label"])["patient"].nunique()
    per_class = table.groupby("label")["patient"].nunique()
    faults = [
        f"class {name!r} has no patient in partition {partition!r} "
        f"({per_class.get(code, 0)} in the whole cohort, expected at least 1 in each of "
        f"{len(PARTITIONS)}): merge it into another class in the manifest's label rule, "
        "raise max_patients in the profile, or give that partition a larger share"
        for partition in PARTITIONS
        for code, name in enumerate(classes)
        if counts.get((partition, code), 0) == 0
    ]
    if faults:
        raise InputError(subject, faults)
