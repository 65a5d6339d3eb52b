"""Partitions, samples and orders of patients."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.cells import cut_short
from medunlearn.errors import InputError
from medunlearn.randomness import stream

PARTITIONS = ("train", "validation_method", "validation_evaluation", "test")
TRAIN, METHOD_VALIDATION, EVALUATION_VALIDATION, TEST = PARTITIONS
FEW = 3
"""Patients of a class who are named where they are too few."""


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
    patients: pd.DataFrame,
    shares: dict[str, float],
    generator: np.random.Generator,
    official: "pd.Series[str] | None" = None,
) -> "pd.Series[str]":
    """Give every patient one partition; validation is halved for methods and for evaluation.

    Args:
        patients: As from ``patient_table``.
        shares: Of patients: ``train``, ``validation``, ``test``; they sum to 1.
        generator: All randomness.
        official: The official part of each patient, which is kept: ``train``, ``validation``,
            ``test``, or ``train+validation``, which is divided by the shares of the two.

    Returns:
        The partition of each patient, indexed like ``patients``.
    """
    parts = pd.Series("all", index=patients.index) if official is None else official
    drawn = []
    for part, members in sorted(patients.groupby(parts).groups.items()):
        # every order position is stratified, so consecutive blocks are too
        order = stratified_order(patients.loc[members], generator)
        blocks = np.repeat(PARTITIONS, _sizes(str(part), len(order), shares))
        drawn.append(pd.Series(blocks, index=order, name="partition"))
    return pd.concat(drawn).sort_index()


def _sizes(part: str, total: int, shares: dict[str, float]) -> list[int]:
    """Patients of a part that each partition gets."""
    train, validation = {"train": (total, 0), "validation": (0, total), "test": (0, 0)}.get(
        part, (round(shares["train"] * total), round(shares["validation"] * total))
    )
    if part == "train+validation":
        train = round(total * shares["train"] / (shares["train"] + shares["validation"]))
        validation = total - train
    half = validation // 2
    return [train, half, validation - half, total - train - validation]


def patients_of_split(table: pd.DataFrame, subject: str) -> "pd.Series[str]":
    """The one official part of each patient.

    Args:
        table: One row for each image: ``patient``, ``source_patient``, ``split``.
        subject: Named in the error.

    Raises:
        InputError: A patient's images are in two parts.
    """
    pairs = table[["patient", "split", "source_patient"]].drop_duplicates(["patient", "split"])
    torn = pairs[pairs.duplicated("patient", keep=False)].sort_values(["patient", "split"])
    names = torn.groupby("patient").agg({"source_patient": "first", "split": " and ".join})
    remedy = "expected one; correct the split, or leave it out so that patients are drawn"
    faults = [
        f"patient {name!r} has images in {parts} of the official split; {remedy}"
        for name, parts in names.itertuples(index=False)
    ]
    if faults:
        raise InputError(subject, cut_short(faults, "patients"))
    return pairs.set_index("patient")["split"].sort_index()


def check_partitions(table: pd.DataFrame, classes: tuple[str, ...], subject: str) -> None:
    """Refuse a cohort in which some class has no patient in some partition.

    Raises:
        InputError: Names every such class and partition, and the class's patients if they are few.
    """
    held = table.groupby(["partition", "label"])["patient"].nunique()
    whole = table.groupby("label")["source_patient"].unique()
    # a misspelt class has few patients, whose ids lead to its rows
    told = {code: f": {', '.join(map(str, ids))}" for code, ids in whole.items() if len(ids) <= FEW}
    faults = [
        f"class {name!r} has no patient in partition {partition!r} ({len(whole.get(code, ()))} in "
        f"the whole cohort{told.get(code, '')}; expected at least 1 in each of {len(PARTITIONS)}): "
        "correct the manifest's label rule or merge the class into another, raise max_patients in "
        "the profile, or give that partition more patients by partition or split"
        for partition in PARTITIONS
        for code, name in enumerate(classes)
        if held.get((partition, code), 0) == 0
    ]
    if faults:
        raise InputError(subject, faults)


def sample_patients(
    rows: pd.DataFrame, shares: dict[str, float], max_patients: int | None, subject: str
) -> pd.DataFrame:
    """The rows of at most so many patients, stratified by sex and label.

    Of an official split each part gives patients by the manifest's shares, as far as it has them:
    a small official test set is kept rather than thinned with the rest.

    Args:
        rows: As from ``read_table``.
        shares: Of patients: ``train``, ``validation``, ``test``; they count where the rows have an
            official split.
        max_patients: All if none.
        subject: Named in the error.

    Raises:
        InputError: A patient is in two parts of the official split.
    """
    numbered = rows.assign(patient=pd.factorize(rows["source_patient"], sort=True)[0])
    patients = patient_table(numbered)
    if max_patients is None or len(patients) <= max_patients:
        return rows
    if "split" not in rows:
        chosen = stratified_order(patients, stream("patients"))[:max_patients]
    else:
        official = patients_of_split(numbered, subject)
        wanted = share_out(official.value_counts(), shares, max_patients)
        orders = {
            w: stratified_order(patients[official == w], stream("patients", w)) for w in wanted
        }
        chosen = np.concatenate([orders[word][:count] for word, count in wanted.items()])
    return rows[numbered["patient"].isin(chosen)].reset_index(drop=True)


def share_out(sizes: "pd.Series[int]", shares: dict[str, float], total: int) -> dict[str, int]:
    """How many patients each part of an official split gives.

    Args:
        sizes: Patients by part: ``train``, ``validation``, ``train+validation``, ``test``.
        shares: Of patients: ``train``, ``validation``, ``test``. What a part cannot give the others
            give, by their shares.
        total: Patients wanted, fewer than there are.
    """
    own = shares | {"train+validation": shares[TRAIN] + shares["validation"]}
    left, open_parts = total, {str(part): int(size) for part, size in sorted(sizes.items())}
    wanted: dict[str, int] = {}
    while open_parts:
        weight = sum(own[part] for part in open_parts)
        fair = {part: left * own[part] / weight for part in open_parts}
        scarce = [part for part, size in open_parts.items() if size <= fair[part]]
        if not scarce:
            whole = {part: int(value) for part, value in fair.items()}
            by_rest = sorted(fair, key=lambda part: (whole[part] - fair[part], part))
            for part in by_rest[: left - sum(whole.values())]:
                whole[part] += 1
            return wanted | whole
        for part in scarce:
            wanted[part] = open_parts.pop(part)
            left -= wanted[part]
    return wanted
