import pytest
import torch

from medunlearn.methods import get_method
from medunlearn.methods._masks import largest
from medunlearn.methods._task import Task, student_of
from medunlearn.methods.salun import saliency_mask


def test_momentum_outside_the_mask_is_put_back(trained, monkeypatch):
    model, task = trained
    made, make = [], Task.optimizer
    monkeypatch.setattr(Task, "optimizer", lambda *a: (made.append(make(*a)), made[0])[1])
    masks = saliency_mask(student_of(model), task, 0.5)
    get_method("salun")(model, task, seed=0, epochs=1)
    for state, mask in zip(made[0].state.values(), masks, strict=True):
        assert not state["momentum_buffer"][~mask].any()
        assert not mask.any() or state["momentum_buffer"][mask].any()


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_weights_outside_the_mask_keep_their_bits(trained, share):
    model, task = trained
    assert task.recipe.weight_decay > 0
    assert task.recipe.momentum > 0
    masks = saliency_mask(student_of(model), task, share)
    unlearned = get_method("salun")(model, task, seed=0, epochs=2, share=share)
    for old, new, mask in zip(model.parameters(), unlearned.parameters(), masks, strict=True):
        assert torch.equal(old[~mask], new[~mask])
        assert not mask.any() or not torch.equal(old[mask], new[mask])


def test_everything_may_move_at_share_one(make_task):
    model, task = make_task()
    assert all(mask.all() for mask in saliency_mask(model, task, 1.0))


def test_saliency_is_the_summed_gradient_ranked_over_all_layers(make_linear):
    # p = 1/2 at every image: the gradient is exactly (p - y) x summed over batches of two
    forget = torch.tensor([[1.0, 8.0, 0.5], [1.0, 0.0, 0.5], [-4.0, 0.0, 0.25], [4.0, 0.0, 0.25]])
    model, task = make_linear(torch.ones(2, 3), (forget, [0] * 4), (forget, [0] * 4), batch_size=2)
    two = torch.nn.Sequential(model, torch.nn.Linear(2, 2, bias=False))
    two[1].weight.data = torch.eye(2)
    # gradients of the first layer, rows +-(.5, 2, .375): opposite images have cancelled in column
    # 0; of the second: +-.5 times its inputs' mean, (3.25, 3.25, ...), larger than all of them
    model_mask = saliency_mask(two, task, 4 / 10)
    assert model_mask[1].all()
    assert not model_mask[0].any()
    half = saliency_mask(two, task, 6 / 10)
    assert half[0].tolist() == [[False, True, False]] * 2
    assert half[1].all()


def test_gradients_left_behind_do_not_count(make_task):
    model, task = make_task()
    clean = saliency_mask(model, task, 0.5)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    assert all(map(torch.equal, clean, saliency_mask(model, task, 0.5)))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_largest_are_those_of_a_whole_sort(share):
    random = torch.Generator().manual_seed(0)
    given = [torch.randn(7, 3, generator=random), torch.randn(19, generator=random)]
    flat = torch.cat([g.abs().flatten() for g in given])
    expected = torch.zeros(40, dtype=torch.bool)
    expected[flat.argsort(descending=True)[: round(share * 40)]] = True
    chosen = largest(given, share)
    assert [c.shape for c in chosen] == [g.shape for g in given]
    assert torch.equal(torch.cat([c.flatten() for c in chosen]), expected)
