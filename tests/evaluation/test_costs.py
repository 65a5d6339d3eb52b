import pandas as pd
import pytest

from medunlearn.evaluation.costs import cost_ratios, disturbed


def rows(method, size, region, seconds, *, exclusive=True, device="this"):
    return [
        {"method": method, "forget_size": size, "region": region, "seconds": s, "repeat": n,
         "device": device, "exclusive": exclusive}
        for n, s in enumerate(seconds)
    ]  # fmt: skip


def test_preparation_counts_and_the_unit_is_the_median_retraining():
    costs = pd.DataFrame(
        rows("retrain", 0.1, "unlearning", [9, 10, 50])
        + rows("salun", 0.1, "unlearning", [2, 2])
        + rows("salun", 0.1, "preparation", [1, 2])
        + rows("finetune", 0.1, "unlearning", [1])
    )
    found = cost_ratios(costs).set_index(["method", "repeat"])
    assert found.loc[("salun", 0), "ratio"] == pytest.approx(0.3)
    assert found.loc[("salun", 1), "ratio"] == pytest.approx(0.4)
    assert found.loc[("finetune", 0), "preparation"] == 0
    assert "retrain" not in found.index.get_level_values("method")


def test_a_method_with_originals_of_its_own_pays_for_them():
    costs = pd.DataFrame(
        rows("retrain", 0.1, "unlearning", [10])
        + rows("sisa", 0.1, "training", [20])
        + rows("sisa", 0.1, "unlearning", [5])
    )
    assert cost_ratios(costs)["ratio"].tolist() == [2.5]


def test_timings_of_the_grid_are_no_costs():
    costs = pd.DataFrame(rows("salun", 0.1, "unlearning", [2], exclusive=False))
    assert cost_ratios(costs).empty


def test_seconds_of_one_device_are_not_divided_by_those_of_another():
    costs = pd.DataFrame(
        rows("retrain", 0.1, "unlearning", [10], device="slow")
        + rows("salun", 0.1, "unlearning", [1], device="fast")
    )
    assert cost_ratios(costs)["ratio"].isna().all()


def test_a_region_in_which_somebody_else_had_the_core_is_found():
    costs = pd.DataFrame(
        [
            {"exclusive": True, "device_type": "cpu", "seconds": 10.0, "cpu_seconds": 9.9},
            {"exclusive": True, "device_type": "cpu", "seconds": 10.0, "cpu_seconds": 5.0},
            # two threads may well use more than one second of a second
            {"exclusive": True, "device_type": "cpu", "seconds": 10.0, "cpu_seconds": 19.0},
            {"exclusive": False, "device_type": "cpu", "seconds": 10.0, "cpu_seconds": 5.0},
            # the processor waits for the device
            {"exclusive": True, "device_type": "cuda", "seconds": 10.0, "cpu_seconds": 1.0},
            {"exclusive": True, "device_type": "cpu", "seconds": 0.0, "cpu_seconds": 0.0},
        ]
    )
    found = disturbed(costs)
    assert list(found.index) == [1]
    assert list(found["busy"]) == [0.5]
