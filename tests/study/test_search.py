import importlib
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from medunlearn.batches import Recipe
from medunlearn.errors import InputError
from medunlearn.methods import METHOD_NAMES, get_method
from medunlearn.study.search import WORST, accuracies, choose, find_ranges, score, search
from medunlearn.study.tuned import Trial

TABLE = pd.DataFrame(
    {
        # forgotten: patient 0 with two images, patient 1 with one; retained: 2
        "patient": [0, 0, 1, 2, 3, 4, 5, 6],
        "partition": ["train"] * 4
        + ["validation_evaluation"] * 2
        + ["validation_method", "test"],
        "label": [0, 1, 0, 1, 0, 1, 1, 0],
    }
)  # fmt: skip


def recipe(epochs: int) -> Recipe:
    return Recipe("resnet_tiny", 1, 2, epochs, 16, 0.1, 0.9, 5e-4, False, 0)


def logits(*right: bool) -> np.ndarray:
    """A model that is right about these images and wrong about the others."""
    answers = np.where(right, TABLE["label"], 1 - TABLE["label"])
    return np.eye(2, dtype=np.float32)[answers]


def score_of(unlearned: np.ndarray, original: np.ndarray) -> float:
    return score(accuracies(unlearned, TABLE, [0, 1]), accuracies(original, TABLE, [0, 1]))


def test_the_score_is_the_distance_to_held_out_patients_plus_what_they_lose():
    original = logits(True, True, True, True, True, True, True, True)
    unlearned = logits(True, False, True, True, True, False, True, True)
    # forget: patient 0 half right, patient 1 right: 3/4; held out: 1/2, and it was 1
    assert accuracies(unlearned, TABLE, [0, 1]) == (0.75, 0.5)
    assert score_of(unlearned, original) == 0.25 + 0.5
    assert score_of(original, unlearned) == 0, "a gain on held-out patients is no loss"


@pytest.mark.parametrize("image", [3, 6, 7])
def test_the_score_reads_no_retained_patient_and_neither_test_nor_method_partition(image):
    right = [True] * 8
    right[image] = False
    assert accuracies(logits(*right), TABLE, [0, 1]) == (1, 1)


def test_a_model_that_has_diverged_scores_worst():
    broken = logits(*[True] * 8)
    broken[0] = np.nan
    assert score_of(broken, logits(*[True] * 8)) == WORST


def test_epochs_are_capped_at_a_fifth_of_the_training_but_not_below_what_is_in_use():
    finetune = get_method("finetune")
    assert find_ranges(finetune, {}, recipe(15))["epochs"] == IntDistribution(1, 3)
    assert find_ranges(finetune, {"epochs": 2}, recipe(5))["epochs"].high == 2
    # of five epochs one goes into the mask
    assert find_ranges(get_method("sfron"), {}, recipe(25))["epochs"].high == 4


@pytest.mark.parametrize(("method", "setting"), [("scrub", "alpha"), ("neg_grad_plus", "alpha")])
def test_a_whole_number_in_a_profile_does_not_make_a_setting_whole(method, setting):
    found = find_ranges(get_method(method), {setting: 1}, recipe(15))[setting]
    seen: list = []
    search({setting: found}, {setting: 1}, lambda s: (seen.append(s), Trial(s, 1, 0, 0, (1.0,)))[1],
           trials=6, name="x")  # fmt: skip
    assert seen[0] == {setting: 1.0}
    assert len({each[setting] for each in seen}) == 6


def test_a_range_over_a_factor_of_ten_is_searched_evenly_over_its_logarithm():
    found = find_ranges(get_method("salun"), {}, recipe(15))
    assert found["learning_rate"] == FloatDistribution(3e-3, 0.1, log=True)
    assert not found["share"].log


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_every_method_is_searched_where_its_usual_setting_lies(name):
    method, usual = get_method(name), get_method(name).usual(recipe(25))
    for setting, sought in find_ranges(method, {}, recipe(25)).items():
        assert sought.low <= usual[setting] <= sought.high
        assert sought.low < sought.high


RANGES = {"rate": FloatDistribution(1e-4, 1, log=True), "k": IntDistribution(1, 9)}
USUAL = {"rate": 0.5, "k": 2, "kept": "as it is"}


def evaluator(best: float, seen: list | None = None):
    def evaluate(settings):
        if seen is not None:
            seen.append(settings)
        wrong = abs(np.log10(settings["rate"]) - best) + abs(settings["k"] - 5)
        return Trial(settings, wrong, 0, 0, (1.0,))

    return evaluate


def test_the_usual_settings_are_trial_0_and_all_trials_lie_in_their_ranges():
    trials = search(RANGES, USUAL, evaluator(-2), trials=12, name="x")
    assert trials[0].settings == {"rate": 0.5, "k": 2}
    assert len(trials) == 12
    for trial in trials:
        assert 1e-4 <= trial.settings["rate"] <= 1
        assert trial.settings["k"] in range(1, 10)


def test_the_same_search_gives_the_same_trials_and_another_method_has_others():
    first, again, other = (
        search(RANGES, USUAL, evaluator(-2), trials=6, name=name) for name in ("x", "x", "y")
    )
    assert first == again
    assert first[1:] != other[1:]


def test_the_first_half_is_drawn_and_the_second_follows_the_scores():
    one, other = (search(RANGES, USUAL, evaluator(best), trials=12, name="x") for best in (-4, 0))
    settings = [[trial.settings for trial in trials] for trials in (one, other)]
    assert settings[0][:6] == settings[1][:6]
    late = [np.mean([np.log10(s["rate"]) for s in found[6:]]) for found in settings]
    assert late[0] < late[1]


def test_the_same_settings_are_not_tried_twice():
    seen: list = []
    few = {"k": IntDistribution(1, 2)}

    def evaluate(settings):
        seen.append(settings["k"])
        return Trial(settings, settings["k"], 0, 0, (1.0,))

    trials = search(few, {"k": 1}, evaluate, trials=8, name="x")
    assert sorted(seen) == [1, 2]
    assert len(trials) == 2


def test_the_lowest_score_wins_and_of_equals_the_cheapest():
    dear = Trial({"k": 1}, 0.1, 0, 0, (2.0, 2.0))
    cheap = replace(dear, settings={"k": 2}, seconds=(2.0, 1.0))
    worse = replace(dear, settings={"k": 3}, score=0.2, seconds=(0.0, 0.0))
    assert choose([dear, cheap, worse]) == cheap


def test_without_optuna_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "medunlearn.study.search")
    with pytest.raises(InputError, match="pip install optuna"):
        importlib.import_module("medunlearn.study.search")
