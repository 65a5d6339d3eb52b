import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods._importance import batch_importances, importances, label_loss
from medunlearn.methods.fisher import fisher_information
from medunlearn.methods.lfssd import squared_norm


def sum_over_images(model, batches, score, measure):
    """The definition, image by image, in double precision."""
    model = model.double().eval()
    weights = list(model.parameters())
    sums = [torch.zeros_like(p) for p in weights]
    for inputs, labels in batches.ordered(1):
        slopes = torch.autograd.grad(score(model(inputs.double())[0], labels[0]), weights)
        for total, slope in zip(sums, slopes, strict=True):
            total += measure(slope)
    return sums


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-6 * float(b.max()))


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize(
    ("score", "measure"), [(label_loss, torch.square), (squared_norm, torch.abs)]
)
def test_equals_a_loop_over_images(make_task, norm, score, measure):
    model, task = make_task(norm=norm, retain=70)  # more than are worked at once
    model.train()  # the statistics of a batch would mix its images
    found = importances(model, task.retain, score, measure)
    assert found.number == 70
    assert_same(found.sums, sum_over_images(model, task.retain, score, measure))


def test_of_batches_squares_means(make_linear):
    x = torch.tensor([[2.0, 4.0], [6.0, 8.0], [2.0, 0.0]])
    model, task = make_linear(torch.ones(2, 2), (x, [0, 0, 0]), (x, [0, 0, 0]))
    # p = 1/2: gradients of the rows are -+x/2
    found = batch_importances(model, task.retain, 2)
    assert found.number == 2
    assert torch.equal(found.sums[0], torch.tensor([[2.0**2 + 1, 3.0**2]] * 2))
    assert torch.equal(importances(model, task.retain).sums[0], torch.tensor([[11.0, 20.0]] * 2))


def test_fisher_is_the_expectation_over_the_models_own_labels(make_task):
    model, task = make_task(classes=3, retain=20)
    found = fisher_information(model, task)
    model = model.double().eval()
    weights = list(model.parameters())
    expected = [torch.zeros_like(p) for p in weights]
    for inputs, _ in task.retain.ordered(1):
        for label in range(3):
            logits = model(inputs.double())
            probability = float(logits.softmax(1)[0, label].detach())
            slopes = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([label])), weights)
            for total, slope in zip(expected, slopes, strict=True):
                total += probability * slope.square() / 20
    assert_same(found, expected)
