"""Sentences of the report, generated from results: none is written by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from medunlearn.evaluation.difficulty import RELIABLE
from medunlearn.figures.style import SEX_NAMES, label_of
from medunlearn.models import title_of
from medunlearn.study.answers import level_points, points
from medunlearn.study.design import seeds
from medunlearn.study.profile import Profile
from medunlearn.study.study import Study
from medunlearn.study.synthesis import terms_hash
from medunlearn.study.tables import Tables


def describe_design(study: Study, tables: Tables) -> str:
    """What was run, and what of the design is missing."""
    profile, manifest = study.profile, study.cohort.manifest
    patients = tables.cohort.groupby("partition")["patient"].nunique()
    sizes = ", ".join(f"{size:.0%}" for size in profile.forget_sizes)
    name = Path(study.profile_name).stem
    margins = ", ".join(f"{what} {m:g}" for what, m in profile.statistics.margins.items())
    lines = [
        f"**{manifest.title}**, profile `{name}`, computed on `{study.device}`: "
        f"{patients['train']} training and {patients['test']} test patients, "
        f"{len(seeds(profile))} paired seeds, {profile.floor_seeds} fresh seeds for the floor; "
        f"{profile.references} reference models; {len(profile.methods)} methods; "
        f"forget sizes {sizes} of the training patients; "
        f"network `{title_of(profile.network)}`, {profile.training.epochs} epochs"
        + (f" from the weights of `{Path(profile.weights).name}`." if profile.weights else "."),
        "",
        f"Settled before results (hash `{terms_hash(study)}`): margins {margins}; confirmatory "
        f"{', '.join(label_of(name) for name in profile.confirmatory)}. "
        f"{profile.statistics.justification}",
    ]
    if manifest.unit != "patient":
        lines += ["", f"No patient ids are published: a *patient* here is a **{manifest.unit}**."]
    methods = tables.models["method"].fillna("training")
    broken = [m for m, x in zip(methods, tables.logits, strict=True) if not np.isfinite(x).all()]
    if broken:
        names = ", ".join(sorted(set(broken)))
        lines += ["", f"**{len(broken)} models have blown up** ({names}): no measure is given."]
    if tables.absent:
        shown = "; ".join(tables.absent[:5]) + (" ..." if len(tables.absent) > 5 else "")
        lines += ["", f"**Missing: {len(tables.absent)} models of the design** ({shown})."]
    return "\n".join(lines)


def describe_difficulty(tables: Tables) -> str:
    """How reliable difficulty is and, where the truth is known, how right."""
    if tables.difficulty.empty:
        return "Difficulty was **not measured**: reference models are missing."
    reliable = ", ".join(f"{r:.2f} on {part}" for part, r in tables.reliability.items())
    lines = [f"Split-half reliability of difficulty: {reliable} (asked for: {RELIABLE})."]
    table = tables.cohort.merge(tables.difficulty, on="sample")
    if {"conspicuity", "noisy_label"} <= set(table):
        seen = table[(table["conspicuity"] > 0) & ~table["noisy_label"].astype(bool)]
        r = spearmanr(seen["conspicuity"], seen["confidence_out"]).statistic
        area = roc_auc_score(table["noisy_label"].astype(bool), -table["confidence_out"])
        lines.append(
            "The embedded cohort knows the truth: confidence ranks the conspicuity of findings "
            f"with a rank correlation of {r:.2f}, and low confidence finds wrong labels with an "
            f"AUROC of {area:.2f}."
        )
    return " ".join(lines)


def composition_table(results: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Gap in accuracy on the forget set, by whom it is drawn from."""
    chosen = results[
        (results["quantity"] == "gap")
        & (results["group"] == "all")
        & (results["forget_size"] == profile.middle_size)
        & (results["measure"] == "accuracy")
        & (results["partition"] == "forget")
    ]
    shown = chosen.assign(shown=[points(row) for row in chosen.to_dict("records")])
    wide = shown.pivot_table(
        index="method", columns="composition", values="shown", aggfunc="first", sort=False
    )
    return wide.rename(index=label_of).fillna("")


def threshold_table(
    results: pd.DataFrame, calibration: pd.DataFrame, profile: Profile
) -> pd.DataFrame:
    """On the test set, at one threshold for both sexes: gaps of women and of men, in points."""
    measures = {"true_positive_rate": "TPR", "false_positive_rate": "FPR"}
    chosen = results[
        (results["quantity"] == "gap")
        & results["group"].isin(["F", "M"])
        & (results["forget_size"] == profile.middle_size)
        & results["measure"].isin(measures)
        & (results["partition"] == "test")
        & (results["composition"] == "random")
    ]
    rates = chosen.assign(measure=chosen["measure"].map(measures))
    errors = calibration[calibration["group"].isin(["F", "M"])].assign(measure="calibration error")
    both = pd.concat([rates, errors], ignore_index=True)
    both["shown"] = [points(row) for row in both.to_dict("records")]
    wide = both.pivot_table(
        index="method", columns=["measure", "group"], values="shown", aggfunc="first", sort=False
    )
    return wide.rename(index=label_of)[[*measures.values(), "calibration error"]]


def control_table(controls: pd.DataFrame) -> Styler:
    """The controls for reading, failures in bold."""
    shown = controls[["control", "asked", "found", "state", "guards"]]
    left = [{"selector": "th, td", "props": "text-align: left; white-space: normal"}]
    styled = shown.style.hide().set_table_styles(left)  # type: ignore[arg-type]
    weights = {"failed": "font-weight: bold; color: #aa0000", "passed": "color: #117733"}
    return styled.map(lambda state: weights.get(state, "color: #777777"), subset=["state"])


def worst_table(worst: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Level and gap of each method in the group that retrained models do worst on, in points."""
    rows = worst[worst["chosen_on"] == "retrained models"]
    told = {"level": level_points, "gap": points}
    shown = rows.assign(shown=[told[row["quantity"]](row) for row in rows.to_dict("records")])
    shown["group"] = [_name_group(group, classes) for group in shown["group"]]
    keys = ["grouping", "method"]
    levels, gaps = (
        shown[shown["quantity"] == quantity].set_index(keys)["shown"]
        for quantity in ("level", "gap")
    )
    table = shown.drop_duplicates(keys).set_index(keys)[["group"]]
    table = table.assign(level=levels, gap=gaps).fillna("-")
    return table.rename(index=label_of, level="method")


def audit_table(audits: pd.DataFrame) -> pd.DataFrame:
    """Each audit's difference from its yardstick with its interval, one column a method."""
    known = audits[audits["estimate"].notna()]
    shown = [
        f"{row['estimate']:+.3f}"
        + (f" ({row['low']:+.3f}, {row['high']:+.3f})" if np.isfinite(row["low"]) else "")
        for row in known.to_dict("records")
    ]
    wide = known.assign(shown=shown).pivot_table(
        index="method", columns="audit", values="shown", aggfunc="first", sort=False
    )
    return wide.rename(index=label_of).fillna("-").T


def _name_group(group: str, classes: Sequence[str]) -> str:
    """``F 3 hard`` as ``women, effusion, hard``."""
    words = [SEX_NAMES.get(word, word) for word in group.split()]
    return ", ".join(classes[int(word)] if word.isdecimal() else word for word in words)
