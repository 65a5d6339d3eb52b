"""Results as tables for reading: points with intervals, symbols with words, labels for names."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from medunlearn.figures.style import label_of
from medunlearn.statistics.verdicts import NOT_TESTED
from medunlearn.study.questions import QUESTIONS, SYMBOLS, Question, is_demonstration

NAMES = {
    "F": "women", "M": "men",
    "rmia": "membership (RMIA)", "rmia_folded": "membership (RMIA), folded",
    "population": "membership (loss)", "population_folded": "membership (loss), folded",
    "forgetting_quality": "distinguishable from retraining",
    "true_positive_rate": "TPR", "false_positive_rate": "FPR",
}  # fmt: skip
"""What tables call measures, audits and groups; other names stand as they are, without ``_``."""


def points(row: Mapping[Any, Any]) -> str:
    """Percentage points with the interval; where there is none, the estimate alone."""
    estimate, low, high = (100 * row[name] for name in ("estimate", "low", "high"))
    shown = f"{estimate:+.1f}" if np.isfinite(estimate) else "-"
    return f"{shown} ({low:+.1f} to {high:+.1f})" if np.isfinite(low) else shown


def wide(rows: pd.DataFrame, columns: str | Sequence[str]) -> pd.DataFrame:
    """Estimates with intervals, one line a method, one column for each of these.

    Args:
        rows: With ``method``, ``estimate``, ``low``, ``high``, and the columns that are named.
        columns: What the columns tell apart, for example ``composition``.
    """
    shown = rows.assign(shown=[points(row) for row in rows.to_dict("records")])
    table = shown.pivot_table("shown", "method", columns, aggfunc="first", sort=False)
    table = table.rename(columns=lambda raw: NAMES.get(str(raw), str(raw).replace("_", " ")))
    return table.rename(index=label_of).fillna("-").rename_axis(None)


def verdict_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Estimates, tests and verdicts, one line a method."""
    names = {
        "shown": "estimate (interval), points", "margin": "margin, points",
        "p_difference_adjusted": "p different", "p_equivalence_adjusted": "p equivalent",
        "reading": "verdict", "settled_by": "would be settled by",
    }  # fmt: skip
    shown = rows.assign(
        shown=[points(row) for row in rows.to_dict("records")], margin=100 * rows["margin"]
    )
    return shown.set_index(rows["method"].map(label_of))[list(names)].rename(columns=names)


def by_method(
    judged: pd.DataFrame, show: Callable[[Question, Mapping[Any, Any]], str]
) -> dict[str, dict[str, str]]:
    """What is shown of each method, by the heading of each question.

    Args:
        judged: Verdicts and audits, one below the other.
        show: Makes a cell of a row.
    """
    cells: dict[str, dict[str, str]] = {}
    for question in QUESTIONS.values():
        for row in question.rows(judged).to_dict("records"):
            own = cells.setdefault(label_of(row["method"]), {})
            own.setdefault(question.heading, show(question, row))
    return cells


def plain_cell(question: Question, row: Mapping[Any, Any]) -> str:
    """Estimate with interval, and the reading of a verdict."""
    reading = "" if row["verdict"] == NOT_TESTED else question.read(row)
    return f"{points(row)} {reading}".strip()


def verdict_matrix(judged: pd.DataFrame) -> str:
    """Methods by questions as HTML: symbol, word and estimate; where nothing was tested the latter.

    Args:
        judged: Verdicts and audits, one below the other.
    """
    asked = [each for each in QUESTIONS.values() if not each.beside]
    heads = "".join(f'<th scope="col">{q.heading.replace(": ", "<br>")}</th>' for q in asked)
    absent = {"verdict": NOT_TESTED, "estimate": np.nan}
    lines = "".join(
        f'<tr><th scope="row">{escape(method)}</th>'
        + "".join(cells.get(q.heading, _cell(q, absent)) for q in asked)
        + "</tr>"
        for method, cells in by_method(judged, _cell).items()
    )
    told = "Estimates" if is_demonstration(judged) else "Verdicts with estimates"
    return (
        f'<p class="caption"><strong>Table 1.</strong> {told}, as differences in points.</p>'
        f'<table class="matrix"><thead><tr><th scope="col">method</th>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table>"
    )


def _cell(question: Question, row: Mapping[Any, Any]) -> str:
    """One verdict; its class colours it, symbol and word tell it."""
    verdict, words = row["verdict"], f"<small>{100 * row['estimate']:+.1f}</small>"
    if not np.isfinite(row["estimate"]):
        words = f"<b>{SYMBOLS[NOT_TESTED]}</b>"
    elif verdict != NOT_TESTED:
        symbol = SYMBOLS.get(verdict, SYMBOLS[NOT_TESTED])
        words = f"<b>{symbol}</b> {escape(question.read(row))}{words}"
    kind = verdict.split(" (")[0].replace(" ", "-")
    return f'<td class="{kind}" data-label="{escape(question.title)}">{words}</td>'


def folds(tables: Mapping[str, pd.DataFrame]) -> str:
    """Tables, each in a fold that shows its title until it is opened, as HTML."""
    look: dict[str, Any] = {"border": 0, "escape": False, "na_rep": "-"}
    return "".join(
        f'<details><summary>{escape(title)}</summary><div class="scroll">'
        f"{table.to_html(float_format='{:.2g}'.format, **look)}</div></details>"
        for title, table in tables.items()
    )


def front(facts: Sequence[str], judged: pd.DataFrame) -> str:
    """Title and facts of the report, and of a demonstration that it is one, as HTML."""
    title = "What machine unlearning achieves, for whom, and at what cost"
    html = f'<h1>{title}</h1><p class="meta">{escape(" · ".join(facts))}</p>'
    told = "<b>A demonstration: too small for verdicts.</b> It shows what a study looks like."
    return html + (f'<p class="banner">{told}</p>' if is_demonstration(judged) else "")
