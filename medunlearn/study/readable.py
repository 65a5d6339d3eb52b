"""Results as tables for reading: points with intervals, symbols with words, labels for names."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from medunlearn.evaluation.controls.outcomes import FAILED, PASSED
from medunlearn.evaluation.difficulty import RELIABLE
from medunlearn.figures.style import SEX_NAMES, label_of
from medunlearn.models import title_of
from medunlearn.statistics.verdicts import NOT_TESTED
from medunlearn.study.design import seeds
from medunlearn.study.study import Study
from medunlearn.study.tables import Tables
from medunlearn.study.wording import QUESTIONS, SYMBOLS, methods_of, names_of

NAMES = {
    **SEX_NAMES,
    "rmia": "membership (RMIA)", "rmia_folded": "membership (RMIA), folded",
    "population": "membership (loss)", "population_folded": "membership (loss), folded",
    "forgetting_quality": "distinguishable from retraining",
    "js_divergence": "Jensen-Shannon divergence", "agreement": "equal decisions",
    "true_positive_rate": "TPR", "false_positive_rate": "FPR",
    "calibration_error": "calibration error",
}  # fmt: skip
"""What tables call measures, audits and groups; other names stand as they are, without ``_``."""


def name(raw: object) -> str:
    """How a table calls a measure, an audit or a group."""
    return NAMES.get(str(raw), str(raw).replace("_", " "))


def points(row: Mapping[Any, Any]) -> str:
    """Percentage points with the interval; where there is none, the estimate alone."""
    estimate, low, high = (100 * row[name] for name in ("estimate", "low", "high"))
    shown = f"{estimate:+.1f}"
    return f"{shown} ({low:+.1f} to {high:+.1f})" if np.isfinite(low) else shown


def level_points(row: Mapping[Any, Any]) -> str:
    """Per cent with the interval: a level, not a difference."""
    return points(row).replace("+", "")


def wide(
    rows: pd.DataFrame,
    columns: str | Sequence[str],
    show: Callable[[Mapping[Any, Any]], str] = points,
) -> pd.DataFrame:
    """Estimates with intervals, one line a method, one column for each of these.

    Args:
        rows: With ``method``, ``estimate``, ``low``, ``high``, and the columns that are named.
        columns: What the columns tell apart, for example ``composition``.
        show: Makes the text of a cell.
    """
    shown = rows.assign(shown=[show(row) for row in rows.to_dict("records")])
    table = shown.pivot_table(
        index="method", columns=columns, values="shown", aggfunc="first", sort=False
    )
    return table.rename(index=label_of, columns=name).fillna("-").rename_axis(None)


def verdict_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Estimates, tests and verdicts, one line a method."""
    shown = {
        "estimate (interval), points": [points(row) for row in rows.to_dict("records")],
        "margin": [f"{100 * margin:.1f}" for margin in rows["margin"]],
        "p different": [_p(p) for p in rows["p_difference_adjusted"]],
        "p equivalent": [_p(p) for p in rows["p_equivalence_adjusted"]],
        "verdict": rows.get("reading", rows["verdict"]).to_numpy(),
    }
    index = [label_of(method) for method in rows["method"]]
    return pd.DataFrame(shown, index=pd.Index(index, name="method"))


def verdict_matrix(judged: pd.DataFrame) -> str:
    """Methods by questions as HTML: symbol, word and estimate of each verdict.

    Args:
        judged: Verdicts and audits, one below the other.
    """
    asked = [(question, question.rows(judged)) for question in QUESTIONS.values()]
    order = dict.fromkeys(method for _, rows in asked for method in rows["method"])
    heads = "".join(f'<th scope="col">{_head(q.claim)}{q.title}</th>' for q, _ in asked)
    lines = []
    for method in order:
        cells = "".join(
            _cell(question.title, rows[rows["method"] == method].head(1))
            for question, rows in asked
        )
        lines.append(f'<tr><th scope="row">{escape(label_of(method))}</th>{cells}</tr>')
    return (
        f'<table class="matrix"><thead><tr><th scope="col">method</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _head(claim: str) -> str:
    return "privacy<br>" if claim == "audits" else f"{claim}<br>"


def _cell(title: str, rows: pd.DataFrame) -> str:
    """One verdict; its class colours it, symbol and word tell it."""
    verdict, reading, estimate = NOT_TESTED, NOT_TESTED, ""
    for row in rows.to_dict("records"):
        verdict, reading = row["verdict"], row.get("reading", row["verdict"])
        estimate = f"<small>{100 * row['estimate']:+.1f}</small>"
    symbol, kind = (
        SYMBOLS.get(verdict, SYMBOLS[NOT_TESTED]),
        verdict.split(" (")[0].replace(" ", "-"),
    )
    words = f"<b>{symbol}</b> {escape(reading)}{estimate}"
    return f'<td class="{kind}" data-label="{escape(title)}">{words}</td>'


def fold(summary: str, *tables: pd.DataFrame) -> str:
    """Tables in a fold that shows only this line until it is opened, as HTML."""
    inside = "".join(f'<div class="scroll">{table.to_html(border=0)}</div>' for table in tables)
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def control_line(controls: pd.DataFrame) -> str:
    """How the controls came out, in a line."""
    failed = controls[controls["state"] == FAILED]
    if len(failed):
        return f"{len(failed)} of {len(controls)} controls failed: {', '.join(failed['control'])}."
    passed = f"{(controls['state'] == PASSED).sum()} of {len(controls)} controls passed"
    return f"{passed} and none failed; the others could not tell."


def control_table(controls: pd.DataFrame) -> pd.DataFrame:
    """The controls for reading."""
    return controls[["control", "asked", "found", "state"]].set_index("control")


def worst_table(worst: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Gap of each method in the group of patients that retrained models do worst on."""
    rows = worst[(worst["chosen_on"] == "retrained models") & (worst["quantity"] == "gap")]
    groups = [
        ", ".join(classes[int(w)] if w.isdecimal() else name(w) for w in group.split())
        for group in rows["group"]
    ]
    return wide(methods_of(rows.assign(worst=groups)), ["grouping", "worst"])


def describe_design(study: Study, tables: Tables) -> str:
    """What was compared, in a sentence."""
    patients = tables.cohort.groupby("partition")["patient"].nunique()["train"]
    return (
        f"This study compares {len(study.profile.methods)} unlearning methods with retraining on "
        f"{patients} training patients of {study.cohort.manifest.title}."
    )


def describe_faults(study: Study, tables: Tables) -> str:
    """What is missing or broken, and what a patient is; empty if all is well."""
    lines, manifest = [], study.cohort.manifest
    if manifest.unit != "patient":
        lines.append(f"No patient ids are published: a *patient* here is a **{manifest.unit}**.")
    methods = tables.models["method"].fillna("training")
    diverged = [m for m, x in zip(methods, tables.logits, strict=True) if not np.isfinite(x).all()]
    if diverged:
        names = ", ".join(sorted(set(diverged)))
        lines.append(f"**{len(diverged)} models have diverged** ({names}): they have no measure.")
    if tables.absent:
        shown = "; ".join(tables.absent[:5]) + (" ..." if len(tables.absent) > 5 else "")
        lines.append(f"**Missing: {len(tables.absent)} models of the design** ({shown}).")
    return "\n\n".join(lines)


def design_table(study: Study, tables: Tables) -> dict[str, str]:
    """The design at a glance."""
    profile = study.profile
    patients = tables.cohort.groupby("partition")["patient"].nunique()
    margins = profile.statistics.margins
    return {
        "cohort": f"{study.cohort.manifest.title}, {patients['train']} training and "
        f"{patients['test']} test patients",
        "profile": f"{Path(study.profile_name).stem}, {title_of(profile.network)}, "
        f"{profile.training.epochs} epochs, on {study.device}",
        "seeds": f"{len(seeds(profile))} paired, {profile.floor_seeds} of set B, "
        f"{profile.references} reference models",
        "forget sizes": ", ".join(f"{size:.0%}" for size in profile.forget_sizes),
        "confirmatory": names_of(profile.confirmatory),
        "margins": ", ".join(f"{what} {100 * m:g}" for what, m in margins.items()) + " points",
    }


def describe_difficulty(tables: Tables) -> str:
    """How reliable difficulty is and, where the truth is known, how right."""
    if tables.difficulty.empty:
        return "Difficulty was not measured, because reference models are missing."
    reliable = ", ".join(f"{r:.2f} on {part}" for part, r in tables.reliability.items())
    lines = [f"Split-half reliability of difficulty is {reliable}; {RELIABLE} is needed."]
    table = tables.cohort.merge(tables.difficulty, on="sample")
    if {"conspicuity", "noisy_label"} <= set(table):
        seen = table[(table["conspicuity"] > 0) & ~table["noisy_label"].astype(bool)]
        r = spearmanr(seen["conspicuity"], seen["confidence_out"]).statistic
        area = roc_auc_score(table["noisy_label"].astype(bool), -table["confidence_out"])
        lines.append(
            "The embedded cohort knows the truth. Difficulty ranks how conspicuous findings are "
            f"(rank correlation {r:.2f}) and finds wrong labels (AUC {area:.2f})."
        )
    return " ".join(lines)


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
