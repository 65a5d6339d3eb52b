"""All audits of a study's forget set, as one table: is what should be forgotten still known?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.evaluation.audits.answers import Answers
from medunlearn.evaluation.audits.attacks import Attacks
from medunlearn.evaluation.audits.comparisons import Comparison, Finding, comparisons
from medunlearn.evaluation.audits.matching import patient_strata
from medunlearn.evaluation.audits.similarity import Similarity
from medunlearn.evaluation.measurements import RETRAINED, line_ups

COLUMNS = (
    "method", "audit", "partition", "group", "against", "estimate", "standard_error", "df",
    "low", "high", "seeds", "patients", "level_estimate", "note",
)  # fmt: skip


def audit(
    models: pd.DataFrame,
    logits: NDArray[np.float32],
    cohort: pd.DataFrame,
    draws: Mapping[str, Sequence[int]],
    difficulty: pd.DataFrame | None = None,
    *,
    forget_size: float,
    composition: str = "random",
    level: float = 0.95,
) -> pd.DataFrame:
    """Every audit of every method on one forget set that all seeds share.

    Args:
        models: One row for each model.
        logits: (models, samples, classes).
        cohort: One row for each sample.
        draws: Patients by name of the draw.
        difficulty: ``sample`` and ``stratum`` (easy, medium, hard) of train and test samples; none
            if it was not measured.
        forget_size: Share of the training patients.
        composition: Of the forget set.
        level: Of the intervals.

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
        for one in line_ups(models)
        if one.composition == composition and np.isclose(one.forget_size, forget_size)
    ]
    base = [run for one in cell if one.method == RETRAINED for run in one.runs]
    if not base:
        return pd.DataFrame(columns=list(COLUMNS))
    if len({run.draw for run in base}) > 1:
        raise ValueError(
            f"forget size {forget_size:g} ({composition}): each seed forgets other patients; "
            "audits need the size at which all seeds share a draw"
        )
    answers = Answers(logits, cohort, draws, base[0].draw)
    retrained = {run.seed: run.row for run in base}
    audits = (
        Attacks(answers, patient_strata(cohort, difficulty), retrained, level).findings,
        Similarity(answers, level).findings,
    )
    rows = [
        _row(one, finding, answers)
        for one in comparisons(cell)
        for findings in audits
        for finding in findings(one)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(one: Comparison, finding: Finding, answers: Answers) -> dict[str, object]:
    """A finding as a row; notes say what all findings of a comparison have to say."""
    found = finding.interval
    lost = sum(not answers.is_finite(row) for row in {*one.rows, *one.others, *one.base})
    notes = [finding.note]
    if lost:
        notes.append(f"{lost} of the models compared have blown up")
    elif len(one.seeds) < 2:
        notes.append("one seed: no interval")
    elif np.isfinite(found.estimate) and not np.isfinite(found.standard_error) and not notes[0]:
        notes.append("no spread: not estimable (ceiling)")
    note = "; ".join(filter(None, notes))
    return vars(one) | vars(finding) | found.columns | {"note": note}
