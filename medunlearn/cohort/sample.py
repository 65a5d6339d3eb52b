"""At most so many patients of a dataset: stratified, and by the parts of its official split."""

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import (
    TRAIN,
    patient_table,
    patients_of_split,
    stratified_order,
)
from medunlearn.cohort.schema import DataManifest
from medunlearn.randomness import stream


def sample_patients(
    rows: pd.DataFrame, manifest: DataManifest, max_patients: int | None
) -> pd.DataFrame:
    """The rows of at most so many patients, stratified by sex and label.

    Of an official split each part gives patients by the manifest's shares, as far as it has them:
    a small official test set is kept rather than thinned with the rest.

    Args:
        rows: As from ``read_table``.
        manifest: Its shares count where the rows have an official split.
        max_patients: All if none.

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
        official = patients_of_split(numbered, f"cohort {manifest.name}")
        wanted = share_out(official.value_counts(), manifest.partition.model_dump(), max_patients)
        parts = [
            stratified_order(patients[official == word], stream("patients", word))[:count]
            for word, count in wanted.items()
        ]
        chosen = np.concatenate(parts)
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
