import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods import munba
from medunlearn.methods._relabel import other_labels
from medunlearn.methods._task import method_stream


def gradients(seed: int, cosine: float, sizes=(3.0, 0.2)) -> list[torch.Tensor]:
    """Two gradients of seven weights, in double precision."""
    random = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(7, 2, generator=random, dtype=torch.float64))
    one, other = basis.T
    return [sizes[0] * one, sizes[1] * (cosine * one + (1 - cosine**2) ** 0.5 * other)]


def split(vector):
    return [vector[:4].view(2, 2), vector[4:]]


@pytest.mark.parametrize("cosine", [-0.99, -0.3, 1e-3, 0.5, 0.99])
def test_weights_solve_the_bargain_and_are_those_of_the_paper(cosine):
    g_r, g_u = gradients(0, cosine)
    a_r, a_u = munba.bargain(split(g_r), split(g_u))
    together = a_r * g_r + a_u * g_u
    # G^T G a = 1 / a
    torch.testing.assert_close(g_r @ together, 1 / a_r)
    torch.testing.assert_close(g_u @ together, 1 / a_u)
    g1, g2, g3 = g_r @ g_r, g_r @ g_u, g_u @ g_u
    root = (g1 * g3).sqrt()
    paper = ((g1 * g3 - g2 * root) / (g1**2 * g3 - g1 * g2**2)).sqrt()
    torch.testing.assert_close(a_r, paper)
    torch.testing.assert_close(a_u, (1 - g1 * paper**2) / (g2 * paper))
    assert float(together.norm()) == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("retain", "forget"),
    [
        pytest.param([0.0, 0.0], [1.0, 2.0], id="nothing to keep"),
        pytest.param([1.0, 2.0], [0.0, 0.0], id="nothing to forget"),
        pytest.param([1.0, 2.0], [-2.0, -4.0], id="opposite"),
        pytest.param([float("nan"), 2.0], [1.0, 1.0], id="blown up"),
    ],
)
def test_without_a_bargain_the_weights_are_one_and_a_tenth(retain, forget):
    found = munba.bargain([torch.tensor(retain)], [torch.tensor(forget)])
    torch.testing.assert_close(found, torch.tensor([1.0, 0.1]))


def test_equals_a_step_worked_by_hand(make_linear):
    """One retain and one forget batch: the step of length .1 along the sum of the unit vectors."""
    weight = torch.tensor([[0.5, -1.0], [0.25, 2.0], [1.0, 0.0]], dtype=torch.float64)
    retain = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    forget = torch.tensor([[-1.0, 1.0], [2.0, 2.0]], dtype=torch.float64)
    model, task = make_linear(weight, (retain, [0, 1]), (forget, [0, 1]))
    result = munba.munba(model, task, seed=0, epochs=1, learning_rate=0.1).weight.data

    generator = method_stream("munba", 0)
    next(task.retain.epoch(generator))
    _, true = next(task.forget.epoch(generator))
    order = [0, 1] if true.tolist() == [0, 1] else [1, 0]
    drawn = other_labels(true, 3, generator)

    def slope(inputs, labels):
        errors = (inputs @ weight.T).softmax(1) - F.one_hot(labels, 3)
        return errors.T @ inputs / len(inputs)

    g_r, g_u = slope(retain, torch.tensor([0, 1])), slope(forget[order], drawn)
    direction = F.normalize(g_r.flatten(), dim=0) + F.normalize(g_u.flatten(), dim=0)
    step = 0.1 * F.normalize(direction, dim=0).view_as(weight)
    torch.testing.assert_close(result, weight - step, rtol=0, atol=1e-6)  # clipping adds 1e-6


def test_each_epoch_bargains_once_for_every_forget_batch(make_task, monkeypatch):
    model, task = make_task(retain=65, forget=20)  # batches: 5 of retain, 2 of forget
    bargains, plain = [], []
    bargain, step = munba.bargain, munba.step
    monkeypatch.setattr(munba, "bargain", lambda *a: (bargains.append(1), bargain(*a))[1])
    monkeypatch.setattr(munba, "step", lambda *a: (plain.append(1), step(*a))[1])
    munba.munba(model, task, seed=0, epochs=3)
    assert (len(bargains), len(plain)) == (6, 9)
