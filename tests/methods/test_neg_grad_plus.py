import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn import training
from medunlearn.batches import Batches
from medunlearn.methods import get_method


def test_one_step_a_retain_batch_and_forget_batches_restart(make_task, monkeypatch):
    model, task = make_task(retain=65, forget=20)  # batches: 5 of retain, 2 of forget
    steps, begun = [], []
    step, epoch = training.step, Batches.epoch
    monkeypatch.setattr(training, "step", lambda *a: (steps.append(1), step(*a)))

    def counted(self, *arguments):
        begun.append(self is task.forget)
        return epoch(self, *arguments)

    monkeypatch.setattr(Batches, "epoch", counted)
    get_method("neg_grad_plus")(model, task, seed=0, epochs=3)
    assert len(steps) == 3 * task.retain.steps() == 15
    assert begun.count(True) == 8  # 15 forget batches out of epochs of two, each drawn anew


def test_step_weighs_both_sets(make_linear):
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    weight = torch.tensor([[0.5, -1.0], [0.25, 2.0]], dtype=torch.float64)
    model, task = make_linear(weight, (x, [0, 1]), (x + 1, [1, 0]))
    settings = {"epochs": 1, "learning_rate": 0.1, "alpha": 0.75}
    moved = get_method("neg_grad_plus")(model, task, seed=0, **settings)

    def slope(inputs, labels):
        return (inputs.matmul(weight.T).softmax(1) - F.one_hot(labels, 2)).T @ inputs / 2

    retain, forget = slope(x, torch.tensor([0, 1])), slope(x + 1, torch.tensor([1, 0]))
    expected = weight - 0.1 * (0.75 * retain - 0.25 * forget)
    torch.testing.assert_close(moved.weight.data, expected, rtol=0, atol=1e-15)
