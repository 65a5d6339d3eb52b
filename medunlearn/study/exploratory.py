"""What a study says of listed patients and of a stream: estimates, and never a verdict."""

import numpy as np
import pandas as pd

from medunlearn.cohort.forget_sets import AT_ONCE, LISTED, STREAM
from medunlearn.evaluation.audits.audit import audit
from medunlearn.study import readable
from medunlearn.study.synthesis import Synthesis

END = "This is exploratory: there is no verdict."


def listed_section(found: Synthesis) -> str:
    """The gap of each method on, and beside, the listed patients, as HTML; empty without a list.

    An attack is shown where the list names as many patients as a verdict would need.
    """
    gaps = _gaps(found, LISTED)
    if gaps.empty:
        return ""
    table = readable.wide(gaps.replace({"partition": {"forget": "listed patients"}}), "partition")
    count = int(gaps.loc[gaps["partition"] == "forget", "patients"].max())
    size, needed = gaps["forget_size"].iloc[0], found.terms.verdict_patients
    told = f"A membership attack needs {needed} patients."
    if count >= needed:
        attacks = audit(found.measurements, size, LISTED).query(
            "audit == 'rmia' and against == 'retrained' and group == 'all'"
        )
        table = table.join(readable.wide(attacks, "audit")).fillna("-")
        told = "The last column is the excess AUC of a membership attack over retraining."
    return (
        f"<h2>The listed patients</h2><p>A list names {count} patients, {size:.1%} of the training "
        f"patients. How far is each method from retraining without them? Gaps in accuracy are in "
        f'points. {told} {END}</p><div class="scroll">{table.to_html(border=0)}</div>'
    )


def stream_panels(found: Synthesis) -> dict[str, pd.DataFrame]:
    """Gaps after each request of a stream, and of the same patients by one request (hollow).

    Returns:
        For ``plot_estimates``, by partition; without rows where there is no stream.
    """
    gaps = _gaps(found, STREAM, AT_ONCE)
    ranks, at_once = gaps["forget_size"].rank(method="dense"), gaps["composition"] == AT_ONCE
    requests = ranks.map("{:2.0f}".format).mask(at_once, "at once")
    gaps = gaps.assign(request=requests, confirmatory=~at_once, margin=np.nan)
    return {f"{part} set": gaps[gaps["partition"] == part] for part in ("forget", "test")}


def stream_section(found: Synthesis) -> str:
    """What a stream is, and what its figure shows, as HTML; empty without a stream."""
    gaps = _gaps(found, STREAM)
    if gaps.empty:
        return ""
    return (
        f"<h2>Requests that keep coming</h2><p>Each of {gaps['forget_size'].nunique()} requests "
        f"names as many patients, {gaps['forget_size'].max():.0%} of the training patients in all. "
        f"Each is unlearned from the model before. Does the distance from retraining grow? "
        f'{END}</p><p class="caption"><strong>Figure S1.</strong> Gap to retraining after each '
        f"request. Markers that leave 0 from line to line drift. Hollow markers: the same patients "
        f"forgotten by one request. Nearer to 0 than the last request, they say that many small "
        f"requests do more harm than a large one.</p>"
    )


def _gaps(found: Synthesis, *compositions: str) -> pd.DataFrame:
    rows = found.results[found.results["composition"].isin(compositions)]
    return rows.query("quantity == 'gap' and measure == 'accuracy' and group == 'all'")
