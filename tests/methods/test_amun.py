import copy

import pytest
import torch
from torch import nn

from medunlearn.batches import Batches
from medunlearn.methods._adversarial import WithAttacked
from medunlearn.methods.amun import amun, nearest_mistakes
from medunlearn.training import train


@pytest.fixture(scope="module")
def trained(make_task):
    """An original that has learnt most of its images, and the task."""
    _, task = make_task(forget=24)
    rows = torch.cat([task.retain.rows, task.forget.rows])
    return train(Batches(task.retain.images, rows, task.recipe), task.recipe, seed=1), task


@pytest.fixture
def learnt(monkeypatch):
    """The sets of images given to each epoch, in place of training."""
    seen = []
    monkeypatch.setattr(
        "medunlearn.methods.amun.train_epoch", lambda _, batches, *__: seen.append(batches)
    )
    return seen


def test_a_walk_ends_at_the_first_step_across_a_plane_at_known_distance():
    # logits 0 and x[0] - .5: the plane lies .5 input units, that is .125 pixel units, away
    layer = nn.Linear(4, 2)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[1, 0] = 1
        layer.bias.copy_(torch.tensor([0, -0.5]))
    model = nn.Sequential(nn.Flatten(), layer)
    start, label = torch.zeros(1, 1, 2, 2), torch.tensor([0])
    # .04 and .08 are too near; from there steps of .016 at radius .16: .096, .112, .128
    walked, answer = nearest_mistakes(model, start, label, 0.04, 50, 2)
    assert answer.tolist() == [1]
    torch.testing.assert_close(walked.flatten(), torch.tensor([4 * 0.128, 0, 0, 0]))
    walked, answer = nearest_mistakes(model, start, label, 0.04, 50, 1)
    assert answer.tolist() == [0]
    torch.testing.assert_close(walked.flatten(), torch.tensor([4 * 0.08, 0, 0, 0]))


def test_mistakes_are_real_within_the_last_radius_and_valid_images(trained):
    model, task = trained
    inputs, labels = next(task.forget.ordered())
    walked, answers = nearest_mistakes(model, inputs, labels, 0.04, 20, 5)
    found = answers != labels
    assert found.float().mean() > 0.5
    assert torch.equal(model(walked).argmax(1) != labels, found)
    assert torch.equal(model(walked)[found].argmax(1), answers[found])
    assert (walked - inputs).flatten(1).norm(dim=1).max() <= 4 * 0.04 * 2**5 * (1 + 1e-5)
    assert walked.abs().max() <= 2


def test_images_that_are_wrong_from_the_start_do_not_walk(trained):
    model, task = trained
    inputs, _ = next(task.forget.ordered())
    wrong = (model(inputs).argmax(1) + 1) % 3
    walked, answers = nearest_mistakes(model, inputs, wrong, 0.04, 5, 1)
    assert torch.equal(walked, inputs)
    assert torch.equal(answers, model(inputs).argmax(1))


def test_it_learns_both_sets_with_true_labels_and_attacked_images_with_wrong_ones(trained, learnt):
    trained_model, task = trained
    model = copy.deepcopy(trained_model)
    inputs, labels = next(task.forget.ordered())
    with torch.no_grad():  # half of the images of other classes are now taken for class 0
        lead = model(inputs).max(1).values - model(inputs)[:, 0]
        model.fc.bias[0] += lead[labels != 0].median()
    amun(model, task, seed=0, epochs=1)
    (inputs, labels), known = next(learnt[0].ordered()), len(task.retain) + len(task.forget)
    parts = [next(part.ordered()) for part in (task.retain, task.forget)]
    assert torch.equal(inputs[:known], torch.cat([x for x, _ in parts]))
    assert torch.equal(labels[:known], torch.cat([y for _, y in parts]))
    forget_inputs, forget_labels = parts[1]
    right = model(forget_inputs).argmax(1) == forget_labels
    assert 0 < right.sum() < len(right)
    _, answers = nearest_mistakes(model, forget_inputs, forget_labels, 0.04, 10, 6)
    led_astray = right & (answers != forget_labels)
    assert torch.equal(labels[known:], answers[led_astray])
    assert torch.equal(model(inputs[known:]).argmax(1), labels[known:])


def test_images_still_right_at_the_last_radius_are_left_out(trained, learnt):
    model, task = trained
    amun(model, task, seed=0, epochs=1, radius=1e-6, steps=2, doublings=0)
    assert len(learnt[0]) == len(task.retain) + len(task.forget)


def test_the_attack_is_billed_as_preparation(trained, learnt):
    model, task = trained
    amun(model, task, seed=0, epochs=0)
    prepared, learning = (task.clock.regions[name] for name in ("preparation", "unlearning"))
    assert prepared.cpu_seconds > learning.cpu_seconds  # whatever else the machine does
    assert learnt == []


def test_rows_beyond_the_images_are_the_attacked_ones_and_no_others(make_task):
    """The first and the last of each kind, in one batch."""
    images = make_task()[1].retain.images
    known = len(images.pixels)
    attacked = torch.full((3, 1, 16, 16), 0.5) + torch.arange(3.0)[:, None, None, None]
    both = WithAttacked(images.pixels, images.labels, images.patients, images, attacked)
    given = both.inputs(torch.tensor([known, 0, known + 2, known - 1]))
    assert torch.equal(given[[0, 2]], attacked[[0, 2]])
    assert torch.equal(given[[1, 3]], images.inputs(torch.tensor([0, known - 1])))
    assert given.is_contiguous(memory_format=torch.channels_last)
