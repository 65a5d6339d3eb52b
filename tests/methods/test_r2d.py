from dataclasses import replace

import numpy as np
import pytest
import torch

from medunlearn.batches import Batches
from medunlearn.errors import InputError
from medunlearn.methods import get_method, r2d
from medunlearn.training import initial_state, torch_stream, train


def rewound(task, epochs: int, seed: int = 0):
    """An original that forget and retain set trained, and a task with its checkpoint."""
    recipe, kept = replace(task.recipe, epochs=epochs), []
    rows = np.arange(len(task.retain) + len(task.forget))
    both = Batches(task.retain.images, rows, recipe)
    model = train(both, recipe, seed=seed, checkpoint=kept.append)
    (checkpoint,) = kept
    return model, replace(task, recipe=recipe, checkpoint=checkpoint)


def states_equal(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_rewound_to_the_start_it_is_retraining(make_task, monkeypatch):
    """Of one epoch the last fifth is all of it; given retraining's batches, bit for bit."""
    model, task = rewound(make_task()[1], epochs=1)
    assert states_equal(task.checkpoint, initial_state(task.recipe, 0, "cpu"))
    monkeypatch.setattr(r2d, "method_stream", lambda _, seed: torch_stream("batches", seed))
    result = get_method("r2d")(model, task, seed=0)
    assert states_equal(result, get_method("retrain")(model, task, seed=0))


@pytest.mark.parametrize(("epochs", "last"), [(1, 1), (4, 1), (10, 2)])
def test_the_checkpoint_is_a_fifth_before_the_end(make_task, monkeypatch, epochs, last):
    _, task = make_task(retain=33)
    early, passes = [], []
    monkeypatch.setattr(
        "medunlearn.training.train_epoch", lambda *_, **__: passes.append(len(early))
    )
    train(task.retain, replace(task.recipe, epochs=epochs), seed=0, checkpoint=early.append)
    assert passes == [0] * (epochs - last) + [1] * last


def test_a_checkpoint_does_not_change_the_training(make_task):
    _, task = make_task(retain=33)
    recipe = replace(task.recipe, epochs=2)
    plain = train(task.retain, recipe, seed=0)
    assert states_equal(plain, train(task.retain, recipe, seed=0, checkpoint=[].append))


def test_it_follows_the_last_part_of_the_schedule(make_task, monkeypatch):
    model, task = make_task(retain=33)
    recipe = replace(task.recipe, epochs=10)
    rates = []
    step = torch.optim.SGD.step

    def record(self, *arguments):
        rates.append((self.param_groups[0]["lr"], self.param_groups[0]["momentum"]))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", record)
    train(task.retain, recipe, seed=0)
    whole, rates[:] = list(rates), []
    get_method("r2d")(model, replace(task, recipe=recipe), seed=0)
    assert rates == whole[-2 * task.retain.steps() :]


@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_the_noise_has_the_stated_deviation_in_every_parameter(make_task, sigma):
    model, task = make_task()
    exact, noisy = (get_method("r2d")(model, task, seed=0, sigma=s) for s in (0.0, sigma))
    moved = [
        (new - old).detach().flatten()
        for old, new in zip(exact.parameters(), noisy.parameters(), strict=True)
    ]
    everything = torch.cat(moved)
    assert float(everything.std()) == pytest.approx(sigma, rel=0.02)
    assert abs(float(everything.mean())) < 4 * sigma / len(everything) ** 0.5
    assert all(float(part.abs().max()) > 0 for part in moved)
    assert all(map(torch.equal, exact.buffers(), noisy.buffers()))


def test_without_a_checkpoint_it_says_what_it_needs(make_task):
    model, task = make_task()
    with pytest.raises(
        InputError, match=r"r2d: needs a checkpoint, the original as it was 1 epoch"
    ):
        get_method("r2d")(model, replace(task, checkpoint=None), seed=0)
