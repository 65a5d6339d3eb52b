"""From the tables of a study to its verdicts, and the files that hold them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.disk import written_whole
from medunlearn.evaluation.audits.audit import audit
from medunlearn.evaluation.claims import measure_contrasts
from medunlearn.evaluation.controls.run_controls import AREAS, AUDITS, run_controls, switched_off
from medunlearn.evaluation.costs import add_tuning, cost_intervals
from medunlearn.evaluation.fairness import measure_calibration, measure_worst_groups
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.results import measure_fitness, measure_relearning, measure_results
from medunlearn.evaluation.yardsticks import FLOOR, NOTHING, RETRAINED
from medunlearn.statistics.reading import read_verdicts, settled_by
from medunlearn.statistics.verdicts import Terms, judge, refuse
from medunlearn.study.study import Study
from medunlearn.study.tables import Tables

GREATEST = 1.0
"""Difference of two shares; intervals beyond it are shown as not estimable."""


@dataclass(frozen=True)
class Synthesis:
    """Everything that the report tells: each table becomes a CSV file of its name.

    Args:
        measurements: All measures, by model and patient.
        terms: What was settled before results were seen.
        results: Levels and gaps (`measure_results`).
        verdicts: Contrasts of the claims, judged (`measure_contrasts`, `judge`).
        audits: Audits of the forget set, those against retraining judged.
        controls: How each control came out (`run_controls`).
        calibration: Of women and men (`measure_calibration`).
        worst_groups: Of test patients (`measure_worst_groups`).
        costs: Ratios to one retraining (`cost_intervals`).
        sensitivity: Confirmatory contrasts twice, columns as of ``verdicts`` and ``statistics``:
            with BatchNorm statistics re-estimated, as everywhere else, and as training left them
            (raw); empty where raw predictions are not stored.
        fitness: Whether retrained models have learnt anything (`measure_fitness`).
        relearning: How the forget set returns, as difference from retraining
            (`measure_relearning`).
    """

    measurements: Measurements
    terms: Terms
    results: pd.DataFrame
    verdicts: pd.DataFrame
    audits: pd.DataFrame
    controls: pd.DataFrame
    calibration: pd.DataFrame
    worst_groups: pd.DataFrame
    costs: pd.DataFrame
    sensitivity: pd.DataFrame
    fitness: pd.DataFrame
    relearning: pd.DataFrame


def synthesise(study: Study, tables: Tables) -> Synthesis:
    """Measure, run the controls, and judge what they leave to be judged.

    Args:
        study: The study: its profile holds margins and confirmatory methods.
        tables: Its tables; no model is run.
    """
    names = ("models", "logits", "cohort", "draws", "difficulty")
    known = {name: getattr(tables, name) for name in names}
    level, reference = study.profile.statistics.level, study.cohort.reference
    measurements = Measurements(**known, reference=reference, level=level)
    terms = terms_of(study, tables)
    contrasts = measure_contrasts(measurements, terms)
    audits = _audit(measurements, terms)
    asked = pd.concat([contrasts, audits], ignore_index=True)
    controls = run_controls(measurements, terms, asked)
    off = switched_off(controls)
    judged = _judge(asked, off)
    added = [c for c in judged if c not in contrasts and c not in audits]
    verdicts = judged.loc[judged["claim"] != AUDITS, [*contrasts, *added]]
    return Synthesis(
        measurements=measurements,
        terms=terms,
        results=measure_results(measurements),
        verdicts=verdicts,
        audits=judged.loc[judged["claim"] == AUDITS, [*audits, *added]],
        controls=controls,
        calibration=measure_calibration(measurements, terms.middle_size),
        worst_groups=measure_worst_groups(measurements, terms),
        costs=_costs(study, tables),
        sensitivity=_sensitivity(measurements, tables.raw_logits, terms, verdicts, off),
        fitness=measure_fitness(measurements, terms.middle_size),
        relearning=measure_relearning(measurements, tables.relearning, terms.middle_size),
    )


def _sensitivity(
    measurements: Measurements,
    raw: NDArray[np.float32],
    terms: Terms,
    verdicts: pd.DataFrame,
    off: dict[str, str],
) -> pd.DataFrame:
    """Confirmatory contrasts, judged once more on raw BatchNorm statistics."""
    known = verdicts[verdicts["confirmatory"]].assign(statistics="re-estimated")
    if not np.isfinite(raw).any():
        return known.iloc[:0]
    unadjusted = replace(measurements, logits=raw, sparse=True)
    again = measure_contrasts(unadjusted, terms, confirmatory=True)
    both = [known, _judge(again, off).assign(statistics="raw")] if len(again) else [known]
    return pd.concat(both, ignore_index=True)


def _costs(study: Study, tables: Tables) -> pd.DataFrame:
    """Cost of the cost pass, and with tuning where settings were tuned."""
    level, tuned = study.profile.statistics.level, study.tuned
    ratios = cost_intervals(tables.costs, level)
    bills = tuned.bills() if tuned else pd.DataFrame(columns=["method", "seed", "seconds"])
    return add_tuning(ratios, bills, tuned.retraining_seconds if tuned else [], level)


def terms_of(study: Study, tables: Tables) -> Terms:
    """The terms of a study's verdicts, from its profile."""
    profile, statistics = study.profile, study.profile.statistics
    return Terms(
        margins={str(what): margin for what, margin in statistics.margins.items()},
        confirmatory=profile.confirmatory,
        middle_size=profile.middle_size,
        sizes=profile.forget_sizes,
        seeds=profile.seeds,
        floor_seeds=profile.floor_seeds,
        verdict_seeds=statistics.verdict_seeds,
        verdict_patients=statistics.verdict_patients,
        reliability=tables.reliability.get(TEST, float("nan")),
    )


def write_synthesis(synthesis: Synthesis, folder: Path) -> None:
    """Write each table as a CSV file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in vars(synthesis).items():
        if isinstance(table, pd.DataFrame):
            with written_whole(folder / f"{name}.csv") as partial:
                table.to_csv(partial, index=False, float_format="%.10g")


def _audit(measurements: Measurements, terms: Terms) -> pd.DataFrame:
    """The audits as contrasts: against retraining, exploratory, with the margin of an attack."""
    found = audit(measurements, terms.middle_size)
    return found.assign(
        claim=AUDITS,
        family="audits, against " + found["against"],
        confirmatory=False,
        margin=np.where(found["audit"].isin(AREAS), terms.margins["attack"], np.nan),
        refused=[
            refuse(terms, x["seeds"], x["patients"], floor=FLOOR in (x["method"], x["against"]))
            for x in found.to_dict("records")
        ],
    )


def _judge(contrasts: pd.DataFrame, off: dict[str, str]) -> pd.DataFrame:
    """Verdicts; where a control failed there is none, whatever else would allow it.

    Yardsticks are no methods: set B is judged by Holm in one family, as the control has it, and
    doing nothing, which must differ, does not loosen the correction of the methods.
    """
    reasons = contrasts["claim"].map(lambda claim: off.get(claim, ""))
    refused = contrasts["refused"].where(contrasts["refused"] != "", reasons)
    floor = contrasts["method"] == FLOOR
    yardstick = floor | contrasts["method"].isin([NOTHING, RETRAINED])
    family = contrasts["family"] + (", " + contrasts["method"]).where(yardstick, "")
    family = family.where(~floor, "set B")
    confirmatory = contrasts["confirmatory"].astype(bool)
    judged: pd.DataFrame = judge(
        contrasts.assign(refused=refused, family=family, confirmatory=confirmatory | floor)
    )
    judged = judged.assign(
        confirmatory=confirmatory, reading=read_verdicts(judged), settled_by=settled_by(judged)
    )
    # few seeds give limits beyond any difference that there can be: they tell nothing
    wide = ~judged[["low", "high"]].abs().max(axis=1).le(GREATEST) & (judged["refused"] != "")
    judged.loc[wide, judged.columns.str.endswith(("low", "high"))] = np.nan
    return judged
