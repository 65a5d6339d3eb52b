"""What of a study is done, missing, failed or stale, and why."""

import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd
import yaml

from medunlearn.cohort.check import describe_cohort, examine_cohort
from medunlearn.cohort.forget_sets import list_refusals
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.schema import Manifest
from medunlearn.models import build_network, is_short, title_of
from medunlearn.study.design import ModelSpec, all_models, all_timings
from medunlearn.study.devices import device_shared
from medunlearn.study.folders import is_held, partials
from medunlearn.study.journal import failures, is_report_current
from medunlearn.study.profile import PROFILES, Profile, load_profile
from medunlearn.study.store import State, Store
from medunlearn.study.study import Study, study_folder

if TYPE_CHECKING:
    from torch import nn

FEW_PATIENTS = 2_000  # each order may lack what another has
KINDS = 4
"""Kinds of models that a line names; of more it tells the number."""


def status(study: Study) -> list[str]:
    """Lines for people: a count for each kind of model, then reasons, failures and the report."""
    store = Store(study)
    specs = [*all_models(study.profile), *all_timings(study.profile)]
    states = store.states(specs)
    counts = Counter((spec.kind, state) for spec, state in states.items())
    lines = [f"{study.title}: {study.folder}", ""]
    lines.append(f"{'models':<36}" + "".join(f"{state:>9}" for state in get_args(State)))
    lines += [
        f"{kind:<36}" + "".join(f"{counts[kind, state]:>9}" for state in get_args(State))
        for kind in dict.fromkeys(spec.kind for spec in specs)
    ]
    lines += _tell_stale(store, [spec for spec in specs if states[spec] == "stale"])
    lines += _tell_failed(store, [spec for spec in specs if states[spec] == "failed"])
    lines += [
        f"failed: {name} ({record.get('host')}, {record.get('seconds')} s): "
        f"{_first_line(record['fault'])}"
        for name, record in failures(study, store).items()
    ]
    lines += _tell_partial(store, specs)
    report = str(study.folder / "report" / "index.html")
    current = is_report_current(study, store)
    lines += ["", "report: " + (report if current else "missing or out of date")]
    return lines


def _tell_stale(store: Store, specs: list[ModelSpec]) -> list[str]:
    """One line for each reason, with the kinds of models that it made stale."""
    found: dict[str, list[str]] = defaultdict(list)
    for spec, reasons in store.stale(specs).items():
        for reason in reasons:
            found[reason].append(spec.kind)
    return [
        f"stale because of another {reason}: {len(kinds)} models ({_list(kinds)})"
        for reason, kinds in found.items()
    ]


def _tell_failed(store: Store, specs: list[ModelSpec]) -> list[str]:
    """One line for each kind of model and error: the first such model, and how many more."""
    found: dict[tuple[str, str], list[tuple[ModelSpec, dict[str, Any]]]] = defaultdict(list)
    for spec, note in store.failures(specs).items():
        found[spec.kind, note["error"]].append((spec, note))
    lines = []
    for (_, error), notes in found.items():
        spec, note = notes[0]
        more = f", and {len(notes) - 1} more of its kind" if len(notes) > 1 else ""
        where = f"{note['host']}, {note['seconds']:g} s, {note['when']}"
        lines.append(f"failed: {spec.title} ({where}): {_first_line(error)}{more}")
    return lines


def _tell_partial(store: Store, specs: list[ModelSpec]) -> list[str]:
    """What is being written, or was left by somebody who was killed at it."""
    titles = {store.entry(spec).key: spec.title for spec in specs}
    fates = ("was left by a killed process; the next run removes it", "is being written")
    return [
        f"partial: {titles.get(key, key)} {fates[is_held(path)]}"
        for path, key in partials(store.folder).items()
    ]


def _list(kinds: list[str]) -> str:
    names = list(dict.fromkeys(kinds))
    return ", ".join(names) if len(names) <= KINDS else f"{len(names)} kinds"


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0]


def check(dataset: str, data_root: str, profile: str, runs: str = "") -> list[str]:
    """Read, decode and verify a whole dataset, and tell what is in it.

    The pixels stay in the cache of `runs`, where the study will find them; nothing else is written.

    Raises:
        InputError: All faults of manifest, files, rows, images and partitions.
    """
    manifest, size = load_manifest(dataset), load_profile(profile).image_size
    root = Path(data_root).expanduser() if data_root else None
    cache = study_folder(dataset, profile, runs).parent / "cache"
    table, pixels = examine_cohort(manifest, root, cache, size)
    return [
        *describe_cohort(manifest, table, pixels),
        *_tell_network(manifest, load_profile(profile)),
        *_doubt_forget_sets(table, profile),
        "",
        *estimate_profiles(manifest, table),
    ]


def _tell_network(manifest: Manifest, profile: Profile) -> list[str]:
    """Of a profile with a network or weights of one's own: that it can be made, and what fits."""
    if is_short(profile.network) and not profile.weights:
        return []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        network = _build(manifest, profile)
    count = sum(parameter.numel() for parameter in network.parameters())
    lines = [f"network {title_of(profile.network)}: {count:,} parameters"]
    if profile.weights:
        every = f"all weights are taken from {Path(profile.weights).name}"
        lines += [str(each.message) for each in told] or [every]
    return lines


def _build(manifest: Manifest, profile: Profile) -> "nn.Module":
    """A profile's network for the images of a manifest."""
    return build_network(
        profile.network,
        channels=manifest.channels,
        classes=len(manifest.label.classes),
        seed=0,
        norm=profile.norm,
        image_size=min(profile.image_size, manifest.image_size),
        weights=profile.weights,
    )


def _doubt_forget_sets(table: pd.DataFrame, name: str) -> list[str]:
    """Why a study of this profile would be refused; of a large cohort one order is looked at."""
    profile, patients = load_profile(name), table["patient"].nunique()
    if patients > (profile.max_patients or patients):
        return []  # it is of a sample
    cells = [(spec.cell, spec.seed) for spec in all_models(profile) if spec.cell]
    orders = [(c, c.order(s) if patients < FEW_PATIENTS else "shared") for c, s in cells]
    wanted = [(cell.composition, cell.forget_size, order) for cell, order in orders]
    said = f"WARNING: reproduce refuses this dataset with profile {name}"
    return [f"{said}: {fault}" for fault in list_refusals(table, wanted)]


def estimate_profiles(manifest: Manifest, table: pd.DataFrame) -> list[str]:
    """Memory of the images and time of a study, for each profile, on one core of this machine.

    A training step of each profile's network is timed here, on a few random images. Unlearning is
    counted as a fifth of a training, its limit, and a prediction as a third of a training step.

    Args:
        manifest: The dataset.
        table: Its rows, with partitions.
    """
    lines = [
        f"{'profile':<10}{'px':>5}{'images':>10}{'memory':>11}{'models':>8}{'time, one core':>18}"
    ]
    per_patient = len(table) / table["patient"].nunique()
    share = float((table["partition"] == "train").mean())
    for name in yaml.safe_load(PROFILES.read_text()):
        profile = load_profile(name)
        size = min(profile.image_size, manifest.image_size)
        patients = min(profile.max_patients or 10**9, table["patient"].nunique())
        images = round(patients * per_patient)
        specs = [*all_models(profile), *all_timings(profile)]
        trainings = sum(_cost_in_trainings(spec, profile) for spec in specs)
        steps = trainings * profile.training.epochs * share * images + len(specs) * images / 3
        hours = steps * _seconds_per_image(profile, manifest, size) / 3600
        time_ = f"{hours * 60:,.0f} min" if hours < 2 else f"{hours:,.0f} h"
        memory = f"{images * manifest.channels * size**2 / 2**20:,.0f} MiB"
        lines.append(f"{name:<10}{size:>5}{images:>10,}{memory:>11}{len(specs):>8}{time_:>18}")
    if getattr(manifest, "split", None):
        lines.append(
            "fewer patients: by the manifest's shares from each part of the official split"
        )
    return lines


def _cost_in_trainings(spec: ModelSpec, profile: Profile) -> float:
    """What a model costs, a training on all training images being 1."""
    repeats = profile.cost.warmups + profile.cost.repeats if spec.role == "timing" else 1
    retained = 1 - (spec.cell.forget_size if spec.cell else 0)
    unlearned = spec.method not in {None, "retrain"}
    return repeats * (0.2 if unlearned else retained)


def _seconds_per_image(profile: Profile, manifest: Manifest, size: int) -> float:
    """One training step, on one thread, after a first one that is not timed."""
    import torch  # the other commands of this module do without

    batch, seconds, threads = (2 if size > 64 else 32), [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = _build(manifest, profile)
        images = torch.zeros(batch, manifest.channels, size, size)
        with device_shared("cpu"):
            for _ in range(2):
                start = time.perf_counter()
                network(images).square().mean().backward()
                seconds.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return seconds[-1] / batch
