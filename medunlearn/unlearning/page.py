"""The page of a deletion record, for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Template

from medunlearn import study
from medunlearn.unlearning.evidence import ATTACKS, DIFFERENCE

PAGE = "record.html"
TEXTS = yaml.safe_load(Path(__file__).with_name("record.yaml").read_text("utf-8"))
FEWEST = 10
"""Patients of whom an interval is shown: t intervals of fewer mislead."""


def is_attacked(record: Mapping[str, Any]) -> bool:
    """Whether an attack was tried."""
    return any(row["measure"] in ATTACKS for row in record["measured"])


def main_table(record: Mapping[str, Any], *measures: str) -> pd.DataFrame:
    """What was measured, in percent, as people read it.

    Args:
        record: The content of ``record.json``.
        measures: Of ``evidence.measure``; default: ``accuracy``.

    Returns:
        A column for each network, and one for the difference from the retrained network, else from
        the original, with its 95 % interval.
    """
    chosen = [row for row in record["measured"] if row["measure"] in (measures or ("accuracy",))]
    rows = pd.DataFrame(chosen).assign(shown=[_tell(row) for row in chosen])
    keys = ["measure" if measures else "images", "group", "patients"]
    table = rows.pivot_table("shown", keys, "network", aggfunc="first", sort=False)
    base = "retrained" if "retrained" in record["networks"] else "original"
    unit = "images" if record["request"]["patients"] is None else "patients"
    table = table.reset_index("patients").rename_axis(columns=None).rename(TEXTS["words"])
    return table.rename(columns={DIFFERENCE: f"unlearned minus {base}", "patients": unit})


def _tell(row: Mapping[str, Any]) -> str:
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


def render(record: Mapping[str, Any]) -> str:
    """The record as HTML that needs no other file."""
    attacked = is_attacked(record)
    tables = [main_table(record), main_table(record, *ATTACKS) if attacked else pd.DataFrame()]
    accuracy, attacks = (table.to_html(border=0, index_names=False) for table in tables)
    template = Template(Path(__file__).with_name(PAGE).read_text("utf-8"), autoescape=True)
    page: str = template.render(
        record=record,
        words=TEXTS["words"],
        style=Path(study.__file__).with_name("report.css").read_text("utf-8"),
        attacked=attacked,
        accuracy=accuracy,
        attacks=attacks,
        few=FEWEST,
        tell=_tell,
    )
    return page
