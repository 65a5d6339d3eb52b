"""What the report says of cost, generated from measurements: without and with tuning."""

import numpy as np
import pandas as pd

from medunlearn.evaluation.costs import disturbed
from medunlearn.figures.style import label_of
from medunlearn.sources import canonical_hash
from medunlearn.study.profile import Profile
from medunlearn.study.study import Study


def describe_costs(costs: pd.DataFrame, study: Study) -> str:
    """C5: what a method costs beside one retraining, without and with its tuning."""
    if costs.empty:
        return "The cost pass has not run: **nothing is known of cost**."
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
    above, below = (costs["total_low"] > 1).sum(), (costs["total_high"] < 1).sum()
    earned = costs.loc[np.isfinite(costs["break_even"]), "break_even"]
    found = tuned.methods.values()
    beaten = sum(each.trials[each.chosen].score < tuned.doing_nothing for each in found)
    kept = sum(each.chosen == 0 for each in found)
    alike = sum(each.chosen == each.oracle_tuned for each in found)
    lines = [
        f"**With tuning** ({study.profile.tuning.trials} trials on {len(tuned.seeds)} development "
        f"seeds, timed on {tuned.device}), one request costs more than one retraining "
        f"(**C5 supported**, lower limit above 1) for **{above} of {len(costs)}** methods, less "
        f"(upper limit below 1) for {below}; undecided for {len(costs) - above - below}."
    ]
    if len(earned):
        lines.append(
            f"Who tunes once and serves many requests breaks even after {earned.min():.0f} to "
            f"{earned.max():.0f} requests; {len(costs) - len(earned)} methods never do."
        )
    lines.append(
        f"The search beat doing nothing for {beaten} of {len(tuned.methods)} methods and kept the "
        f"usual settings for {kept}; a look at retrained models (`oracle_tuned`, used nowhere) "
        f"would have chosen the same trial for {alike}. That settings found at one forget size "
        "suit the others is an assumption."
    )
    if tuned.cohort != study.cohort.sha256 or tuned.recipe != canonical_hash(study.recipe):
        lines.append(
            "**The settings were found on another cohort or recipe than these**: `make tune`."
        )
    return " ".join(lines)


def describe_disturbance(bills: pd.DataFrame) -> str:
    """Whether something else had the processor while the cost pass ran.

    Args:
        bills: As in ``tables/costs.parquet``.
    """
    timed, found = int(bills["exclusive"].sum()), disturbed(bills)
    if found.empty:
        return f"Nothing else had the core in any of the {timed} regions timed alone."
    return (
        f"**Something else had the core in {len(found)} of {timed} regions timed alone** "
        f"(busy for {found['busy'].min():.0%} of the time at worst): time again on a quiet machine."
    )


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
