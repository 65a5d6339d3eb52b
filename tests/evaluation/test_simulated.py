"""The simulated class-balanced accuracy of notebook 07, as it stands there."""

import json
from pathlib import Path

import numpy as np
import pytest

from medunlearn.evaluation.performance import balanced_values
from medunlearn.statistics.error_rates import summarise
from medunlearn.statistics.intervals import contrast_interval
from medunlearn.statistics.simulation import Gaps, Scenario, simulate_gaps

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "07_error_rates.ipynb"
SOURCES = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"]]
SPACE = {
    "np": np, "Gaps": Gaps, "balanced_values": balanced_values,
    "contrast_interval": contrast_interval,
}  # fmt: skip
exec(next(source for source in SOURCES if source.startswith("def contrasts(")), SPACE)
measure_contrast = SPACE["contrasts"]

MARGIN = 0.03
CHOSEN = ("accuracy", "balanced_accuracy")


def rates_of(scenario, replicates, *, dose=0.0):
    random = np.random.default_rng(31)
    studies = [
        measure_contrast(simulate_gaps(scenario, random), random, dose) for _ in range(replicates)
    ]
    rates = {}
    for name in CHOSEN:
        found = [(s[name].estimate, s[name].standard_error, s[name].df) for s in studies]
        rates[name] = summarise(*np.array(found).T, scenario.contrast, MARGIN)
    return rates


def test_pseudo_values_of_balanced_accuracy_err_no_more_often_than_means():
    replicates = 60
    bound = 0.05 + 3 * (0.05 * 0.95 / replicates) ** 0.5
    spreads = {"patient_sd": 0.1, "seed_sex_sd": 0.01}
    nothing = rates_of(Scenario(4, 300, 4, **spreads), replicates)["balanced_accuracy"]
    assert nothing["different"] + nothing["different but negligible"] <= bound
    assert nothing["coverage"] >= 1 - bound
    at_margin = Scenario(4, 1000, 4, contrast=MARGIN, **spreads)
    rates = rates_of(at_margin, replicates)["balanced_accuracy"]
    assert rates["equivalent"] + rates["different but negligible"] <= bound
    assert rates["coverage"] >= 1 - bound


def test_harm_to_findings_is_no_bias_in_balanced_accuracy_but_looks_like_one_in_accuracy():
    rates = rates_of(Scenario(4, 1000), 40, dose=0.3)
    assert rates["accuracy"]["different"] > 0.5
    assert rates["balanced_accuracy"]["different"] < 0.2


def test_accuracy_of_decisions_is_the_mean_gap_of_patients():
    random = np.random.default_rng(5)
    gaps = simulate_gaps(Scenario(4, 300, 4, contrast=0.06), random)
    women, men = gaps.by_patient
    found = measure_contrast(gaps, random, 0.0)["accuracy"]
    assert found.estimate == pytest.approx(women.mean() - men.mean())
    assert (found.seeds, found.patients) == (4, 300)
