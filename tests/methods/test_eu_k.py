import torch

from medunlearn import training
from medunlearn.methods import get_method
from medunlearn.methods._blocks import tail_names
from medunlearn.training import initial_state


def start_of(monkeypatch, model, task, **settings):
    """The student before its first epoch."""
    started = []

    def record(student, *_, **__):
        started.append({k: v.clone() for k, v in student.state_dict().items()})

    with monkeypatch.context() as patched:
        patched.setattr(training, "train_epoch", record)
        get_method("eu_k")(model, task, **settings)
    return started[0]


def test_tail_starts_from_a_seed_of_its_own(trained, monkeypatch):
    model, task = trained  # an original of seed 0
    start = start_of(monkeypatch, model, task, seed=0, k=2)
    other = start_of(monkeypatch, model, task, seed=1, k=2)
    first = initial_state(task.recipe, 0, "cpu").state_dict()
    for name, old in model.state_dict().items():
        if name.rsplit(".", 1)[0] not in tail_names(model, task, 2):
            assert torch.equal(start[name], old)
        elif name.endswith("running_var"):
            assert (start[name] == 1).all()
        elif old.ndim > 1:
            for seen in (old, other[name], first[name]):
                assert not (start[name] == seen).any(), name


def test_takes_the_full_original_schedule(make_task, monkeypatch):
    model, task = make_task()
    rates = []
    step = training.step

    def record(student, optimizer, loss):
        rates.append(optimizer.param_groups[0]["lr"])
        step(student, optimizer, loss)

    monkeypatch.setattr(training, "step", record)
    training.train(task.retain, task.recipe, seed=0)
    schedule = rates.copy()
    rates.clear()
    get_method("eu_k")(model, task, seed=0)
    assert rates == schedule
    assert len(rates) == task.recipe.epochs * task.retain.steps()
