"""What the registry tells of a method; `study/test_reproduce` adds one."""

import re

import pytest

from medunlearn.batches import Recipe
from medunlearn.figures.style import GROUP_STYLES
from medunlearn.methods import METHOD_NAMES, get_method
from medunlearn.study.profile import panel


def recipe(epochs: int = 25, peak: float = 0.1) -> Recipe:
    return Recipe("resnet_tiny", 1, 3, epochs, 32, peak, 0.9, 5e-4, False, 0)


def test_every_method_is_found_by_its_module_and_has_a_name_and_a_colour_of_its_own():
    methods = [get_method(name) for name in METHOD_NAMES]
    assert [method.function.__name__ for method in methods] == list(METHOD_NAMES)
    assert len({method.label for method in methods}) == len(methods)
    colours = {method.colour.lower() for method in methods}
    assert len(colours) == len(methods)
    assert colours.isdisjoint(style["color"].lower() for style in GROUP_STYLES.values())


@pytest.mark.parametrize("name", panel())
def test_every_method_names_its_paper(name):
    assert re.fullmatch(r"[A-Z].* 20\d\d, (arXiv \d{4}\.\d{5}|NeurIPS)", get_method(name).paper)


@pytest.mark.parametrize(
    ("name", "training", "expected"),
    [
        ("finetune", 25, {"epochs": 5}),
        ("finetune", 60, {"epochs": 10}),  # the authors take no more
        ("finetune", 4, {"epochs": 1}),
        ("ct", 25, {"epochs": 3}),
        ("sfron", 25, {"epochs": 4}),  # one epoch for the mask
        ("amun", 25, {"epochs": 3}),  # two for the attack
        ("kde", 25, {"warm_epochs": 2, "epochs": 3}),
        ("kde", 15, {"warm_epochs": 1, "epochs": 2}),
    ],
)
def test_epochs_are_the_authors_or_a_fifth_of_the_training(name, training, expected):
    usual = get_method(name).usual(recipe(training))
    assert {key: usual[key] for key in expected} == expected


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("training", [15, 25, 30, 100])
def test_no_method_spends_more_than_a_fifth(name, training):
    method = get_method(name)
    usual = method.usual(recipe(training))
    spent = sum(value for key, value in usual.items() if key.endswith("epochs"))
    assert spent + method.preparation <= training / 5


@pytest.mark.parametrize(
    ("name", "peak", "rate"),
    [("scrub", 0.1, 0.01), ("scrub", 0.02, 0.002), ("neg_grad", 0.1, 1e-3), ("lotus", 0.02, 1e-3)],
)
def test_rates_of_sgd_that_follow_the_peak_rate(name, peak, rate):
    assert get_method(name).usual(recipe(peak=peak))["learning_rate"] == pytest.approx(rate)


def test_what_is_given_stands_in_place_of_what_is_usual(make_task, monkeypatch):
    model, task = make_task()
    rates = []
    monkeypatch.setattr(
        "medunlearn.methods.neg_grad.train_epoch",
        lambda _model, _batches, optimizer, *_, **__: rates.append(optimizer.param_groups[0]["lr"]),
    )
    get_method("neg_grad")(model, task, seed=0)
    get_method("neg_grad")(model, task, seed=0, learning_rate=0.3, epochs=2)
    assert rates == [pytest.approx(0.01 * task.recipe.learning_rate), 0.3, 0.3]
