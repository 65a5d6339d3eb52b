"""What the report says of cost: the right way round, and nothing where nothing is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.costs import TUNING
from medunlearn.figures import plot_tuning_costs
from medunlearn.sources import canonical_hash
from medunlearn.study.costs import cost_table, describe_costs, describe_disturbance
from medunlearn.study.tuned import Found, Trial, Tuned, method_code

RECIPE = {"epochs": 1}
METHODS = ("finetune", "salun", "neg_grad", "ssd")


def make_tuned(**changes):
    trials = [Trial({}, score, 0.5, 0.5, (1.0, 1.0)) for score in (0.3, 0.1)]
    found = {
        method: Found(
            settings={}, usual={}, code=method_code(method), chosen=1, oracle_tuned=rank % 2,
            oracle_gaps=[0.3, 0.2], trials=trials,
        )
        for rank, method in enumerate(METHODS)
    }  # fmt: skip
    fields = {
        "cohort": "c", "recipe": canonical_hash(RECIPE), "device": "this", "device_type": "cpu",
        "host": "here",
        "torch": "2", "exclusive": True, "timed": 16, "disturbed": 0, "patients": 5,
        "seeds": [300, 301], "doing_nothing": 0.2, "retraining_seconds": [10.0, 10.0],
        "original_seconds": [11.0, 11.0], "methods": found,
    }  # fmt: skip
    return Tuned(**{**fields, **changes})


def make_study(tuned=None, **usual):
    return SimpleNamespace(
        profile=SimpleNamespace(middle_size=0.1, methods={method: {} for method in METHODS}),
        tuned=tuned,
        device="cpu",
        cohort=SimpleNamespace(sha256="c"),
        recipe=RECIPE,
        usual_settings=lambda method: usual.get(method, {}),
    )


def make_costs(totals):
    """Costs of one request .5, with totals (low, high) of each method."""
    rows = []
    for method, (low, high) in totals.items():
        one = {"device": "this", "method": method, "forget_size": 0.1, "estimate": 0.5,
               "low": 0.4, "high": 0.6}  # fmt: skip
        rest = dict.fromkeys(TUNING, (low + high) / 2)
        rows.append({**one, **rest, "total_low": low, "total_high": high})
    return pd.DataFrame(rows)


COSTS = make_costs(
    {"finetune": (2, 4), "salun": (1.1, 9), "neg_grad": (0.5, 0.9), "ssd": (0.8, 1.3)}
)


def test_what_tuning_cost_is_told():
    told = describe_costs(COSTS, make_study(make_tuned()))
    for said in (
        # supported is above one retraining, and nothing else
        "one request costs more than one retraining for 2 of 4 methods",
        "costs less for 1, and 1 are undecided",
        # the number of trials is that of the file
        "up to 2 trials for each method, on 2 development seeds",
        # what is not counted
        "originals that all searches shared (2.2 retrainings",
        # a look at retrained models, told apart from the choice
        "beat doing nothing for 4 of 4",
        "nearer to them than the usual settings for 4 methods",
        "the nearest of all for 2",
    ):
        assert said in told


def test_without_tuning_the_claim_is_not_tested():
    costs = COSTS.assign(**dict.fromkeys(TUNING, np.nan))
    for study in (make_study(), make_study(make_tuned())):
        assert "is not tested" in describe_costs(costs, study)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device_type": "cuda"}, "tuning was timed on cuda and unlearning on cpu"),
        ({"exclusive": False}, "others may have computed"),
    ],
)
def test_seconds_that_cannot_be_added_give_no_verdict(changes, said):
    told = describe_costs(COSTS, make_study(make_tuned(**changes)))
    assert "of tuning is not tested: " in told
    assert said in told
    assert "costs more" not in told


@pytest.mark.parametrize(
    ("tuned", "usual", "said"),
    [
        (make_tuned(device="another"), {}, "timed on another, unlearning on this."),
        (make_tuned(cohort="other"), {}, "another cohort or recipe"),
        (make_tuned(), {"salun": {"share": 0.2}}, "have changed since: SalUn"),
        (make_tuned(disturbed=3), {}, "in 3 of the 16 regions"),
    ],
)
def test_what_has_changed_since_is_told(tuned, usual, said):
    assert said in describe_costs(COSTS, make_study(tuned, **usual))
    assert said not in describe_costs(COSTS, make_study(make_tuned()))


def test_nothing_is_known_without_a_cost_pass():
    assert "nothing is known" in describe_costs(COSTS.iloc[:0], make_study(make_tuned()))


def test_the_table_says_never_where_no_number_of_requests_pays():
    costs = COSTS.assign(break_even=[np.inf, 3.0, 4.0, np.nan], break_even_high=np.inf)
    shown = cost_table(costs, make_study().profile)["requests to break even"]
    assert shown["fine-tuning"] == "never"
    assert shown["SalUn"].startswith("3.00 (")
    assert shown["SalUn"].endswith("to never)")
    assert shown["SSD"] == ""


def test_the_figure_shows_every_method_that_was_tuned():
    figure = plot_tuning_costs(COSTS.assign(total=[3, 5, 0.7, np.nan]))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sorted(labels) == sorted(["fine-tuning", "SalUn", "NegGrad"])


BILL = {
    "exclusive": True, "device_type": "cpu", "seconds": 1.0, "cpu_seconds": 1.0, "sitting": "a",
}  # fmt: skip


def test_disturbed_regions_are_counted_with_the_remedy():
    quiet = pd.DataFrame([BILL] * 3)
    assert "in any of the 3 regions" in describe_disturbance(quiet)
    busy = describe_disturbance(pd.DataFrame([BILL, {**BILL, "cpu_seconds": 0.5}]))
    for said in ("in 1 of 2 regions", "50%", "make retime"):
        assert said in busy


def test_a_cost_pass_in_two_sessions_is_told_with_the_remedy():
    grid = {**BILL, "exclusive": False, "sitting": "c"}
    assert "sessions" not in describe_disturbance(pd.DataFrame([BILL, BILL, grid]))
    told = describe_disturbance(pd.DataFrame([BILL, {**BILL, "sitting": "b"}, grid]))
    assert "timed in 2 sessions" in told
    assert "make retime" in told
