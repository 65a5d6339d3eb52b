"""Controls that every study runs: can it see what is there, and does it see what is not?

Claims whose control fails carry no verdict.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from medunlearn.evaluation.controls.known_truth import permuted_sex, planted_bias, planted_dose
from medunlearn.evaluation.controls.resampling import ALPHA, FAILED, NOT_RUN, PASSED, Outcome
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.yardsticks import FLOOR, NOTHING, middle_line_ups
from medunlearn.statistics.verdicts import EQUIVALENT, Terms, judge, refuse

SET_B = "set B passed off as unlearned"
FIT = "fit for the study: do nothing on the forget set"
LEAST_GAP = 0.05
"""Of accuracy: a study whose models do not remember what is to be forgotten has no question."""

CLAIMS = ("C1", "C2", "C3", "C4")
AUDITS = "audits"
"""Stands beside the claims for what the membership audits say."""

ATTACKS = ("rmia", "population")
AREAS = tuple(f"{name}{fold}" for name in ATTACKS for fold in ("", "_folded"))
"""Audits that the margin of attacks is meant for: areas under the ROC curve."""

COLUMNS = (
    "claim", "contrast", "partition", "measure", "method", "audit", "against", "group", "estimate",
    "low", "high", "standard_error", "df", "seeds", "margin", "refused",
)  # fmt: skip
"""What controls read of contrasts and audits."""


def run_controls(
    measurements: Measurements,
    terms: Terms,
    asked: pd.DataFrame,
    *,
    permutations: int = 1000,
    replicates: int = 200,
) -> pd.DataFrame:
    """Run all controls: at the middle size, a planted bias at the size of its contrast.

    Args:
        measurements: Of the study.
        terms: What was settled before.
        asked: Contrasts as from ``claims.measure_contrasts``, and audits as from ``audits.audit``
            as contrasts of the claim ``audits``: with ``claim``, ``margin`` and ``refused``.
        permutations: Of sex.
        replicates: Of planted doses.

    Returns:
        One row for each control, or part of one: see ``resampling.Outcome``.
    """
    middle, largest = (
        middle_line_ups(measurements.models, size) for size in (terms.middle_size, max(terms.sizes))
    )
    nothing, floor = middle.get(NOTHING), middle.get(FLOOR)
    table = asked.reindex(columns=list(COLUMNS))
    outcomes = [
        *_set_b(table),
        _fit(terms, table),
        *_attacked(terms, table),
        planted_bias(measurements, terms, largest.get(NOTHING), largest.get(FLOOR)),
        *planted_dose(measurements, terms, floor, replicates),
        *permuted_sex(measurements, terms, nothing, permutations),
    ]
    return pd.DataFrame(outcomes)


def switched_off(controls: pd.DataFrame) -> dict[str, str]:
    """Claims that carry no verdict, and why.

    A failed control switches off what it guards. A study must moreover *show* that it is fit, and
    set B must have been there to be mistaken: what leaves either open switches off, too.
    """
    set_b = controls["control"].str.startswith(SET_B) & (controls["state"] == NOT_RUN)
    unfit = (controls["control"] == FIT) & (controls["state"] != PASSED)
    off = controls[(controls["state"] == FAILED) | unfit | set_b]
    reasons = "control " + off["state"] + ": " + off["control"] + " (" + off["found"] + ")"
    claims = off["guards"].str.split(", ").explode()
    return {str(k): "; ".join(v) for k, v in reasons.reindex(claims.index).groupby(claims)}


def _set_b(table: pd.DataFrame) -> Iterator[Outcome]:
    """Set B passed off as unlearned: it differs from set A in nothing but its seeds."""
    rows = table[table["method"] == FLOOR]
    judged = judge(rows.assign(family="control", confirmatory=True))
    asked = "never different; somewhere equivalent, if the margin is within reach anywhere"
    for claim in (*CLAIMS, AUDITS):
        outcome, here = Outcome(f"{SET_B}: {claim}", asked, claim), judged[judged["claim"] == claim]
        counted = here[here["p_difference"].notna()]
        if not len(counted):
            none = "no spread to judge set B by, or nothing that it was measured in"
            yield replace(outcome, found=next(filter(None, here["refused"]), none))
            continue
        count, different = len(counted), int((counted["p_difference_adjusted"] < ALPHA).sum())
        equivalent = counted["verdict"] == EQUIVALENT
        within = counted["reachable_margin"] <= counted["margin"]
        yield outcome.came_out(
            False if different else bool(equivalent.any()) or None,
            f"of {count} contrasts {different} different, {equivalent.sum()} equivalent, "
            f"{(within & equivalent).sum()} of them among the {within.sum()} whose margin is "
            "within reach",
            rate=different / count,
            nominal=0.0,
            runs=count,
        )


def _fit(terms: Terms, table: pd.DataFrame) -> Outcome:
    """Do nothing must have something to forget."""
    asked = f"accuracy gap of at least {LEAST_GAP:g}, its lower limit above the floor's upper limit"
    where = {"claim": "C1", "contrast": "gap", "partition": "forget", "measure": "accuracy"}
    outcome = Outcome(FIT, asked, ", ".join((*CLAIMS, AUDITS)))
    return _above(terms, outcome, table, where, LEAST_GAP)


def _attacked(terms: Terms, table: pd.DataFrame) -> Iterator[Outcome]:
    """Do nothing must be found by a membership attack."""
    asked = "advantage of a membership attack above the floor's interval"
    found = []
    for attack in ATTACKS:
        where = {"claim": AUDITS, "against": "retrained", "group": "all", "audit": attack}
        outcome = Outcome(f"do nothing is attacked: {attack}", asked, AUDITS)
        found.append(_above(terms, outcome, table, where, 0.0))
    # one attack that sees it is enough; the other then has failed at what was not asked of it
    passed = any(each.state == PASSED for each in found)
    for each in found:
        yield each.came_out(None, each.found) if passed and each.state == FAILED else each


def _above(
    terms: Terms, outcome: Outcome, table: pd.DataFrame, where: dict[str, str], least: float
) -> Outcome:
    """Whether do nothing lies above the floor, with at most one row of each there."""
    rows = table[(table[list(where)] == pd.Series(where)).all(axis=1)]
    known = rows.set_index("method").to_dict("index")
    names = {NOTHING: "do nothing", FLOOR: "set B"}
    if absent := [name for method, name in names.items() if method not in known]:
        return replace(outcome, found=f"not measured: {' and '.join(absent)}")
    ours, floor = known[NOTHING], known[FLOOR]
    if few := refuse(terms, int(ours["seeds"]), terms.verdict_patients):
        return replace(outcome, found=few)
    numbers = {name: float(ours[name]) for name in ("estimate", "low", "high")}
    if not np.isfinite([numbers["low"], floor["high"]]).all():
        told = "no limits: fewer than two seeds, no spread, or a model blew up"
        return replace(outcome, found=told)
    passed = bool(ours["estimate"] >= least and ours["low"] > floor["high"])
    told = f"{_limits(ours)}, floor {_limits(floor)}"
    return outcome.came_out(passed, told, **numbers, runs=int(ours["seeds"]))


def _limits(row: Mapping[Hashable, float]) -> str:
    return f"{row['estimate']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
