"""What one network after unlearning is measured to do, beside the original and a retrained one.

Each is one network, so intervals are over patients alone, and hold for these very networks.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.audits.audit import Attacks
from medunlearn.evaluation.measurements import Measurements
from medunlearn.statistics.intervals import contrast_interval

Floats = NDArray[np.float64]

LIST = "list"
PARTS, GROUPS = ("forget", "retain", TEST), ("all", "F", "M")
ATTACKS = {"membership": False, "membership_folded": True}
"""Whether abnormally low confidence tells, too."""
DIFFERENCE = "difference"
"""The unlearned network minus the retrained one, or minus the original where none was trained."""
LEVEL = 0.95
"""Of intervals."""
FEWEST = 10
"""Patients of whom an interval is shown: t intervals of fewer mislead."""
TEXTS = yaml.safe_load(Path(__file__).with_name("record.yaml").read_text("utf-8"))
"""What a record says in words."""


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
    every, models = np.stack([*logits.values()]), pd.DataFrame(index=range(len(logits)))
    taken = Measurements(models, every, cohort, {LIST: forgotten}, reference=0, level=LEVEL)
    base = list(logits).index("retrained" if "retrained" in logits else "original")
    pair = list(logits).index("unlearned"), base
    return [
        {"measure": name, "images": part, "group": group, "patients": patients, **row}
        for name, part, group, patients, values in [*_accuracies(taken), *_attacks(taken)]
        for row in _rows(list(logits), values, pair)
    ]


Found = tuple[str, str, str, int, list[list[Floats]]]
"""Measure, images, group, patients; of each network values whose means add up to the measure."""


def _accuracies(taken: Measurements) -> Iterator[Found]:
    for part, group in product(PARTS, GROUPS):
        subset = taken.subset(LIST, part, group)
        if len(subset.samples):
            right = taken.logits[:, subset.samples].argmax(axis=2) == subset.labels
            shares = subset.total(np.where(taken.is_finite[:, None], right, np.nan))
            values = [[of_network] for of_network in shares]
            yield "accuracy", part, group, len(subset.patient_ids), values


def _attacks(taken: Measurements) -> Iterator[Found]:
    if not len(taken.subset(LIST, TEST, "all").samples):
        return
    attacks = Attacks(taken, LIST, retrained={})
    for (group, matched), (name, fold) in product(attacks.matches.items(), ATTACKS.items()):
        if matched.patients:  # else there is nobody of this kind in the test set
            rows = taken.models.index
            placed = [attacks.place("population", group, fold, row, 0) for row in rows]
            values = [[each.members, each.others] for each in placed]
            yield name, "forget", group, matched.patients, values


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


def main_table(record: Mapping[str, Any], *measures: str) -> pd.DataFrame:
    """What was measured, in percent, as people read it.

    Args:
        record: The content of ``record.json``.
        measures: Of ``evidence.measure``; default: ``accuracy``.

    Returns:
        A column for each network, and one for the difference from the retrained network, else from
        the original, with its 95 % interval. Empty if nothing of the kind was measured.
    """
    rows = [row for row in record["measured"] if row["measure"] in (measures or ("accuracy",))]
    if not rows:
        return pd.DataFrame()
    keys = ["measure" if measures else "images", "group", "patients"]
    told = pd.DataFrame(rows).assign(shown=[tell_row(row) for row in rows])
    table = told.pivot_table("shown", keys, "network", aggfunc="first", sort=False)
    base = "retrained" if "retrained" in record["networks"] else "original"
    unit = "images" if record["request"]["patients"] is None else "patients"
    names = {**TEXTS["words"], DIFFERENCE: f"unlearned minus {base}", "patients": unit}
    table = table.reset_index("patients").rename_axis(columns=None)
    return table.rename(TEXTS["words"]).rename(columns=names)


def tell_row(row: Mapping[str, Any]) -> str:
    """``55 (48 to 62)``; of right answers, or few patients, an interval of a difference alone."""
    few, sign = row["patients"] < FEWEST, "+" if row["network"] == DIFFERENCE else ""
    if few and sign:
        return "too few to say"
    first, *limits = (
        "-" if row[each] is None else f"{round(100 * row[each]):{sign}d}"
        for each in ("estimate", "low", "high")
    )
    plain = few or "-" in limits or (row["measure"] == "accuracy" and not sign)
    return first if plain else f"{first} ({' to '.join(limits)})"
