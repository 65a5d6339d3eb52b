"""What a study says of listed patients and of a stream: estimates, and never a verdict."""

from medunlearn.cohort.forget_sets import AT_ONCE, LISTED, STREAM
from medunlearn.evaluation.audits.audit import audit
from medunlearn.study import readable
from medunlearn.study.questions import pick
from medunlearn.study.synthesis import Synthesis


def listed_section(found: Synthesis) -> str:
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


def stream_section(found: Synthesis) -> str:
    """Where a stream of requests ends beside one request, as HTML; empty without a stream."""
    gaps = found.results[found.results["composition"].isin([STREAM, AT_ONCE])].query(
        "quantity == 'gap' and measure == 'accuracy' and group == 'all' and partition != 'retain'"
    )
    requests = gaps.loc[gaps["composition"] == STREAM, "forget_size"].nunique()
    if not requests:
        return ""
    size = gaps["forget_size"].max()
    ways = {STREAM: f"after {requests} requests", AT_ONCE: "by one request"}
    parts = {"forget": "forget set", "test": "test set"}
    ends = gaps[gaps["forget_size"] == size].replace({"composition": ways, "partition": parts})
    table = readable.wide(ends, ["partition", "composition"])
    level = f"{found.measurements.level:.0%}"
    return (
        f"<h2>Requests that keep coming</h2><p>Each of {requests} requests names as many patients, "
        f"{size:.0%} of the training patients in all. Each is unlearned from the model before. "
        f"Does the distance from retraining grow? Gaps in accuracy are in points, with {level} "
        f"intervals over seeds. This is exploratory: there is no verdict.</p>"
        f'<div class="scroll">{table.to_html(border=0)}</div>'
        f'<p class="caption"><strong>Figure S1.</strong> Gap to retraining after each request. A '
        f"line that leaves 0 drifts. Hollow markers show the same patients forgotten by one "
        f"request. Where they lie nearer to 0 than the end of their line, many small requests did "
        f"more harm than a large one.</p>"
    )
