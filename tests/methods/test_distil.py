import math
from dataclasses import replace

import pytest
import torch

from medunlearn.batches import Batches
from medunlearn.methods._distil import answers, divergence, numbered

TARGET = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]], dtype=torch.float64)  # 1/4, 3/4; 1/2, 1/2
STUDENT = torch.zeros(2, 2, dtype=torch.float64)


def test_equals_closed_form_summed_over_classes_mean_over_batch():
    first = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert math.isclose(divergence(TARGET, STUDENT), first / 2, abs_tol=1e-15)


def test_order_of_arguments_matters():
    second = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert math.isclose(divergence(STUDENT, TARGET), second / 2, abs_tol=1e-15)


def test_is_zero_for_equal_answers_and_shifted_logits():
    assert divergence(TARGET, TARGET) == 0
    assert abs(float(divergence(TARGET, TARGET + 7))) < 1e-15


def test_temperature_softens_both_and_is_not_squared():
    softened = divergence(TARGET / 4, STUDENT / 4)
    assert math.isclose(divergence(TARGET, STUDENT, 4.0), softened, abs_tol=1e-15)


def test_does_not_change_with_classes_that_nobody_believes_in():
    pad = torch.full((2, 6), -1e4, dtype=torch.float64)
    wide = divergence(torch.cat([TARGET, pad], 1), torch.cat([STUDENT, pad], 1))
    assert math.isclose(wide, divergence(TARGET, STUDENT), abs_tol=1e-15)


def test_numbered_batches_carry_rows_for_labels(make_task):
    _, task = make_task()
    for inputs, rows in numbered(task.forget).ordered(4):
        assert torch.equal(inputs, task.forget.images.inputs(rows))
    assert torch.equal(numbered(task.forget).rows, task.forget.rows)


@pytest.mark.parametrize(("change", "asked"), [({}, 2), ({"max_shift": 1}, 1), ({"flip": True}, 1)])
def test_a_teacher_is_asked_once_for_each_set_or_each_time_if_images_are_augmented(
    make_task, change, asked
):
    model, task = make_task()
    shift, flip = change.get("max_shift", 0), change.get("flip", False)
    recipe = replace(task.recipe, max_shift=shift, horizontal_flip=flip)
    retain, forget = (Batches(s.images, s.rows, recipe) for s in (task.retain, task.forget))
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    answer = answers(model, retain, forget)
    rows = forget.rows[:3]
    other = torch.zeros_like(forget.images.inputs(rows))
    told = answer(other, rows)
    assert len(calls) == asked
    with torch.no_grad():
        expected = model(other if change else forget.images.inputs(rows))
    torch.testing.assert_close(told, expected, rtol=1e-4, atol=1e-5)
    assert not told.isnan().any()


def test_images_of_other_sets_have_no_answer(make_task):
    model, task = make_task()
    answer = answers(model, task.forget)
    assert answer(torch.empty(0), task.retain.rows).isnan().all()


def test_half_precision_is_not_rounded_a_second_time():
    """As in mixed precision: logits come in half, and a fifth of one is no number of it."""
    drawn = torch.randn(2, 64, 4, generator=torch.Generator().manual_seed(0))
    target, student = drawn.to(torch.bfloat16)
    exact = divergence(target.double(), student.double(), 5.0)
    assert math.isclose(divergence(target, student, 5.0), exact, rel_tol=1e-4)
