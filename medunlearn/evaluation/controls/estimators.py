"""The same contrast by other estimators: a difference would tell of rows lost or merged wrongly."""

from dataclasses import replace

import pandas as pd

from medunlearn.evaluation.controls.outcomes import FAILED, PASSED, Outcome
from medunlearn.evaluation.measurements import LineUp, Measurements
from medunlearn.statistics.checks import check_point_estimates

TOLERANCE = 1e-4


def same_estimates(
    measurements: Measurements, line_up: LineUp | None, contrasts: pd.DataFrame
) -> Outcome:
    """Women minus men on the test set: the contrast that is judged, GEE and a mixed model.

    Only point estimates are compared: no verdict comes from these models (see
    `statistics.checks`). Class-balanced accuracy, as the confirmatory contrast has it.
    """
    outcome = Outcome("point estimates", "the same by mean, GEE and mixed model", "C2")
    sides = ("F", "M")
    if line_up is None or not measurements.has(line_up, "test", sides):
        return outcome.not_run("there is no such method, or there are patients of one sex only")
    few = min(measurements.patients(line_up, "test", sides), len(line_up.runs))
    if few < 2:
        return outcome.not_run("fewer than two seeds or patients of a sex")
    rows = []
    for sex in sides:
        draw = line_up.runs[0].draw
        patients = measurements.subsets.of(draw, "test", sex).patient_ids
        gaps = measurements.gaps(line_up, "test", sex, "balanced_accuracy")
        rows += [
            pd.DataFrame({"value": gap, "patient": patients, "seed": run.seed, "group": sex})
            for run, gap in zip(line_up.runs, gaps, strict=True)
        ]
    found = check_point_estimates(pd.concat(rows, ignore_index=True))
    fitted = found[found["estimate"].notna()]
    if len(fitted) < 2:
        return outcome.not_run("; ".join(found["note"].iloc[1:]))
    where = {"claim": "C2", "partition": "test", "measure": "balanced_accuracy"}
    judged = contrasts[contrasts["method"] == line_up.method]
    for column, value in where.items():
        judged = judged[judged[column] == value]
    if len(judged) != 1:
        return outcome.not_run("the contrast itself was not measured")
    own = float(judged["estimate"].iloc[0])
    largest = float((fitted["estimate"] - own).abs().max())
    shown = ", ".join(
        f"{name} {100 * estimate:+.3f}"
        for name, estimate in fitted[["estimator", "estimate"]].to_numpy()
    )
    return replace(
        outcome,
        state=PASSED if largest <= TOLERANCE else FAILED,
        found=f"{line_up.method}: judged {100 * own:+.3f}, {shown} points",
        estimate=own,
        runs=len(line_up.runs),
    )
