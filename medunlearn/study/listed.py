"""What a study says of the patients that a list names: estimates, and never a verdict."""

from medunlearn.cohort.forget_sets import LISTED
from medunlearn.evaluation.audits.audit import audit
from medunlearn.study import readable
from medunlearn.study.questions import pick
from medunlearn.study.synthesis import Synthesis


def section(found: Synthesis) -> str:
    """The gap of each method on, and beside, the listed patients, as HTML; empty without a list.

    An attack is shown where the list names as many patients as a verdict would need.
    """
    gaps = found.results[found.results["composition"] == LISTED].query(
        "quantity == 'gap' and measure == 'accuracy' and group == 'all'"
    )
    if gaps.empty:
        return ""
    table = readable.wide(gaps.replace({"partition": {"forget": "listed patients"}}), "partition")
    count = int(gaps.loc[gaps["partition"] == "forget", "patients"].max())
    needed, size = found.terms.verdict_patients, float(gaps["forget_size"].iloc[0])
    if count >= needed:
        audits = audit(found.measurements, size, LISTED).assign(confirmatory=False)
        attacks = pick(audits, audit="rmia", against="retrained", group="all")
        table = table.join(readable.wide(attacks, "audit")).fillna("-")
        told = "The last column is the excess AUC of a membership attack over retraining."
    else:
        told = f"A membership attack needs {needed} patients; there are fewer."
    level = f"{found.measurements.level:.0%}"
    return (
        f"<h2>The listed patients</h2><p>A list names {count} patients, {size:.1%} of the training "
        f"patients. How far is each method from retraining without them? Gaps in accuracy are in "
        f"points, with {level} intervals. {told} This is exploratory: there is no verdict.</p>"
        f'<div class="scroll">{table.to_html(border=0)}</div>'
    )
