"""A short cut and the long way come to the same."""

import pytest
import torch

from medunlearn.benchmark import shortcuts
from medunlearn.benchmark.shortcuts import (
    from_many_passes,
    from_one_pass,
    largest_by_sorting,
    make_measured,
    measure_mask,
    measure_metrics,
    measure_teacher,
    teacher_sides,
)
from medunlearn.methods._masks import largest
from medunlearn.training import prepare_device


@pytest.fixture(autouse=True)
def _one_thread():
    prepare_device("cpu")


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_both_masks_are_the_same_where_nothing_ties(share):
    random = torch.Generator().manual_seed(1)
    given = [torch.randn(5, 4, generator=random), torch.randn(32, generator=random)]
    one, two = largest(given, share), largest_by_sorting(given, share)
    assert all(map(torch.equal, one, two))
    assert sum(int(m.sum()) for m in two) == share * 52


def test_both_students_of_scrub_are_the_same():
    kept, asked = (unlearn() for unlearn in teacher_sides("cpu", 4).values())
    for one, two in zip(kept.parameters(), asked.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_one_side_asks_its_teacher_for_every_batch(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "medunlearn.methods._scrub.answers",
        lambda _, *sets: (
            asked.append(sets[0].recipe.augments) or (lambda x, _: torch.zeros(len(x), 4))
        ),
    )
    for unlearn in teacher_sides("cpu", 4).values():
        unlearn()
    assert asked == [False, True]


def test_all_figures_are_the_same_from_one_pass_and_from_many():
    made = make_measured("cpu", 9)
    one, many = from_one_pass(made), from_many_passes(made)
    assert one.keys() == many.keys()
    assert len(one) == 3 * 7
    for name, value in one.items():
        assert value == pytest.approx(many[name], abs=1e-4), name
    assert one["forget", "accuracy"] > 0


def test_one_pass_predicts_once_and_many_once_for_each_figure(monkeypatch):
    made, calls = make_measured("cpu", 9), []
    real, some = shortcuts.predict, shortcuts._predict_some
    monkeypatch.setattr(shortcuts, "predict", lambda *a: (calls.append(1), real(*a))[1])
    monkeypatch.setattr(shortcuts, "_predict_some", lambda *a: (calls.append(1), some(*a))[1])
    from_one_pass(made)
    assert len(calls) == 1
    from_many_passes(made)
    assert len(calls) == 1 + 1 + 3 * 7


@pytest.mark.parametrize(
    ("measure", "settings"),
    [
        (measure_mask, {"network": "resnet_tiny"}),
        (measure_teacher, {"batches": 3}),
        (measure_metrics, {"batches": 9}),
    ],
)
def test_each_tells_two_sides(measure, settings):
    short, long = measure("cpu", rounds=1, **settings)
    assert short.what == long.what
    assert short.side != long.side
    assert short.ratio is None
    assert long.ratio > 0
