import math

import pytest
import torch

from medunlearn.methods import get_method
from medunlearn.methods._importance import importances
from medunlearn.methods.lfssd import squared_norm

# Equal rows: p is exactly 1/2, the gradient of each row is -+x/2, its square x^2/4.
WEIGHT = torch.tensor([[1.0, -3.0, 0.5, 2.0]] * 2)
FORGET = torch.tensor([[8.0, 4.0, 0.0, 2.0], [8.0, 0.0, 0.0, 2.0]])
RETAIN = torch.tensor([[0.0, 4.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
# F_f = 16, 2, 0, 1; F_r = 0, 2, 1, 1; F_D, over all of D, = 8, 2, 1/2, 1; F_f / F_D = 2, 1, 0, 1


@pytest.mark.parametrize(
    ("alpha", "dampening", "factors"),
    [
        (1.5, 1.0, [0.5, 1.0, 1.0, 1.0]),
        (1.5, 0.5, [0.25, 1.0, 1.0, 1.0]),
        (1.5, 4.0, [1.0, 1.0, 1.0, 1.0]),  # never made larger
        (0.5, 0.5, [0.25, 0.5, 1.0, 0.5]),
        (1.0, 0.5, [0.25, 1.0, 1.0, 1.0]),  # strictly above alpha
        (2.0, 1.0, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_equals_steps_worked_by_hand(make_linear, alpha, dampening, factors):
    model, task = make_linear(WEIGHT, (RETAIN, [0, 1]), (FORGET, [0, 1]))
    damped = get_method("ssd")(model, task, seed=0, alpha=alpha, dampening=dampening)
    assert torch.equal(damped.weight, WEIGHT * torch.tensor(factors))


def test_per_batch_squares_the_mean_of_a_batch(make_linear):
    # three forget images with one gradient, six retain images whose gradients cancel in pairs
    forget, retain = torch.full((3, 1), 2.0), torch.full((6, 1), 2.0)
    model, task = make_linear(
        torch.ones(2, 1), (retain, [0, 1] * 3), (forget, [0] * 3), batch_size=6
    )
    by_image, by_batch = (
        get_method("ssd")(model, task, seed=0, alpha=1.5, per_batch=per_batch)
        for per_batch in (False, True)
    )
    assert torch.equal(by_image.weight, model.weight)  # F is 1 on each set
    assert torch.equal(by_batch.weight, model.weight / 2)  # 1 on the forget set, 0 on the other


@pytest.mark.parametrize(("name", "settings"), [("ssd", ()), ("lfssd", (squared_norm, torch.abs))])
def test_only_weights_above_alpha_change(trained, name, settings):
    model, task = trained
    of_forget = importances(model, task.forget, *settings)
    of_retain = importances(model, task.retain, *settings)
    damped = get_method(name)(model, task, seed=0, alpha=1.2)
    everything = of_forget.number + of_retain.number
    selected = []
    for old, new, f, r in zip(
        model.parameters(), damped.parameters(), of_forget.sums, of_retain.sums, strict=True
    ):
        mask = f / of_forget.number > 1.2 * ((f + r) / everything)
        assert torch.equal(old[~mask], new[~mask])
        assert (new[mask].abs() <= old[mask].abs()).all()
        selected.append(mask.flatten())
        assert not (old[mask & (old != 0)] == new[mask & (old != 0)]).any()
    assert 0 < torch.cat(selected).float().mean() < 0.9
    assert all(map(torch.equal, model.buffers(), damped.buffers()))


@pytest.mark.parametrize(("name", "settings"), [("ssd", ()), ("lfssd", (squared_norm, torch.abs))])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_usually_a_percentile_of_the_ratios_is_damped(trained, name, settings, scale):
    """Of 74 images 9 are forgotten: the largest ln(1 + 100 * 9 / 74) % of the ratios."""
    model, task = trained
    of_forget = importances(model, task.forget, *settings)
    of_retain = importances(model, task.retain, *settings)
    ratios = torch.cat(
        [
            (f / (f + r)).flatten().nan_to_num(0)
            for f, r in zip(of_forget.sums, of_retain.sums, strict=True)
        ]
    )
    share = scale * math.log(1 + 100 * 9 / 74) / 100
    above = ratios > ratios.quantile(1 - share)
    damped = get_method(name)(model, task, seed=0, share_scale=scale)
    old, new = (torch.cat([p.flatten() for p in m.parameters()]) for m in (model, damped))
    assert ((old != new) & ~above).sum() <= 1  # at the percentile itself
    assert (old == new)[above & (old != 0)].sum() <= 1
