"""What a study says, in words and short tables: the front of its report, and what is published."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medunlearn.disk import write_record
from medunlearn.evaluation.controls.resampling import FAILED, PASSED
from medunlearn.sources import canonical_hash
from medunlearn.study import readable, wording
from medunlearn.study.questions import QUESTIONS, is_demonstration
from medunlearn.study.report import code_version
from medunlearn.study.study import Study
from medunlearn.study.synthesis import Synthesis
from medunlearn.study.tables import Tables


def summarise(study: Study, tables: Tables, found: Synthesis) -> dict[str, Any]:
    """What the study says, in words and short tables.

    Returns:
        Texts by name: ``title``, ``profile``, ``facts``, ``result`` (three lines), ``abstract``,
        ``limits``, ``controls``, ``answers`` (by claim), ``cost`` (a sentence), ``matrix`` (by
        method, then by question) and ``counts`` of methods (by question).
    """
    judged = pd.concat([found.verdicts, found.audits], ignore_index=True)
    silent = is_demonstration(judged)
    fitness = "" if silent else wording.say_fitness(found.controls)
    cautions = wording.warn(found.fitness)
    confirmatory, cost = study.profile.confirmatory, wording.say_cost(found.costs, study)
    design = f"This study compares {len(study.profile.methods)} unlearning methods with retraining."
    answers = {
        claim: wording.answer(claim, judged, confirmatory if claim == "C2" else ())
        for claim in (() if fitness else ("C1", "C2", "C3", "C4", "audits"))
    }
    return {
        "title": study.cohort.manifest.title,
        "profile": Path(study.profile_name).stem,
        "facts": _facts(study, tables),
        "result": [*cautions, *wording.three_lines(judged, fitness)],
        "abstract": wording.abstract(judged, design, cost, fitness, cautions),
        "limits": _limits(study, tables),
        "controls": control_line(found.controls),
        "answers": answers | {"C5": wording.describe_costs(found.costs, tables.costs, study)},
        "cost": cost,
        "matrix": readable.by_method(judged, readable.plain_cell),
        "counts": {q.heading: q.count(q.rows(judged)) for q in QUESTIONS.values() if q.support},
    }


def write_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Write it to ``summary.json`` in the folder of the report."""
    write_record(folder / "summary.json", summary)


def _facts(study: Study, tables: Tables) -> list[str]:
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


def _limits(study: Study, tables: Tables) -> str:
    """What the cohort is, and what is missing or broken."""
    lines, manifest = [], study.cohort.manifest
    if manifest.kind == "phantom":
        lines.append("The images are synthetic: nothing here is medical evidence.")
    if manifest.unit != "patient":
        lines.append(f"Patients are not told apart: each **{manifest.unit}** stands for one.")
    broken = pd.Series(~np.isfinite(tables.logits).all(axis=(1, 2)))
    if broken.any():
        names = ", ".join(sorted(set(tables.models.loc[broken, "method"].fillna("training"))))
        lines.append(f"**{broken.sum()} models have diverged** ({names}): they have no measure.")
    if tables.absent:
        shown = "; ".join(tables.absent[:5]) + (" ..." if len(tables.absent) > 5 else "")
        lines.append(f"**Missing: {len(tables.absent)} models of the design** ({shown}).")
    return "\n\n".join(lines)


def control_line(controls: pd.DataFrame) -> str:
    """How the controls came out, in a line."""
    passed, failed = ((controls["state"] == state) for state in (PASSED, FAILED))
    left, names = (~passed & ~failed).sum(), ", ".join(controls.loc[failed, "control"]) or "none"
    told = f"{passed.sum()} of {len(controls)} controls passed"
    return f"{told}{f', {left} cannot tell' if left else ''}; failed: {names}."


def describe_terms(study: Study) -> str:
    """What was settled before results, with a hash that shows whether it has changed since."""
    statistics, confirmatory = study.profile.statistics, study.profile.confirmatory
    mark = canonical_hash([statistics.model_dump(), confirmatory])[:12]
    margins = ", ".join(f"{what} {100 * m:g}" for what, m in statistics.margins.items())
    return (
        f"**Settled before results** (hash `{mark}`). Margins in points: {margins}. "
        f"Confirmatory methods: {wording.names_of(confirmatory)}. {statistics.justification}"
    )
