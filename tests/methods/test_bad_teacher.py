import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods._distil import forget_and_some_retain
from medunlearn.methods._layers import fresh_network
from medunlearn.methods._task import method_stream
from medunlearn.methods.bad_teacher import bad_teacher


def test_the_mixture_holds_the_forget_set_and_a_share_of_the_retain_set(make_task):
    _, task = make_task(retain=60)
    mixture = forget_and_some_retain(task, 0.3, torch.Generator())
    is_forget = mixture.images.labels[mixture.rows] == 1
    assert torch.equal(mixture.rows[is_forget], task.forget.rows)
    kept = set(mixture.rows[~is_forget].tolist())
    assert len(kept) == 18
    assert kept < set(task.retain.rows.tolist())
    assert mixture.images.pixels is task.retain.images.pixels


def test_another_generator_draws_another_part(make_task):
    _, task = make_task()
    one, two = (
        forget_and_some_retain(task, 0.3, torch.Generator().manual_seed(k)).rows for k in (0, 1)
    )
    assert not torch.equal(one, two)


@torch.no_grad()
def test_forget_images_learn_from_the_random_network_and_retain_images_from_the_original(
    make_task, monkeypatch
):
    model, task = make_task()
    losses = []
    monkeypatch.setattr(
        "medunlearn.methods.bad_teacher.train_epoch", lambda *_, loss: losses.append(loss)
    )
    bad_teacher(model, task, seed=0, epochs=1)
    bad = fresh_network(task, method_stream("bad_teacher", 0)).eval()
    inputs, _ = next(task.forget.ordered())
    student = F.log_softmax(2 * model(inputs), dim=1)
    for teacher, membership in ((model, 0), (bad, 1)):
        target = F.softmax(teacher(inputs), dim=1)
        expected = (target * (target.log() - student)).sum(1).mean()
        value = losses[0](lambda x: 2 * model(x), inputs, torch.full((len(inputs),), membership))
        assert float(value) == pytest.approx(float(expected), rel=1e-4)
        assert float(expected) > 0


def test_the_random_network_shares_no_weight_with_the_original(make_task):
    model, task = make_task()
    bad = fresh_network(task, method_stream("bad_teacher", 0))
    for one, two in zip(model.parameters(), bad.parameters(), strict=True):
        assert one.ndim < 2 or not (one == two).any()
