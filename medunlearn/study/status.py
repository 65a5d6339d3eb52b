"""What of a study is done, missing, failed or stale, and why."""

import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from medunlearn.cohort.build import build_cohort
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.partition import PARTITIONS
from medunlearn.study.journal import failures, is_report_current
from medunlearn.study.ledger import Ledger
from medunlearn.study.models import ModelSpec, all_models, all_timings
from medunlearn.study.profile import load_profile
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
    lines = [f"{study.title}: {study.folder}", ""]
    lines.append(f"{'models':<36}{'done':>7}{'missing':>9}{'stale':>7}")
    for kind, count in counts.items():
        row = f"{count['done']:>7}{count['missing']:>9}{count['stale']:>7}"
        lines.append(f"{kind:<36}{row}")
    reasons = Counter(reason for changes in stale.values() for reason in changes)
    lines += [f"stale because of another {reason}: {n} models" for reason, n in reasons.items()]
    lines += [
        f"failed: {name}: {fault.splitlines()[0]}"
        for name, fault in failures(study, ledger).items()
    ]
    report = str(study.folder / "report" / "index.html")
    current = is_report_current(study, ledger)
    lines += ["", "report: " + (report if current else "missing or out of date")]
    return lines


def check(dataset: str, data_root: str, profile: str) -> list[str]:
    """Read and decode a whole dataset, change nothing, and tell what is in it.

    Raises:
        InputError: All faults of manifest, table and images.
    """
    manifest, size = load_manifest(dataset), load_profile(profile).image_size
    with tempfile.TemporaryDirectory(prefix="medunlearn-check-") as folder:
        cohort = build_cohort(
            manifest,
            Path(data_root).expanduser() if data_root else None,
            folder=Path(folder),
            cache=Path(folder),
            image_size=size,
            max_patients=None,
        )
        shape = cohort.pixels.shape
    table, names = cohort.table, dict(enumerate(cohort.classes))
    shown = table.assign(label=table["label"].map(names), sex=table["sex"].fillna("unknown"))
    images = pd.crosstab([shown["partition"], shown["sex"]], shown["label"])
    patients = shown.groupby(["partition", "sex"])["patient"].nunique()
    order = [(p, s) for p in PARTITIONS for s in ("F", "M", "unknown") if (p, s) in images.index]
    counts = images.assign(patients=patients).loc[order].rename_axis(columns="images of class")
    head = (
        f"{manifest.title}: {table['patient'].nunique():,} patients, {len(table):,} images of "
        f"{shape[-1]} px, {shape[1]} channel(s): no fault found"
    )
    return [head, "", counts.to_string()]


def _kind(spec: ModelSpec) -> str:
    parts = (spec.role, spec.oracle_set, spec.method)
    return " ".join(str(part) for part in parts if part)
