"""What the report says of cost, generated from measurements: without and with tuning."""

import numpy as np
import pandas as pd

from medunlearn.evaluation.costs import disturbed
from medunlearn.figures.style import label_of
from medunlearn.sources import canonical_hash
from medunlearn.study.profile import Profile
from medunlearn.study.study import Study
from medunlearn.study.tuned import Tuned, method_code

NO_COST_PASS = "No cost pass has run alone on the device, so nothing is known of cost."


def say_cost(costs: pd.DataFrame, study: Study) -> str:
    """The answer to C5, in a sentence.

    Args:
        costs: As from ``add_tuning``, of all forget sizes.
        study: Whose.
    """
    middle = costs[costs["forget_size"] == study.profile.middle_size]
    if middle.empty:
        return NO_COST_PASS
    known = middle.dropna(subset=["total"])
    if study.tuned is None or known.empty:
        return "Whether tuning costs extra compute is not tested, because nothing was tuned."
    if faults := _faults_of(study.tuned, study):
        return f"The cost of tuning is not tested: {'; '.join(faults)}."
    above = (known["total_low"] > 1).sum()
    return (
        "With the search for its settings, one request costs more than one retraining for "
        f"{above} of {len(known)} methods."
    )


def describe_costs(costs: pd.DataFrame, study: Study) -> str:
    """C5 in a few sentences: one request alone, then with its tuning, then how tuning went."""
    middle = costs[costs["forget_size"] == study.profile.middle_size]
    if middle.empty:
        return NO_COST_PASS
    low, high = middle["estimate"].min(), middle["estimate"].max()
    lines = [say_cost(costs, study)]
    lines.append(f"One request alone costs {low:.2f} to {high:.2f} retrainings.")
    known, tuned = middle.dropna(subset=["total"]), study.tuned
    if tuned is None or known.empty or _faults_of(tuned, study):
        return " ".join([*lines, "To tune, run `make tune`."])
    lines[0] = f"**{lines[0]}**"
    below = (known["total_high"] < 1).sum()
    undecided = len(known) - below - (known["total_low"] > 1).sum()
    lines.append(f"It costs less for {below}, and {undecided} are undecided.")
    earned = known["break_even"][np.isfinite(known["break_even"])]
    if len(earned):
        lines.append(f"Tuning is earned after {earned.min():.1f} to {earned.max():.1f} requests.")
    return f"{' '.join(lines)}\n\n{_describe_search(tuned)}\n\n{_doubts_about(tuned, study, costs)}"


def _describe_search(tuned: Tuned) -> str:
    """How the settings were found, and how the choice stands beside a look at the answer."""
    found = list(tuned.methods.values())
    beaten = sum(each.trials[each.chosen].score < tuned.doing_nothing for each in found)
    kept = sum(each.chosen == 0 for each in found)
    alike = sum(each.chosen == each.oracle_tuned for each in found)
    nearer = sum(each.oracle_gaps[each.chosen] < each.oracle_gaps[0] for each in found)
    trials = max(len(each.trials) for each in found)
    extra = sum(tuned.original_seconds) / np.mean(tuned.retraining_seconds)
    return (
        f"**The search** made up to {trials} trials for each method, on {len(tuned.seeds)} "
        f"development seeds. It beat doing nothing for {beaten} of {len(found)} methods and kept "
        f"the usual settings for {kept}. Afterwards the trials were compared with retrained models "
        "(`oracle_tuned`, used nowhere). The chosen trial is nearer to them than the usual "
        f"settings for {nearer} methods, and the nearest of all for {alike}. Not counted are the "
        f"originals that all searches shared ({extra:.1f} retrainings, once). That settings found "
        "at one forget size suit the others is an assumption."
    )


def _faults_of(tuned: Tuned, study: Study) -> list[str]:
    """Why what tuning cost and what the cost pass measured cannot be added."""
    faults = {
        f"tuning was timed on {tuned.device_type} and unlearning on {study.device}": (
            tuned.device_type != study.device
        ),
        "others may have computed while its trials were timed": not tuned.exclusive,
    }
    return [fault for fault, found in faults.items() if found]


def _doubts_about(tuned: Tuned, study: Study, costs: pd.DataFrame) -> str:
    """What has changed since the settings were found, and what disturbed the clock then."""
    known = {m: found for m, found in tuned.methods.items() if m in study.profile.methods}
    changed = [
        label_of(m)
        for m, found in known.items()
        if found.code != method_code(m) or found.usual != study.usual_settings(m)
    ]
    elsewhere = tuned.cohort != study.cohort.sha256 or tuned.recipe != canonical_hash(study.recipe)
    others = ", ".join(sorted(set(costs["device"]) - {tuned.device}))
    doubts = {
        f"Tuning was timed on {tuned.device}, unlearning on {others}": bool(others),
        "The settings were found on another cohort or recipe than this": elsewhere,
        f"Code or usual settings have changed since: {', '.join(changed)}": bool(changed),
        f"Something else had the core in {tuned.disturbed} of the {tuned.timed} regions timed": (
            tuned.disturbed > 0
        ),
    }
    return " ".join(f"**{doubt}.**" for doubt, found in doubts.items() if found)


def describe_disturbance(timings: pd.DataFrame) -> str:
    """Whether something else had the processor during the cost pass, and whether it ran at once.

    Args:
        timings: As in ``tables/costs.parquet``.
    """
    timed, found = int(timings["exclusive"].sum()), disturbed(timings)
    told = [f"Nothing else had the core in any of the {timed} regions timed alone."]
    if len(found):
        told = [
            f"**Something else had the core in {len(found)} of {timed} regions timed alone.**",
            f"At worst, timing had {found['busy'].min():.0%} of it.",
        ]
    sessions = timings.loc[timings["exclusive"], "sitting"].nunique()
    if sessions > 1:
        told.append(f"**They were timed in {sessions} sessions**, perhaps at different pace.")
    if len(told) > 1:
        told.append("Time again on a quiet machine, with `make retime`.")
    return " ".join(told)


def cost_table(costs: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Cost of one request, tuning, both, and the requests until tuning is earned, by method."""
    middle = costs[costs["forget_size"] == profile.middle_size].sort_values("estimate")
    columns = {
        "one request": ("estimate", "low", "high"),
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
