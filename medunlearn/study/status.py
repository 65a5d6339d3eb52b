"""What of a study is done, missing, failed or stale, and why; and what a dataset can test."""

import warnings
from collections import Counter, defaultdict
from pathlib import Path
from textwrap import shorten
from typing import Any

import pandas as pd

from medunlearn.cohort.build import gather
from medunlearn.cohort.cache import open_pixels
from medunlearn.cohort.check import describe_cohort
from medunlearn.cohort.forget_sets import list_refusals
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.patients import find_listed
from medunlearn.cohort.schema import Manifest
from medunlearn.disk import read_record
from medunlearn.models import build_network, is_short
from medunlearn.study.cells import listed_cells
from medunlearn.study.design import COHORT, SYNTHESIS, Job, ModelSpec, all_models, all_timings
from medunlearn.study.feasibility import describe_claims, describe_listed
from medunlearn.study.profile import Profile, load_profile
from medunlearn.study.reproduce import is_held, is_outdated, missing_jobs
from medunlearn.study.store import Store
from medunlearn.study.study import Study, study_folder

FEW_PATIENTS = 2_000  # each order may lack what another has
WIDTH = 400
"""Characters of an error that are shown (the executed notebook has the rest), and of kinds."""
STATES = ("done", "partial", "failed", "stale", "absent")
"""Those of ``store.State``, and: it is not there, for its notebook failed."""


def status(study: Study) -> list[str]:
    """Lines for people: a count for each kind of model, then reasons, failures and the report."""
    store = Store(study)
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    states, failed = dict[ModelSpec, str](store.states(specs)), failures(study, store)
    lost = {spec for job, _ in failed for spec in job.models}
    states |= {spec: "failed" for spec in lost if states[spec] in {"stale", "absent"}}
    counts = Counter((spec.kind, state) for spec, state in states.items())
    lines = [f"{study.title}: {study.folder}", "a run is at work here" * is_held(study.folder)]
    lines.append(f"{'models':<36}" + "".join(f"{state:>9}" for state in STATES))
    lines += [
        f"{kind:<36}" + "".join(f"{counts[kind, state]:>9}" for state in STATES)
        for kind in dict.fromkeys(spec.kind for spec in specs)
    ]
    for cell in listed_cells(study.profile):
        own = Counter(states[spec] for spec in specs if spec.cell == cell)
        lines.append(f"of these for the listed patients: {own['done']} of {own.total()} done")
    reasons: dict[str, list[str]] = defaultdict(list)
    for spec, told in store.stale([spec for spec in specs if states[spec] == "stale"]).items():
        for reason in told:
            reasons[reason].append(spec.kind)
    for reason, kinds in reasons.items():
        which = shorten(", ".join(dict.fromkeys(kinds)), WIDTH)
        lines.append(f"stale because of another {reason}: {len(kinds)} models ({which})")
    lines += [
        f"failed: {job.name} ({record.get('host')}, {record.get('seconds')} s): "
        f"{shorten(record['fault'], WIDTH)}"
        for job, record in failed
    ]
    report = str(study.folder / "report" / "index.html")
    current = not is_outdated(study, SYNTHESIS, store)
    return [*lines, "", "report: " + (report if current else "missing or out of date")]


def failures(study: Study, store: Store) -> list[tuple[Job, dict[str, Any]]]:
    """The jobs that still have something to make and failed at it, with their records."""
    left = missing_jobs(study, store)
    left += [Job(n, n) for n in (COHORT, SYNTHESIS) if is_outdated(study, n, store)]
    found = [(job, read_record(study.folder / "jobs" / f"{job.name}.json")) for job in left]
    return [(job, record) for job, record in found if record and record.get("fault")]


def check(
    dataset: str, data_root: str, profile: str, runs: str = "", forget: str = ""
) -> list[str]:
    """Read all rows of a dataset, decode what a study takes of it, and tell what is in it.

    The pixels stay in the cache of `runs`, where the study will find them; nothing else is written.

    Raises:
        InputError: All faults of manifest, files, rows, images and partitions; or of the list of
            patients to be forgotten.
    """
    manifest, asked = load_manifest(dataset), load_profile(profile)
    root = Path(data_root).expanduser() if data_root else None
    cache = study_folder(dataset, profile, runs).parent / "cache"
    table, held = gather(manifest, root, cache, asked.image_size, asked.max_patients, go_on=True)
    lines = [
        *describe_cohort(manifest, table, open_pixels(held.path)),
        *_tell_network(manifest, asked),
        *_doubt_forget_sets(table, asked, profile),
        "",
        *describe_claims(table, manifest.label.classes, asked, profile),
    ]
    if path := forget or asked.forget:  # ids are still the user's own
        listed = find_listed(Path(path).expanduser(), table)
        lines += describe_listed(table, listed.patients, asked)
    return lines


def _tell_network(manifest: Manifest, profile: Profile) -> list[str]:
    """Of a profile with a network or weights of one's own: that it can be made, and what fits."""
    if is_short(profile.network) and not profile.weights:
        return []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        network = build_network(
            profile.network,
            channels=manifest.channels,
            classes=len(manifest.label.classes),
            seed=0,
            image_size=min(profile.image_size, manifest.image_size),
            weights=profile.weights,
        )
    count = sum(parameter.numel() for parameter in network.parameters())
    named = f"network {profile.network}: {count:,} parameters"
    return [named, *(str(each.message) for each in told)]


def _doubt_forget_sets(table: pd.DataFrame, profile: Profile, name: str) -> list[str]:
    """Why a study of this profile would be refused; of a large cohort one order is looked at."""
    few = table["patient"].nunique() < FEW_PATIENTS
    specs = [(spec.cell, spec.seed) for spec in all_models(profile) if spec.cell]
    wanted = [
        (cell.composition, cell.forget_size, cell.order(seed) if few else "shared")
        for cell, seed in specs
    ]
    said = f"WARNING: reproduce refuses this dataset with profile {name}"
    return [f"{said}: {fault}" for fault in list_refusals(table, wanted)]
