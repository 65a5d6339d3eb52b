"""What of a study is done, missing, failed or stale, and why."""

from collections import Counter, defaultdict

import pandas as pd

from medunlearn.cohort.partition import PARTITIONS
from medunlearn.study.ledger import Ledger
from medunlearn.study.models import ModelSpec, all_models, all_timings
from medunlearn.study.reproduce import SYNTHESIS, failures, needs_report
from medunlearn.study.study import Study


def status(study: Study) -> list[str]:
    """Lines for people: a count for each kind of model, then reasons, failures and the report."""
    ledger = Ledger(study)
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    stale = ledger.stale(specs)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for spec in specs:
        state = "done" if ledger.is_done(spec) else "stale" if spec in stale else "missing"
        counts[_kind(spec)][state] += 1
    lines = [f"{study.dataset}, profile {study.profile_name}, {study.device}: {study.folder}", ""]
    lines.append(f"{'models':<36}{'done':>7}{'missing':>9}{'stale':>7}")
    for kind, count in counts.items():
        row = f"{count['done']:>7}{count['missing']:>9}{count['stale']:>7}"
        lines.append(f"{kind:<36}{row}")
    reasons = Counter(reason for changes in stale.values() for reason in changes)
    lines += [f"stale because of another {reason}: {n} models" for reason, n in reasons.items()]
    lines += [f"failed: {name}: {fault.splitlines()[0]}" for name, fault in failures(study).items()]
    old = needs_report(study, SYNTHESIS, ledger)
    report = study.folder / "report" / "index.html"
    lines += ["", "report: " + ("missing or out of date" if old else str(report))]
    return lines


def describe_cohort(study: Study) -> list[str]:
    """Lines for people: the cohort by partition, sex and class, in images and patients."""
    table, cohort = study.cohort.table, study.cohort
    names = dict(enumerate(cohort.classes))
    shown = table.assign(label=table["label"].map(names), sex=table["sex"].fillna("unknown"))
    counts = shown.pivot_table(
        index=["partition", "sex"], columns="label", values="sample", aggfunc="count", fill_value=0
    )
    counts.insert(0, "patients", shown.groupby(["partition", "sex"])["patient"].nunique())
    counts = counts.reindex(
        [(p, s) for p in PARTITIONS for s in ("F", "M", "unknown") if (p, s) in counts.index]
    )
    size = cohort.pixels.shape
    head = (
        f"{cohort.manifest.title}: {table['patient'].nunique():,} patients, "
        f"{len(table):,} images of {size[-1]} px, {size[1]} channel(s); no fault found"
    )
    with pd.option_context("display.width", 120):
        return [head, "", str(counts), "", f"sha256 {cohort.sha256}"]


def _kind(spec: ModelSpec) -> str:
    parts = (spec.role, spec.oracle_set, spec.method)
    return " ".join(str(part) for part in parts if part)
