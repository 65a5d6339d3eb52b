"""Controls that every study runs: can it see what is there, and does it see what is not?

Claims whose control fails carry no verdict.
"""

from collections.abc import Iterator
from dataclasses import asdict, fields, replace

import numpy as np
import pandas as pd

from medunlearn.evaluation.controls.estimators import same_estimates
from medunlearn.evaluation.controls.outcomes import FAILED, NOT_RUN, PASSED, UNINFORMATIVE, Outcome
from medunlearn.evaluation.controls.permuted import permuted_sex
from medunlearn.evaluation.controls.planted import planted_bias, planted_dose
from medunlearn.evaluation.measurements import FLOOR, NOTHING, Measurements, line_ups
from medunlearn.statistics.verdicts import (
    DIFFERENT,
    EQUIVALENT,
    NEGLIGIBLE,
    NOT_ESTIMABLE,
    NOT_TESTED,
    Terms,
    judge,
    refuse,
)

SET_B = "set B passed off as unlearned"
FIT = "fit for the study: do nothing on the forget set"
LEAST_GAP = 0.05
"""Of accuracy: a study whose models do not remember what is to be forgotten has no question."""

CLAIMS = ("C1", "C2", "C3", "C4")
AUDITS = "audits"
"""Stands beside the claims for what the membership audits say."""

ATTACKS = ("rmia", "population")
AREAS = (*ATTACKS, "rmia_folded", "population_folded", "retain_exposure", "retain_exposure_folded")
"""Audits that the margin of attacks is meant for: areas under the ROC curve."""


def run_controls(
    measurements: Measurements,
    terms: Terms,
    contrasts: pd.DataFrame,
    audits: pd.DataFrame | None = None,
    *,
    permutations: int = 1000,
    replicates: int = 200,
) -> pd.DataFrame:
    """Run all controls at the middle size.

    Args:
        measurements: Of the study.
        terms: What was settled before.
        contrasts: As from ``claims.measure_contrasts``.
        audits: One row for each ``method``, ``audit`` and ``against``: ``estimate``, ``low``,
            ``high``, ``standard_error``, ``df``, ``seeds``, ``patients``; None if there are none.
        permutations: Of sex.
        replicates: Of planted doses.

    Returns:
        One row for each control, or part of one: see ``outcomes.Outcome``.
    """
    known = {
        each.method: each
        for each in line_ups(measurements.models)
        if each.composition == "random" and each.forget_size == terms.middle_size
    }
    rows = [
        *_set_b(terms, contrasts, audits),
        _fit(terms, contrasts),
        *_membership(terms, audits),
        planted_bias(measurements, terms, known.get(NOTHING), known.get(FLOOR)),
        *planted_dose(measurements, terms, known.get(FLOOR), replicates),
        *permuted_sex(measurements, terms, known.get(NOTHING), permutations),
        same_estimates(measurements, known.get(NOTHING), contrasts),
    ]
    names = [field.name for field in fields(Outcome)]
    return pd.DataFrame([asdict(row) for row in rows], columns=names)


def switched_off(controls: pd.DataFrame) -> dict[str, str]:
    """Claims that carry no verdict, and why.

    A failed control switches off what it guards. A study must moreover *show* that it is fit, and
    set B must have been there to be mistaken: what leaves either open switches off, too.
    """
    set_b = controls["control"].str.startswith(SET_B) & (controls["state"] == NOT_RUN)
    unfit = (controls["control"] == FIT) & (controls["state"] != PASSED)
    off = controls[(controls["state"] == FAILED) | unfit | set_b]
    reasons: dict[str, list[str]] = {}
    for control, state, found, guards in off[["control", "state", "found", "guards"]].itertuples(
        index=False
    ):
        for claim in guards.split(", "):
            reasons.setdefault(claim, []).append(f"control {state}: {control} ({found})")
    return {claim: "; ".join(each) for claim, each in sorted(reasons.items())}


def _set_b(terms: Terms, contrasts: pd.DataFrame, audits: pd.DataFrame | None) -> Iterator[Outcome]:
    """Set B passed off as unlearned: it differs from set A in nothing but its seeds."""
    rows = [contrasts[contrasts["method"] == FLOOR]] if len(contrasts) else []
    if audits is not None and len(audits):
        rows.append(_audits_as_contrasts(terms, audits))
    columns = ["claim", "estimate", "standard_error", "df", "margin", "refused"]
    rows = [each[columns] for each in rows if len(each)]
    family = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
    judged = judge(family.assign(family="control", confirmatory=True)) if len(family) else family
    for claim in (*CLAIMS, *([AUDITS] if audits is not None else [])):
        outcome = Outcome(
            f"{SET_B}: {claim}",
            "never different; somewhere equivalent, if the margin is within reach anywhere",
            claim,
        )
        yield _read_set_b(outcome, judged[judged["claim"] == claim])


def _audits_as_contrasts(terms: Terms, audits: pd.DataFrame) -> pd.DataFrame:
    table = audits[(audits["method"] == FLOOR) & (audits["against"] == "retrained")]
    counts = table[["seeds", "patients"]].itertuples(index=False, name=None)
    return table.assign(
        claim=AUDITS,
        margin=np.where(table["audit"].isin(AREAS), terms.margins.get("attack", np.nan), np.nan),
        refused=[refuse(terms, int(seeds), int(patients)) for seeds, patients in counts],
    )


def _read_set_b(outcome: Outcome, judged: pd.DataFrame) -> Outcome:
    if not len(judged):
        return outcome.not_run("there is no set B, or nothing that it was measured in")
    counted = judged[~judged["verdict"].isin([NOT_TESTED, NOT_ESTIMABLE])]
    if not len(counted):
        reasons = [reason for reason in judged["refused"] if reason]
        return outcome.not_run(reasons[0] if reasons else "set B has no spread to judge it by")
    different = int(counted["verdict"].isin([DIFFERENT, NEGLIGIBLE]).sum())
    equivalent = int((counted["verdict"] == EQUIVALENT).sum())
    within = counted["reachable_margin"] <= counted["margin"]
    reached = int((within & (counted["verdict"] == EQUIVALENT)).sum())
    state = FAILED if different else PASSED if equivalent else UNINFORMATIVE
    return replace(
        outcome,
        state=state,
        found=f"of {len(counted)} contrasts {different} different, {equivalent} equivalent, "
        f"{reached} of them among the {int(within.sum())} whose margin is within reach",
        rate=different / len(counted),
        nominal=0.0,
        runs=len(counted),
    )


def _fit(terms: Terms, contrasts: pd.DataFrame) -> Outcome:
    """Do nothing must have something to forget."""
    outcome = Outcome(
        FIT,
        f"accuracy gap of at least {LEAST_GAP:g}, its lower limit above the floor's upper limit",
        ", ".join((*CLAIMS, AUDITS)),
    )
    where = {"claim": "C1", "contrast": "gap", "partition": "forget", "measure": "accuracy"}
    table = contrasts
    for column, value in where.items():
        table = table[table[column] == value] if len(table) else table
    return _above(terms, outcome, table, LEAST_GAP)


def _membership(terms: Terms, audits: pd.DataFrame | None) -> Iterator[Outcome]:
    """Do nothing must be found by a membership attack."""
    if audits is None:
        return
    table = audits[audits["against"] == "retrained"] if len(audits) else audits
    if "group" in table:
        table = table[table["group"] == "all"]
    asked = "advantage of a membership attack above the floor's interval"
    found = [
        _above(
            terms,
            Outcome(f"do nothing is attacked: {attack}", asked, AUDITS),
            table[table["audit"] == attack] if len(table) else table,
            0.0,
        )
        for attack in ATTACKS
    ]
    # one attack that sees it is enough; the other then has failed at what was not asked of it
    passed = any(each.state == PASSED for each in found)
    yield from (
        replace(each, state=UNINFORMATIVE) if passed and each.state == FAILED else each
        for each in found
    )


def _above(terms: Terms, outcome: Outcome, table: pd.DataFrame, least: float) -> Outcome:
    """Whether do nothing lies above the floor, with one row of each in the table."""
    rows = {method: table[table["method"] == method] if len(table) else table
            for method in (NOTHING, FLOOR)}  # fmt: skip
    missing = {NOTHING: "do nothing", FLOOR: "set B"}
    if absent := [name for method, name in missing.items() if not len(rows[method])]:
        return outcome.not_run(f"not measured: {' and '.join(absent)}")
    ours, floor = rows[NOTHING].iloc[0], rows[FLOOR].iloc[0]
    if few := refuse(terms, int(ours["seeds"]), terms.verdict_patients):
        return outcome.not_run(few)
    if not np.isfinite([ours["low"], floor["high"]]).all():
        return outcome.not_run("no limits: fewer than two seeds, no spread, or a model blew up")
    seen = ours["estimate"] >= least and ours["low"] > floor["high"]
    return replace(
        outcome,
        state=PASSED if seen else FAILED,
        found=f"{ours['estimate']:+.3f} ({ours['low']:+.3f} to {ours['high']:+.3f}), floor "
        f"{floor['estimate']:+.3f} ({floor['low']:+.3f} to {floor['high']:+.3f})",
        estimate=float(ours["estimate"]),
        low=float(ours["low"]),
        high=float(ours["high"]),
        runs=int(ours["seeds"]),
    )
