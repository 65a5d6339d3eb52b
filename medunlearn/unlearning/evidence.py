"""What one network after unlearning is measured to do, beside the original and a retrained one.

Each is one network, so intervals are over patients alone, and hold for these very networks.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits.answers import GROUPS, Answers
from medunlearn.evaluation.audits.attacks import Attacks
from medunlearn.evaluation.audits.matching import patient_strata
from medunlearn.statistics.intervals import contrast_interval

Floats = NDArray[np.float64]

PARTS = ("forget", "retain", TEST)
ATTACKS = {"membership": False, "membership_folded": True}
"""Whether abnormally low confidence tells, too."""
DIFFERENCE = "difference"
"""The unlearned network minus the retrained one, or minus the original where none was trained."""
LEVEL = 0.95
"""Of intervals."""


def measure(
    logits: Mapping[str, NDArray[np.float32]], cohort: pd.DataFrame, forgotten: Sequence[int]
) -> list[dict[str, Any]]:
    """Accuracy, and how well an attack tells forgotten patients from those of the test set.

    The attack is the study's on a population: it ranks patients by their mean logit-scaled
    confidence in the true class, within strata of sex and label. ``membership`` is its area under
    the ROC curve; ``membership_folded`` the same where also abnormally *low* confidence tells.

    Args:
        logits: Of each network, (samples, classes): ``original``, ``unlearned``, and ``retrained``
            where there is one.
        cohort: One row for each sample: ``sample``, ``patient``, ``sex`` (F, M or none), ``label``,
            ``partition`` (``train`` or ``test``).
        forgotten: Patients.

    Returns:
        For each ``measure``, set of ``images`` and ``group`` (all, F, M) that has a patient one row
        for each ``network``, and one for the ``DIFFERENCE``: ``patients``, ``estimate``, and limits
        ``low`` and ``high`` at 95 %. What cannot be estimated is none.
    """
    answers = Answers(np.stack([*logits.values()]), cohort, {"list": forgotten}, "list")
    base = list(logits).index("retrained" if "retrained" in logits else "original")
    pair = list(logits).index("unlearned"), base
    return [
        {"measure": name, "images": part, "group": group, "patients": patients, **row}
        for name, part, group, patients, values in [
            *_accuracies(answers),
            *_attacks(answers, patient_strata(cohort, None)),
        ]
        for row in _rows(list(logits), values, pair)
    ]


Found = tuple[str, str, str, int, list[list[Floats]]]
"""Measure, images, group, patients; of each network values whose means add up to the measure."""


def _accuracies(answers: Answers) -> Iterator[Found]:
    finite = np.array([answers.is_finite(row) for row in range(len(answers.logits))])
    for part, group in product(PARTS, GROUPS):
        subset, inside = answers.part(part), answers.inside(part, group)
        if inside.any():
            right = answers.logits[:, subset.samples].argmax(axis=2) == subset.labels
            shares = answers.by_patient(np.where(finite[:, None], right, np.nan), part)
            values = [[of_network] for of_network in shares[:, inside]]
            yield "accuracy", part, group, int(inside.sum()), values


def _attacks(answers: Answers, strata: pd.DataFrame) -> Iterator[Found]:
    if not len(answers.part(TEST).samples):
        return
    attacks = Attacks(answers, strata, retrained={}, level=LEVEL)
    for group, (name, fold) in product(answers.groups(), ATTACKS.items()):
        count = min(len(attacks.match(group).members), len(attacks.match(group).others))
        if count:  # else there is nobody of this kind in the test set
            rows = range(len(answers.logits))
            placed = [attacks.place("population", group, fold, row, 0) for row in rows]
            values = [[each.members, each.others] for each in placed]
            yield name, "forget", group, count, values


def _rows(
    networks: Sequence[str], values: list[list[Floats]], pair: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """An interval for each network, and for the difference of a pair."""
    ours, theirs = (values[each] for each in pair)
    difference = [one - other for one, other in zip(ours, theirs, strict=True)]
    for network, groups in zip([*networks, DIFFERENCE], [*values, difference], strict=True):
        # of a network that stands for itself, not for its training: two equal seeds do not vary
        twice = [np.stack([group, group]) for group in groups]
        found = contrast_interval(twice, [1.0] * len(groups), level=LEVEL)
        told = {"estimate": found.estimate, "low": found.low, "high": found.high}
        lowest = -1 if network == DIFFERENCE else 0  # a t interval may leave the scale
        yield {"network": network} | {
            name: round(float(np.clip(x, lowest, 1)), 4) if np.isfinite(x) else None
            for name, x in told.items()
        }
