"""What the report says of cost, generated from measurements: without and with tuning."""

import numpy as np
import pandas as pd

from medunlearn.evaluation.costs import disturbed
from medunlearn.figures.style import label_of
from medunlearn.sources import canonical_hash
from medunlearn.study.profile import Profile
from medunlearn.study.study import Study
from medunlearn.study.tuned import Tuned, method_code


def describe_costs(costs: pd.DataFrame, study: Study) -> str:
    """C5: what a method costs beside one retraining, without and with its tuning."""
    if costs.empty:
        return "No cost pass has run alone on the device: **nothing is known of cost**."
    middle = costs[costs["forget_size"] == study.profile.middle_size].sort_values("estimate")
    told = ", ".join(
        f"{label_of(str(row['method']))} {row['estimate']:.2f}" for row in middle.to_dict("records")
    )
    dear = int((middle["low"] > 1).sum())
    first = (
        f"**C5, seconds of preparation and unlearning / seconds of one retraining:** {told}. "
        f"{dear} of {len(middle)} cost more than retraining. Measured on: "
        f"{', '.join(costs['device'].unique())}."
    )
    return f"{first}\n\n{_describe_tuning(middle.dropna(subset=['total']), study)}"


def _describe_tuning(costs: pd.DataFrame, study: Study) -> str:
    """The verdict on C5, which is about tuning, and how the settings were found."""
    tuned = study.tuned
    if tuned is None or costs.empty:
        return (
            "The claim is about *tuning*. Here the usual settings were used, and none were tuned "
            "(`make tune`): it is **not tested**."
        )
    if faults := _faults_of(tuned, study):
        return f"C5 is **not tested**: {'; '.join(faults)}. Tune again: `make tune`."
    found = tuned.methods.values()
    numbers = [len(each.trials) for each in found]
    above, below = (costs["total_low"] > 1).sum(), (costs["total_high"] < 1).sum()
    tried = f"{min(numbers)} to {max(numbers)}" if len(set(numbers)) > 1 else str(numbers[0])
    lines = [
        f"**With tuning** ({tried} trials on {len(tuned.seeds)} development seeds), one request "
        f"costs more than one retraining (**C5 supported**, lower limit above 1) for "
        f"**{above} of {len(costs)}** methods, less (upper limit below 1) for {below}; undecided "
        f"for {len(costs) - above - below}."
    ]
    earned = costs.loc[np.isfinite(costs["break_even"]), "break_even"]
    if len(earned):
        lines.append(
            f"Who tunes once and serves many requests breaks even after {earned.min():.1f} to "
            f"{earned.max():.1f} requests; {len(costs) - len(earned)} methods are not seen to."
        )
    extra = sum(tuned.original_seconds) / np.mean(tuned.retraining_seconds)
    lines.append(
        f"Not counted: the {len(tuned.seeds)} originals that all searches shared "
        f"({extra:.1f} retrainings, once)."
    )
    beaten = sum(each.trials[each.chosen].score < tuned.doing_nothing for each in found)
    kept = sum(each.chosen == 0 for each in found)
    alike = sum(each.chosen == each.oracle_tuned for each in found)
    nearer = sum(each.oracle_gaps[each.chosen] < each.oracle_gaps[0] for each in found)
    lines.append(
        f"The search beat doing nothing for {beaten} of {len(tuned.methods)} methods and kept the "
        f"usual settings for {kept}. Looking at retrained models afterwards (`oracle_tuned`, used "
        f"nowhere): the chosen trial is nearer to them than the usual settings for {nearer}, and "
        f"nearest of all trials for {alike}. That settings found at one forget size suit the "
        "others is an assumption."
    )
    if others := sorted(set(costs["device"]) - {tuned.device}):
        lines.append(
            f"Tuning was timed on {tuned.device}, unlearning on {', '.join(others)}: each is a "
            "number of retrainings on its own device."
        )
    return " ".join([*lines, *_doubts_about(tuned, study)])


def _faults_of(tuned: Tuned, study: Study) -> list[str]:
    """Why what tuning cost and what the cost pass measured cannot be added."""
    kinds = f"tuning was timed on {tuned.device_type}, unlearning on {study.device}"
    faults = {
        f"{kinds}, which spread work differently": tuned.device_type != study.device,
        "its trials were timed without a lock that keeps others away": not tuned.exclusive,
    }
    return [fault for fault, found in faults.items() if found]


def _doubts_about(tuned: Tuned, study: Study) -> list[str]:
    """What has changed since the settings were found, and what disturbed the clock then."""
    known = {m: found for m, found in tuned.methods.items() if m in study.profile.methods}
    changed = [
        label_of(m)
        for m, found in known.items()
        if found.code != method_code(m) or found.usual != study.usual_settings(m)
    ]
    elsewhere = tuned.cohort != study.cohort.sha256 or tuned.recipe != canonical_hash(study.recipe)
    doubts = {
        "The settings were found on another cohort or recipe than this": elsewhere,
        f"Code or usual settings have changed since: {', '.join(changed)}": bool(changed),
        f"Something else had the core in {tuned.disturbed} of the {tuned.timed} regions timed": (
            tuned.disturbed > 0
        ),
    }
    return [f"**{doubt}.**" for doubt, found in doubts.items() if found]


def describe_disturbance(bills: pd.DataFrame) -> str:
    """Whether something else had the processor while the cost pass ran, and whether it ran at once.

    Args:
        bills: As in ``tables/costs.parquet``.
    """
    timed, found = int(bills["exclusive"].sum()), disturbed(bills)
    told = f"Nothing else had the core in any of the {timed} regions timed alone."
    if len(found):
        told = (
            f"**Something else had the core in {len(found)} of {timed} regions timed alone** "
            f"(busy for {found['busy'].min():.0%} of the time at worst): time again on a quiet "
            "machine, with `make retime`."
        )
    sittings = bills.loc[bills["exclusive"], "sitting"].nunique()
    if sittings > 1:
        told += (
            f" **They were timed in {sittings} sittings**, between which the machine may have "
            "changed its pace: `make retime` measures all in one."
        )
    return told


def cost_table(costs: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Cost of one request, tuning, both, and the requests until tuning is earned, by method."""
    middle = costs[costs["forget_size"] == profile.middle_size].sort_values("estimate")
    columns = {
        "unlearning": ("estimate", "low", "high"),
        "tuning": ("tuning", "tuning_low", "tuning_high"),
        "together": ("total", "total_low", "total_high"),
        "requests to break even": ("break_even", "break_even_low", "break_even_high"),
    }
    rows = {
        label_of(str(row["method"])): {
            title: "" if np.isnan(row[value]) else _with_limits(row[value], row[low], row[high])
            for title, (value, low, high) in columns.items()
        }
        for row in middle.to_dict("records")
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))


def _with_limits(value: float, low: float, high: float) -> str:
    """For example ``7.1 (6.8 to 7.5)``; ``never`` where a number of requests is infinite."""
    if np.isinf(value):
        return "never"
    limits = "" if np.isnan(low) else f" ({low:.2f} to {high:.2f})"
    return f"{value:.2f}{limits}".replace("inf", "never")
