"""The same contrast by other estimators: a difference would tell of rows lost or merged wrongly."""

import pandas as pd

from medunlearn.evaluation.controls.outcomes import Outcome
from medunlearn.evaluation.measurements import LineUp, Measurements
from medunlearn.statistics.checks import check_point_estimates

TOLERANCE = 1e-4
SIDES = ("F", "M")
MEASURE = "balanced_accuracy"


def same_estimates(
    measurements: Measurements, line_up: LineUp | None, contrasts: pd.DataFrame
) -> Outcome:
    """Women minus men on the test set: the contrast that is judged, GEE and a mixed model.

    Only point estimates are compared: no verdict comes from these models (see
    `statistics.checks`). Class-balanced accuracy, as the confirmatory contrast has it.
    """
    outcome = Outcome("point estimates", "the same by mean, GEE and mixed model", "C2")
    if line_up is None or not measurements.has(line_up, "test", SIDES):
        return outcome.not_run("there is no such method, or there are patients of one sex only")
    if min(measurements.patients(line_up, "test", SIDES), len(line_up.runs)) < 2:
        return outcome.not_run("fewer than two seeds or patients of a sex")
    rows = []
    for sex in SIDES:
        patients = measurements.subsets.of("", "test", sex).patient_ids
        gaps = measurements.gaps(line_up, "test", sex, MEASURE)
        rows += [
            pd.DataFrame({"value": gap, "patient": patients, "seed": run.seed, "group": sex})
            for run, gap in zip(line_up.runs, gaps, strict=True)
        ]
    found = check_point_estimates(pd.concat(rows, ignore_index=True))
    fitted = found[found["estimate"].notna()]
    if len(fitted) < 2:
        return outcome.not_run("; ".join(found["note"].iloc[1:]))
    where = {"method": line_up.method, "claim": "C2", "partition": "test", "measure": MEASURE}
    judged = contrasts.loc[(contrasts[list(where)] == pd.Series(where)).all(axis=1), "estimate"]
    if len(judged) != 1:
        return outcome.not_run("the contrast itself was not measured")
    own = float(judged.iloc[0])
    named = zip(fitted["estimator"], fitted["estimate"], strict=True)
    shown = ", ".join(f"{name} {100 * estimate:+.3f}" for name, estimate in named)
    return outcome.came_out(
        bool((fitted["estimate"] - own).abs().max() <= TOLERANCE),
        f"{line_up.method}: judged {100 * own:+.3f}, {shown} points",
        estimate=own,
        runs=len(line_up.runs),
    )
