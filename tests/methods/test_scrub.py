from dataclasses import replace

import pytest
import torch

from medunlearn.batches import Batches
from medunlearn.errors import InputError
from medunlearn.methods import _scrub, get_method

WEIGHT = torch.tensor([[0.5, -1.0], [0.25, 2.0], [1.0, 0.0]], dtype=torch.float64)
RETAIN = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 1.0]], dtype=torch.float64)
FORGET = torch.tensor([[-1.0, 1.0], [2.0, 2.0]], dtype=torch.float64)


@pytest.fixture
def passes(monkeypatch):
    """Record which set each pass is over, and at what rate and batch size; learn nothing."""
    seen = []

    def record(_, batches, optimizer, *__, batch_size=None, **___):
        seen.append((len(batches), optimizer.param_groups[0]["lr"], batch_size, optimizer))

    monkeypatch.setattr(_scrub, "train_epoch", record)
    return seen


def orders(seen, task):
    return "".join("f" if size == len(task.forget) else "r" for size, *_ in seen)


@pytest.mark.parametrize(
    ("epochs", "msteps", "expected"),
    [(3, 2, "frfrr"), (1, 2, "fr"), (3, 3, "frfrfr"), (2, 0, "rr"), (3, 1, "frrr")],
)
def test_exactly_msteps_max_passes_each_before_its_min_pass(
    make_task, passes, epochs, msteps, expected
):
    model, task = make_task()
    get_method("scrub")(model, task, seed=0, epochs=epochs, msteps=msteps)
    assert orders(passes, task) == expected
    assert len({id(optimizer) for *_, optimizer in passes}) == 1


def test_forget_batches_are_smaller(make_task, passes):
    model, task = make_task()
    get_method("scrub")(model, task, seed=0, epochs=1)
    assert [size for *_, size, _ in passes] == [task.recipe.batch_size // 2, None]


@pytest.mark.parametrize(
    ("epochs", "milestone", "expected"),
    [(1, 1, [1]), (3, 2, [1, 1, 0.1]), (3, 3, [1, 1, 1]), (1, 0, [0.1])],
)
def test_rate_falls_strictly_after_the_milestone(make_task, passes, epochs, milestone, expected):
    model, task = make_task()
    settings = {"epochs": epochs, "msteps": 0, "learning_rate": 1.0, "milestone": milestone}
    get_method("scrub")(model, task, seed=0, **settings)
    assert [rate for _, rate, *_ in passes] == expected


@pytest.mark.parametrize("name", ["scrub", "scrub_r"])
def test_the_authors_optimiser_for_small_data_is_chosen_by_name(make_task, passes, name):
    model, task = make_task()
    get_method(name)(model, task, seed=0, epochs=1, optimizer="adam", learning_rate=5e-4)
    optimizer = passes[0][-1]
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.param_groups[0]["weight_decay"], passes[0][1]) == (0.1, 5e-4)
    with pytest.raises(InputError, match="optimizer 'Adam'; choose from sgd, adam"):
        get_method(name)(model, task, seed=0, optimizer="Adam")


def soft(logits):
    return (logits - logits.logsumexp(1, keepdim=True)).exp()


def test_equals_steps_worked_by_hand(make_linear):
    labels = torch.tensor([0, 1, 2])
    settings = {"alpha": 0.7, "temperature": 3.0, "learning_rate": 0.05, "milestone": 2}
    settings["epochs"] = 3
    model, task = make_linear(
        WEIGHT, (RETAIN, [0, 1, 2]), (FORGET, [0, 1]), momentum=0.9, weight_decay=0.01
    )
    student, velocity = WEIGHT.clone(), torch.zeros_like(WEIGHT)

    def answers(x):
        return soft(x @ student.T / 3), soft(x @ WEIGHT.T / 3)

    def descend(slope, rate):
        nonlocal student, velocity
        velocity = 0.9 * velocity + slope + 0.01 * student
        student = student - rate * velocity

    for rate, ascends in ((0.05, True), (0.05, True), (0.005, False)):
        if ascends:
            # d/ds of KL(teacher, student) at temperature T is (p_s - p_t) / T; times T^2: T
            own, teachers = answers(FORGET)
            descend(-3 * (own - teachers).T @ FORGET / 2, rate)
        own, teachers = answers(RETAIN)
        errors = soft(RETAIN @ student.T) - torch.nn.functional.one_hot(labels, 3)
        descend((errors + 0.7 * 3 * (own - teachers)).T @ RETAIN / 3, rate)
    result = get_method("scrub")(model, task, seed=0, **settings).weight.data
    torch.testing.assert_close(result, student, rtol=0, atol=1e-14)
    assert torch.equal(result.float(), student.float())  # to the last bit of single precision


def with_recipe(task, **changes):
    """The same task under another recipe."""
    recipe = replace(task.recipe, **changes)
    parts = {
        name: Batches(part.images, part.rows, recipe)
        for name, part in (("retain", task.retain), ("forget", task.forget))
    }
    return replace(task, recipe=recipe, **parts)


def watch_teacher(monkeypatch, task, settings, model):
    """What the teacher answered to each batch, and what the student was shown."""
    told, shown, train_epoch = [], [], _scrub.train_epoch

    def divergence(target, logits, _):
        told.append(target.detach().clone())
        return (target - logits).pow(2).sum()

    def watch(student, *arguments, loss, **others):
        def seen(network, inputs, rows):
            shown.append((inputs, rows))
            return loss(network, inputs, rows)

        train_epoch(student, *arguments, loss=seen, **others)

    monkeypatch.setattr(_scrub, "divergence", divergence)
    monkeypatch.setattr(_scrub, "train_epoch", watch)
    get_method("scrub")(model, task, seed=0, **settings)
    return told, shown


@pytest.mark.parametrize("shift", [0, 2])
def test_teacher_never_moves_and_sees_what_the_student_sees(trained, monkeypatch, shift):
    model, task = trained
    task = with_recipe(task, max_shift=shift)
    told, shown = watch_teacher(monkeypatch, task, {"epochs": 2, "learning_rate": 0.1}, model)
    assert len(told) == len(shown) == 2 * (5 + 2)  # of 65 images by 16, and of 9 by 8
    with torch.no_grad():
        for answer, (inputs, rows) in zip(told, shown, strict=True):
            torch.testing.assert_close(answer, model(inputs), rtol=1e-4, atol=1e-5)
            plain = task.retain.images.inputs(rows)
            assert torch.equal(inputs, plain) == (shift == 0)
