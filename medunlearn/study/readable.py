"""Results as tables for reading: points with intervals, symbols with words, labels for names."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.controls.resampling import FAILED, PASSED
from medunlearn.evaluation.difficulty import RELIABLE
from medunlearn.figures.style import SEX_NAMES, label_of
from medunlearn.statistics.verdicts import NOT_TESTED
from medunlearn.study.questions import QUESTIONS, SYMBOLS, Question, is_demonstration, methods_of
from medunlearn.study.report import code_version
from medunlearn.study.study import Study
from medunlearn.study.synthesis import terms_hash
from medunlearn.study.tables import Tables
from medunlearn.study.wording import names_of

NAMES = {
    **SEX_NAMES,
    "rmia": "membership (RMIA)", "rmia_folded": "membership (RMIA), folded",
    "population": "membership (loss)", "population_folded": "membership (loss), folded",
    "forgetting_quality": "distinguishable from retraining",
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


def wide(rows: pd.DataFrame, columns: str | Sequence[str]) -> pd.DataFrame:
    """Estimates with intervals, one line a method, one column for each of these.

    Args:
        rows: With ``method``, ``estimate``, ``low``, ``high``, and the columns that are named.
        columns: What the columns tell apart, for example ``composition``.
    """
    shown = rows.assign(shown=[points(row) for row in rows.to_dict("records")])
    table = shown.pivot_table(
        index="method", columns=columns, values="shown", aggfunc="first", sort=False
    )
    return table.rename(index=label_of, columns=name).fillna("-").rename_axis(None)


def verdict_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Estimates, tests and verdicts, one line a method."""
    shown = {
        "estimate (interval), points": [points(row) for row in rows.to_dict("records")],
        "margin": [f"{100 * margin:.1f}" if margin > 0 else "-" for margin in rows["margin"]],
        "p different": [_p(p) for p in rows["p_difference_adjusted"]],
        "p equivalent": [_p(p) for p in rows["p_equivalence_adjusted"]],
        "verdict": rows.get("reading", rows["verdict"]).to_numpy(),
    }
    index = [label_of(method) for method in rows["method"]]
    return pd.DataFrame(shown, index=pd.Index(index, name="method"))


def open_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What would settle each of these inconclusive contrasts."""
    shown = rows[["claim", "contrast", "partition", "measure", "settled_by"]]
    shown = shown.assign(method=[label_of(method) for method in rows["method"]])
    return shown.rename(columns={"settled_by": "needs"}).set_index(["claim", "method"])


def verdict_matrix(judged: pd.DataFrame) -> str:
    """Methods by questions as HTML: symbol, word and estimate of each verdict.

    Of a demonstration there are no verdicts to show: estimates only.

    Args:
        judged: Verdicts and audits, one below the other.
    """
    asked = [(each, each.rows(judged)) for each in QUESTIONS.values() if not each.beside]
    silent = is_demonstration(judged)
    order = dict.fromkeys(method for _, rows in asked for method in rows["method"])
    heads = "".join(
        f'<th scope="col">{each.claim.replace("audits", "privacy")}<br>{each.title}</th>'
        for each, _ in asked
    )
    lines = []
    for method in order:
        cells = "".join(
            _cell(question, rows[rows["method"] == method].head(1), silent=silent)
            for question, rows in asked
        )
        lines.append(f'<tr><th scope="row">{escape(label_of(method))}</th>{cells}</tr>')
    told = "Estimates" if silent else "Verdicts with estimates"
    return (
        f'<p class="caption"><strong>Table 1.</strong> {told}, as differences in points.</p>'
        f'<table class="matrix"><thead><tr><th scope="col">method</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _cell(question: Question, rows: pd.DataFrame, *, silent: bool) -> str:
    """One verdict; its class colours it, symbol and word tell it."""
    verdict, words = NOT_TESTED, f"<b>{SYMBOLS[NOT_TESTED]}</b>"
    for row in rows.to_dict("records"):
        verdict, estimate = row["verdict"], 100 * row["estimate"]
        reading = "" if silent else escape(question.read(row))
        symbol = "" if silent else f"<b>{SYMBOLS.get(verdict, SYMBOLS[NOT_TESTED])}</b> "
        shown = f"<small>{estimate:+.1f}</small>" if np.isfinite(estimate) else ""
        words = f"{symbol}{reading}{shown}"
    kind = verdict.split(" (")[0].replace(" ", "-")
    return f'<td class="{kind}" data-label="{escape(question.title)}">{words}</td>'


def folds(tables: Mapping[str, pd.DataFrame]) -> str:
    """Tables, each in a fold that shows its title until it is opened, as HTML."""
    return "".join(
        f"<details><summary>{escape(title)}</summary>"
        f'<div class="scroll">{table.to_html(border=0, escape=False)}</div></details>'
        for title, table in tables.items()
    )


def control_line(controls: pd.DataFrame) -> str:
    """How the controls came out, in a line."""
    failed = controls[controls["state"] == FAILED]
    if len(failed):
        return f"{len(failed)} of {len(controls)} controls failed: {', '.join(failed['control'])}."
    passed = int((controls["state"] == PASSED).sum())
    if passed == len(controls):
        return f"All {passed} controls passed."
    told = f"{passed} of {len(controls)} controls passed and none failed"
    return f"{told}; the others could not tell."


def worst_table(worst: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Gap of each method in the group of patients that retrained models do worst on."""
    rows = worst[worst["quantity"] == "gap"]
    groups = [
        ", ".join(classes[int(w)] if w.isdecimal() else name(w) for w in group.split())
        for group in rows["group"]
    ]
    return wide(methods_of(rows.assign(worst=groups)), ["grouping", "worst"])


def facts(study: Study, tables: Tables) -> list[str]:
    """When, with what and on whom the study was made."""
    profile, patients = study.profile, tables.cohort.groupby("partition")["patient"].nunique()
    return [
        f"{datetime.now(UTC):%d %B %Y}",
        f"medunlearn {code_version()}",
        f"{study.device}, profile {Path(study.profile_name).stem}",
        f"{study.cohort.manifest.title}: {patients['train']} training and {patients['test']} "
        "test patients",
        f"{profile.seeds} paired seeds, {profile.floor_seeds} retrained again (set B), "
        f"{profile.references} reference models",
        f"settings {'tuned' if study.tuned else 'usual'}",
    ]


def header(facts: Sequence[str]) -> str:
    """Title and facts of the report, as HTML."""
    title = "What machine unlearning achieves, for whom, and at what cost"
    return f'<h1>{title}</h1><p class="meta">{escape(" · ".join(facts))}</p>'


def banner(judged: pd.DataFrame) -> str:
    """Says of a demonstration that it is one, as HTML; empty for a study with verdicts."""
    told = "<b>A demonstration: too small for verdicts.</b> It shows what a study looks like."
    return f'<p class="banner">{told}</p>' if is_demonstration(judged) else ""


def describe_design(study: Study, tables: Tables) -> str:
    """What was compared, in a sentence."""
    count = len(study.profile.methods)
    patients = tables.cohort.loc[tables.cohort["partition"] == TEST, "patient"].nunique()
    return (
        f"This study compares {count} unlearning methods with retraining, on {patients} test "
        f'patients of the cohort "{study.cohort.manifest.title}".'
    )


def describe_terms(study: Study) -> str:
    """What was settled before results, with a hash that shows whether it has changed since."""
    statistics = study.profile.statistics
    margins = ", ".join(f"{what} {100 * m:g}" for what, m in statistics.margins.items())
    return (
        f"**Settled before results** (hash `{terms_hash(study)}`). Margins in points: {margins}. "
        f"Confirmatory methods: {names_of(study.profile.confirmatory)}. {statistics.justification}"
    )


def describe_limits(study: Study, tables: Tables) -> str:
    """What the cohort is, and what is missing or broken."""
    lines, manifest = [], study.cohort.manifest
    if manifest.kind == "phantom":
        lines.append("The images are synthetic: nothing here is medical evidence.")
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
