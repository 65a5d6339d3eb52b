import pytest
import torch

from medunlearn.methods import _relabel, get_method
from medunlearn.methods._relabel import other_labels


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_label_drawn_is_never_the_true_one(classes):
    labels = torch.arange(4000) % classes
    drawn = other_labels(labels, classes, torch.Generator().manual_seed(0))
    assert not (drawn == labels).any()
    shares = torch.bincount((drawn - labels) % classes, minlength=classes)[1:] / len(labels)
    assert (shares - 1 / (classes - 1)).abs().max() < 0.03


def test_labels_are_drawn_anew_each_epoch(make_task, monkeypatch):
    model, task = make_task(classes=5, forget=10)
    drawn = []
    true_loss = _relabel.cross_entropy

    def record(model, inputs, labels):
        # which image it is, whatever its place in the batch
        drawn.append(dict(zip(inputs.sum((1, 2, 3)).tolist(), labels.tolist(), strict=True)))
        return true_loss(model, inputs, labels)

    monkeypatch.setattr(_relabel, "cross_entropy", record)
    get_method("random_labels")(model, task, seed=0, epochs=3)
    assert len(drawn) == 3
    assert drawn[0].keys() == drawn[1].keys()
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


def test_wrong_labels_raise_forget_loss(trained, measure_loss):
    model, task = trained
    still, unlearned = (
        get_method("random_labels")(model, task, seed=0, epochs=1, learning_rate=rate)
        for rate in (0.0, 0.01)
    )
    assert measure_loss(unlearned, task.forget) > measure_loss(still, task.forget)
