"""All audits of a study's forget set, as one table: is what should be forgotten still known?"""

import numpy as np
import pandas as pd

from medunlearn.evaluation.audits.attacks import Attacks
from medunlearn.evaluation.audits.comparisons import Audited, Comparison, Finding, comparisons
from medunlearn.evaluation.audits.similarity import Similarity
from medunlearn.evaluation.measurements import RETRAINED, Measurements, line_ups

COLUMNS = (
    "method", "audit", "partition", "group", "against", "estimate", "standard_error", "df",
    "low", "high", "seeds", "patients", "level_estimate", "note",
)  # fmt: skip


def audit(
    measurements: Measurements, forget_size: float, composition: str = "random"
) -> pd.DataFrame:
    """Every audit of every method on one forget set that all seeds share.

    Args:
        measurements: Of a study.
        forget_size: Share of the training patients.
        composition: Of the forget set.

    Returns:
        One row for each method (unlearned ones, do nothing, set B), audit, partition, group of
        patients (all, F, M) and yardstick (``against``). ``patients`` are those of the
        smallest side; ``estimate`` is the difference from the
        yardstick's models and ``level_estimate`` the audit's own value, means over seeds. Audits:
        ``population``, ``rmia`` (areas under the ROC curve; ``_folded`` where abnormally unlikely
        is conspicuous too); ``forgetting_quality`` and ``forgetting_quality_share`` (above 0.9);
        ``divergence``, ``equal_decisions``. What cannot be estimated is NaN, with a ``note`` why.
        Intervals are conditional on the forget set and the split.

    Raises:
        ValueError: Each seed forgets other patients.
    """
    cell = [
        one
        for one in line_ups(measurements.models)
        if one.composition == composition and np.isclose(one.forget_size, forget_size)
    ]
    retrained = {run.seed: run for one in cell if one.method == RETRAINED for run in one.runs}
    draws = {run.draw for run in retrained.values()}
    if len(draws) > 1:
        raise ValueError(
            f"forget size {forget_size:g} ({composition}): each seed forgets other patients; "
            "audits need the size at which all seeds share a draw"
        )
    rows = []
    for draw in draws:
        audited = Audited(measurements, draw)
        base = {seed: run.row for seed, run in retrained.items()}
        audits = Attacks(audited, base), Similarity(audited)
        rows += [
            _row(one, finding, measurements)
            for one in comparisons(cell)
            for each in audits
            for finding in each.findings(one)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(one: Comparison, finding: Finding, measurements: Measurements) -> dict[str, object]:
    """A finding as a row; notes say what all findings of a comparison have to say."""
    found, notes = finding.interval, [finding.note]
    compared = list({*one.rows, *one.others, *one.base})
    if lost := int((~measurements.is_finite[compared]).sum()):
        notes.append(f"{lost} of the models compared have blown up")
    elif len(one.seeds) < 2:
        notes.append("one seed: no interval")
    elif np.isfinite(found.estimate) and not np.isfinite(found.standard_error) and not notes[0]:
        notes.append("no spread: not estimable (ceiling)")
    note = "; ".join(filter(None, notes))
    return vars(one) | vars(finding) | found.columns | {"note": note}
