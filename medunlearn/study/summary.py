"""What a study says, in words and short tables: the front of its report, and what is published."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medunlearn.disk import written_whole
from medunlearn.figures.style import label_of
from medunlearn.statistics.verdicts import INCONCLUSIVE, NOT_TESTED
from medunlearn.study import costs, readable, wording
from medunlearn.study.questions import QUESTIONS, Question, is_demonstration
from medunlearn.study.study import Study
from medunlearn.study.synthesis import Synthesis
from medunlearn.study.tables import Tables

CLAIMS = {
    "C1": "C1 · Retain and forget set",
    "C2": "C2 · Women and men",
    "C3": "C3 · Generalisation",
    "C4": "C4 · Easy and hard patients",
    "audits": "Privacy",
    "C5": "C5 · Cost",
}


def summarise(study: Study, tables: Tables, found: Synthesis) -> dict[str, Any]:
    """What the study says, in words and short tables.

    Returns:
        Texts by name: ``title``, ``profile``, ``facts``, ``result`` (three lines), ``abstract``,
        ``limits``, ``controls``, ``answers`` (by claim), ``cost`` (a sentence), ``short`` (empty
        without verdicts), ``matrix`` (by method, then by question) and ``counts`` of methods (by
        question).
    """
    judged = pd.concat([found.verdicts, found.audits], ignore_index=True)
    demonstration = is_demonstration(judged)
    fitness = "" if demonstration else wording.say_fitness(found.controls)
    cautions = [] if demonstration else wording.warn(found.fitness)
    confirmatory, design = study.profile.confirmatory, readable.describe_design(study, tables)
    cost = costs.say_cost(found.costs, study)
    answers = {
        claim: wording.answer(claim, judged, confirmatory if claim == "C2" else ())
        for claim in CLAIMS
        if claim != "C5" and not fitness
    }
    return {
        "title": study.cohort.manifest.title,
        "profile": Path(study.profile_name).stem,
        "facts": readable.facts(study, tables),
        "result": [*cautions, *wording.three_lines(judged, fitness)],
        "abstract": wording.abstract(judged, design, cost, fitness, cautions),
        "limits": readable.describe_limits(study, tables),
        "controls": readable.control_line(found.controls),
        "answers": {**answers, "C5": f"- {costs.describe_costs(found.costs, study)}"},
        "cost": cost,
        "short": "" if fitness or demonstration else wording.say_short(judged),
        "matrix": _matrix(judged),
        "counts": {_heading(q): _count(q, q.rows(judged)) for q in QUESTIONS.values()},
    }


def _matrix(judged: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Estimate with interval and reading, by method and question."""
    matrix: dict[str, dict[str, str]] = {}
    for question in (each for each in QUESTIONS.values() if not each.beside):
        for row in question.rows(judged).to_dict("records"):
            cells = matrix.setdefault(label_of(row["method"]), {})
            reading = "" if row["verdict"] == NOT_TESTED else question.read(row)
            cells.setdefault(_heading(question), f"{readable.points(row)} {reading}".strip())
    return matrix


def _heading(question: Question) -> str:
    return f"{question.claim.replace('audits', 'privacy')}: {question.title}"


def _count(question: Question, rows: pd.DataFrame) -> str:
    """How many methods support the claim, do not, and are open: confirmatory ones, else all."""
    own = rows[rows["confirmatory"].astype(bool)]
    rows, kind = (own, "") if len(own) else (rows, ", exploratory")
    tested, supported = rows[rows["verdict"] != NOT_TESTED], len(question.supporting(rows))
    left = int((tested["verdict"] == INCONCLUSIVE).sum())
    if tested.empty:
        return "not tested" if len(rows) else "not measured"
    refuted = len(tested) - supported - left
    return f"supported {supported}, not {refuted}, open {left} (of {len(tested)}{kind})"


def write_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Write it to ``summary.json`` in the folder of the report."""
    with written_whole(folder / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
