"""Sentences of the report, generated from results: none is written by hand."""

from pathlib import Path

import numpy as np
import pandas as pd

from medunlearn.evaluation.lineups import FLOOR, NOTHING
from medunlearn.evaluation.measurements import PARTS
from medunlearn.evaluation.results import DIFFERENCE
from medunlearn.methods import get_method
from medunlearn.study.models import seeds
from medunlearn.study.profile import Profile
from medunlearn.study.study import Study
from medunlearn.study.tables import Tables

FIT_POINTS = 0.05
"""Smallest memorisation gap, in accuracy, at which a study is fit for its question."""


def describe_design(study: Study, tables: Tables) -> str:
    """What was run, and what of the design is missing."""
    profile, manifest = study.profile, study.cohort.manifest
    patients = tables.cohort.groupby("partition")["patient"].nunique()
    sizes = ", ".join(f"{size:.0%}" for size in profile.forget_sizes)
    name = Path(study.profile_name).stem
    lines = [
        f"**{manifest.title}**, profile `{name}`, computed on `{study.device}`: "
        f"{patients['train']} training and {patients['test']} test patients, "
        f"{len(seeds(profile))} paired seeds, {profile.floor_seeds} fresh seeds for the floor; "
        f"{len(profile.methods)} methods; forget sizes {sizes} of the training patients; "
        f"network `{profile.network}`, {profile.training.epochs} epochs.",
        "",
        f"Margins: {profile.statistics.justification}",
    ]
    if manifest.unit != "patient":
        lines += ["", f"No patient ids are published: a *patient* here is a **{manifest.unit}**."]
    methods = tables.models["method"].fillna("training")
    broken = [m for m, x in zip(methods, tables.logits, strict=True) if not np.isfinite(x).all()]
    if broken:
        names = ", ".join(sorted(set(broken)))
        lines += ["", f"**{len(broken)} models have blown up** ({names}): no measure is given."]
    if tables.absent:
        shown = "; ".join(tables.absent[:5]) + (" ..." if len(tables.absent) > 5 else "")
        lines += ["", f"**Missing: {len(tables.absent)} models of the design** ({shown})."]
    return "\n".join(lines)


def describe_fitness(results: pd.DataFrame, profile: Profile) -> str:
    """Whether there is anything to forget: ceiling against floor, by the rule of the protocol."""
    gap = _pick(results, profile, measure="accuracy", partition="forget", group="all")
    ceiling, floor = _row(gap, NOTHING), _row(gap, FLOOR)
    if ceiling is None or floor is None:
        return "Ceiling or floor are missing: whether the study is fit is **not known**."
    fit = ceiling.estimate >= FIT_POINTS and ceiling.low > floor.high
    verdict = "is **fit** for the question" if fit else "is **not fit**: no verdict may rest on it"
    return (
        f"Doing nothing leaves accuracy on the forget set {_points(ceiling)} above retraining; "
        f"retraining on fresh seeds differs by {_points(floor)}. At least "
        f"{100 * FIT_POINTS:.0f} points are asked for, with limits apart: the study {verdict}."
    )


def describe_sexes(results: pd.DataFrame, profile: Profile) -> str:
    """Difference between the sexes of each method's gap, with intervals and never a verdict."""
    rows = _pick(results, profile, measure="balanced_accuracy", group=DIFFERENCE)
    if rows.empty:
        return "The cohort does not tell the patients' sex, or not both: nothing is compared."
    lines = [
        "Gap of women minus gap of men, in points of class-balanced accuracy:",
        "",
        "| method | " + " | ".join(PARTS) + " |",
        "|---|" + "---|" * len(PARTS),
    ]
    for method in dict.fromkeys(rows["method"]):
        name = "floor" if method == FLOOR else get_method(method).label
        each = [_row(rows[rows["partition"] == part], method) for part in PARTS]
        lines.append(
            f"| {name} | " + " | ".join("-" if row is None else _points(row) for row in each) + " |"
        )
    averaged = ", ".join(
        f"{rows.loc[rows['partition'] == part, 'classes'].max()} on the {part} set"
        for part in PARTS
        if (rows["partition"] == part).any()
    )
    lines += ["", f"Classes averaged over, those rare in either sex pooled: {averaged}."]
    asked = profile.statistics.verdict_seeds
    reason = (
        f"needs {asked} paired seeds, this profile has {profile.seeds}"
        if profile.seeds < asked
        else "these are intervals, without the tests of equivalence that a verdict needs"
    )
    return "\n".join([*lines, "", f"Bias between the sexes: **not tested** ({reason})."])


def _pick(results: pd.DataFrame, profile: Profile, **where: str) -> pd.DataFrame:
    """Gaps of the random forget set of the middle size."""
    chosen = results[
        (results["quantity"] == "gap")
        & (results["composition"] == "random")
        & (results["forget_size"] == profile.middle_size)
    ]
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return chosen


def _row(rows: pd.DataFrame, method: str) -> pd.Series | None:
    found = rows[rows["method"] == method]
    return found.iloc[0] if len(found) else None


def _points(row: pd.Series) -> str:
    """Percentage points with the interval; where there is none, the reason."""
    estimate = f"{100 * row.estimate:+.1f}"
    if not np.isfinite(row.low):
        return f"{estimate} (not estimable)"
    return f"{estimate} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"
