import pytest
import torch

from medunlearn.errors import InputError
from medunlearn.methods import get_method, scrub_r
from medunlearn.methods.scrub_r import reference_error


def test_reference_weighs_classes_as_the_forget_set_does():
    wrong, images = torch.tensor([1, 3]), torch.tensor([4, 4])
    assert reference_error(wrong, images, torch.tensor([9, 1])) == pytest.approx(0.3)
    assert reference_error(wrong, images, torch.tensor([0, 5])) == 0.75


def test_class_without_held_out_images_is_left_out():
    wrong, images = torch.tensor([1, 0]), torch.tensor([4, 0])
    assert reference_error(wrong, images, torch.tensor([5, 5])) == 0.25
    with pytest.raises(InputError, match="no held-out image"):
        reference_error(wrong, images, torch.tensor([0, 5]))


@pytest.mark.parametrize(
    ("forget_errors", "final_held_out_error", "chosen"),
    [
        ([0, 2, 4], 0.5, 1),  # the middle one is at .5
        ([0, 2, 4], 1.0, 2),
        ([0, 2, 4], 0.0, 0),
        ([2, 2, 4], 0.5, 1),  # the latest of equals
    ],
)
def test_returns_the_student_nearest_to_the_final_ones_reference(
    make_linear, monkeypatch, forget_errors, final_held_out_error, chosen
):
    # Images 0-3 are to be forgotten, 4-7 held out, all of class 0; the student's weights say which
    # it gets right. Held-out errors of earlier students would mislead: those get all of them wrong.
    eye = torch.eye(8)
    model, task = make_linear(
        torch.zeros(2, 8), (eye[:1], [0]), (eye[:4], [0] * 4), (eye[4:], [0] * 4)
    )
    students = []
    for epoch, errors in enumerate(forget_errors):
        right = torch.full((8,), -1.0 - epoch)
        right[errors:4] = 1
        students.append(right)
    students[-1][4 + int(4 * final_held_out_error) :] = 1

    def yield_students(model, *_):
        for right in students:
            model.weight.data = torch.stack([right, torch.zeros(8)])
            yield model  # one module, changed in place: a checkpoint must be a copy

    monkeypatch.setattr(scrub_r, "scrub_epochs", yield_students)
    result = get_method("scrub_r")(model, task, seed=0)
    assert torch.equal(result.weight[0], students[chosen])
    assert "preparation" in task.clock.regions


def test_never_learns_from_held_out_images(make_task, monkeypatch):
    model, task = make_task()

    def refuse(*_):
        raise AssertionError("learnt from")

    monkeypatch.setattr(task.holdout, "epoch", refuse)
    monkeypatch.setattr(task.holdout, "endless", refuse)
    get_method("scrub_r")(model, task, seed=0)
