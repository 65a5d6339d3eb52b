"""What of a study is done, missing, failed or stale, and why."""

import warnings
from collections import Counter, defaultdict
from pathlib import Path
from textwrap import shorten

import pandas as pd
import yaml

from medunlearn.cohort.build import gather
from medunlearn.cohort.cache import open_pixels
from medunlearn.cohort.check import describe_cohort
from medunlearn.cohort.forget_sets import list_refusals
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.patients import find_listed
from medunlearn.cohort.schema import Manifest
from medunlearn.models import build_network, is_short
from medunlearn.study.cells import listed_cells
from medunlearn.study.design import ModelSpec, all_models, all_timings
from medunlearn.study.engine import failures, is_outdated
from medunlearn.study.feasibility import describe_claims, describe_listed
from medunlearn.study.jobs import SYNTHESIS
from medunlearn.study.profile import PROFILES, Profile, load_profile
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
    lines = [f"{study.title}: {study.folder}", ""]
    lines.append(f"{'models':<36}" + "".join(f"{state:>9}" for state in STATES))
    lines += [
        f"{kind:<36}" + "".join(f"{counts[kind, state]:>9}" for state in STATES)
        for kind in dict.fromkeys(spec.kind for spec in specs)
    ]
    for cell in listed_cells(study.profile):
        own = Counter(states[spec] for spec in specs if spec.cell == cell)
        lines.append(f"of these for the listed patients: {own['done']} of {own.total()} done")
    lines += _tell_stale(store, [spec for spec in specs if states[spec] == "stale"])
    lines += [
        f"failed: {job.name} ({record.get('host')}, {record.get('seconds')} s): "
        f"{shorten(record['fault'], WIDTH)}"
        for job, record in failed
    ]
    report = str(study.folder / "report" / "index.html")
    current = not is_outdated(study, SYNTHESIS, store)
    lines += ["", "report: " + (report if current else "missing or out of date")]
    return lines


def _tell_stale(store: Store, specs: list[ModelSpec]) -> list[str]:
    """One line for each reason, with the kinds of models that it made stale."""
    found: dict[str, list[str]] = defaultdict(list)
    for spec, reasons in store.stale(specs).items():
        for reason in reasons:
            found[reason].append(spec.kind)
    lines = []
    for reason, kinds in found.items():
        told = shorten(", ".join(dict.fromkeys(kinds)), WIDTH)
        lines.append(f"stale because of another {reason}: {len(kinds)} models ({told})")
    return lines


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
    sizes = (asked.image_size, asked.max_patients)
    rows, table, held = gather(manifest, root, cache, *sizes, go_on=True)
    return [
        *describe_cohort(manifest, table, open_pixels(held.path)),
        *_tell_network(manifest, asked),
        *_doubt_forget_sets(table, profile),
        "",
        *describe_claims(table, manifest.label.classes, asked, profile),
        *_tell_listed(table, forget or asked.forget, asked),
        "",
        *describe_profiles(manifest, rows),
    ]


def _tell_listed(table: pd.DataFrame, path: str, profile: Profile) -> list[str]:
    """What can be said of listed patients, if there is a list; ids are still the user's own."""
    found = find_listed(Path(path).expanduser(), table) if path else None
    return describe_listed(table, found.patients, profile) if found else []


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
            norm=profile.norm,
            image_size=min(profile.image_size, manifest.image_size),
            weights=profile.weights,
        )
    count = sum(parameter.numel() for parameter in network.parameters())
    lines = [f"network {profile.network}: {count:,} parameters"]
    if profile.weights:
        every = f"all weights are taken from {Path(profile.weights).name}"
        lines += [str(each.message) for each in told] or [every]
    return lines


def _doubt_forget_sets(table: pd.DataFrame, name: str) -> list[str]:
    """Why a study of this profile would be refused; of a large cohort one order is looked at."""
    profile, patients = load_profile(name), table["patient"].nunique()
    cells = [(spec.cell, spec.seed) for spec in all_models(profile) if spec.cell]
    orders = [(c, c.order(s) if patients < FEW_PATIENTS else "shared") for c, s in cells]
    wanted = [(cell.composition, cell.forget_size, order) for cell, order in orders]
    said = f"WARNING: reproduce refuses this dataset with profile {name}"
    return [f"{said}: {fault}" for fault in list_refusals(table, wanted)]


def describe_profiles(manifest: Manifest, rows: pd.DataFrame) -> list[str]:
    """Images, their memory, and number of models of a study, for each profile.

    Args:
        manifest: The dataset.
        rows: All its rows.
    """
    lines = [f"{'profile':<10}{'px':>5}{'images':>10}{'memory':>11}{'models':>8}"]
    patients = rows["source_patient"].nunique()
    for name in yaml.safe_load(PROFILES.read_text()):
        profile = load_profile(name)
        size = min(profile.image_size, manifest.image_size)
        images = round(min(profile.max_patients or patients, patients) * len(rows) / patients)
        memory = f"{images * manifest.channels * size**2 / 2**20:,.0f} MiB"
        models = len(all_models(profile)) + len(all_timings(profile))
        lines.append(f"{name:<10}{size:>5}{images:>10,}{memory:>11}{models:>8}")
    if getattr(manifest, "split", None):
        lines.append(
            "fewer patients: by the manifest's shares from each part of the official split"
        )
    return lines
