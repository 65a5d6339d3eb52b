import math

import torch

from medunlearn.methods._distil import divergence

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
