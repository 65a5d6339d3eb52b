import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.costs import add_tuning, cost_intervals, cost_ratios, disturbed


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
        + rows("sisa", 0.1, "training", [20])  # originals of its own are paid for
    )
    found = cost_ratios(costs).set_index(["method", "repeat"])
    assert found.loc[("salun", 0), "ratio"] == pytest.approx(0.3)
    assert found.loc[("salun", 1), "ratio"] == pytest.approx(0.4)
    assert found.loc[("finetune", 0), "preparation"] == 0
    assert found.loc[("sisa", 0), "ratio"] == 2
    assert "retrain" not in found.index.get_level_values("method")


def test_re_estimating_statistics_is_paid_for_on_both_sides():
    costs = pd.DataFrame(
        rows("retrain", 0.1, "unlearning", [9])
        + rows("retrain", 0.1, "batchnorm", [1])
        + rows("salun", 0.1, "unlearning", [2])
        + rows("salun", 0.1, "batchnorm", [1])
    )
    assert cost_ratios(costs)["ratio"].tolist() == [pytest.approx(0.3)]


def test_only_the_cost_pass_and_only_one_device_make_a_ratio():
    grid = pd.DataFrame(rows("salun", 0.1, "unlearning", [2], exclusive=False))
    assert cost_ratios(grid).empty
    costs = pd.DataFrame(
        rows("retrain", 0.1, "unlearning", [10], device="slow")
        + rows("salun", 0.1, "unlearning", [1], device="fast")
    )
    assert cost_ratios(costs)["ratio"].isna().all()


def bills(**seconds):
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "seconds": each}
            for method, spent in seconds.items()
            for seed, each in enumerate(spent)
        ]
    )


RATIOS = cost_intervals(
    pd.DataFrame(
        rows("retrain", 0.1, "unlearning", [9.9, 10, 10.1])
        + rows("salun", 0.1, "unlearning", [1.9, 2, 2.1])
        + rows("eu_k", 0.1, "unlearning", [11.9, 12, 12.1])
        + rows("ssd", 0.1, "unlearning", [1, 1, 1.01])
    )
)


def with_tuning(retraining=(9.9, 10, 10.1), **seconds):
    return add_tuning(RATIOS, bills(**seconds), retraining).set_index("method")


def test_tuning_counts_all_seeds_and_is_added_to_one_request():
    found = with_tuning(salun=[29, 30, 31]).loc["salun"]
    assert found["tuning"] == pytest.approx(9, rel=1e-3)
    assert found["total"] == pytest.approx(9.2, rel=1e-3)
    assert found["total_low"] > 1
    assert found["break_even"] == pytest.approx(9 / 0.8, rel=1e-3)
    # seconds of the device that the trials were timed on
    slow = with_tuning(retraining=(99, 100, 101), salun=[290, 300, 310]).loc["salun"]
    assert slow[["tuning", "estimate"]].tolist() == pytest.approx([9, 0.2], rel=1e-2)


def test_who_costs_more_than_a_retraining_never_breaks_even():
    every = with_tuning(eu_k=[1, 1, 1.1])
    assert every.loc["ssd", ["tuning", "total", "break_even"]].isna().all()  # not tuned
    found = every.loc["eu_k"]
    assert found["break_even"] == found["break_even_low"] == found["break_even_high"] == np.inf


def test_who_may_cost_less_than_a_retraining_may_break_even():
    costs = pd.DataFrame(
        rows("retrain", 0.1, "unlearning", [9, 10, 11])
        + rows("salun", 0.1, "unlearning", [9, 10.2, 12])
    )
    found = add_tuning(cost_intervals(costs), bills(salun=[1, 1.1, 1.2]), [9, 10, 11]).loc[0]
    assert found["estimate"] > 1 > found["low"]
    assert found["break_even"] == found["break_even_high"] == np.inf
    assert np.isfinite(found["break_even_low"])


def test_intervals_of_total_and_break_even_hold_the_truth_as_often_as_they_say():
    drawn = np.random.default_rng(5)
    held = {"total": 0, "break_even": 0}
    truth = {"total": 3 * 2 / 10 + 0.7, "break_even": 0.6 / 0.3}
    for _ in range(400):
        noisy = {
            name: np.exp(np.log(value) + drawn.normal(0, 0.03, 3))
            for name, value in {"unit": 10, "unlearn": 7, "tune": 2, "unit_then": 10}.items()
        }
        costs = pd.DataFrame(
            rows("retrain", 0.1, "unlearning", noisy["unit"])
            + rows("salun", 0.1, "unlearning", noisy["unlearn"])
        )
        told = add_tuning(cost_intervals(costs), bills(salun=noisy["tune"]), noisy["unit_then"])
        for what in held:
            low, high = told.loc[0, [f"{what}_low", f"{what}_high"]]
            held[what] += low <= truth[what] <= high
    for what, count in held.items():
        assert count / 400 >= 0.92, what


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
