"""Warnings before and after unlearning: what looks wrong, and what to do."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.methods._task import Method, Task

SAMPLE = 1024
"""Images that are looked at, at most."""
UNMOVED = 0.02
"""Mean change of the log-odds of the true class that counts as none: half a point at p = .5."""
GAIN = 0.1
"""Of balanced accuracy: more than statistics that fit gain by being estimated once more."""
SCALE = "give the scale that it was trained with by normalise="


class Doubt(UserWarning):
    """Something looks wrong in what was given, or in the result."""


def _warn(text: str) -> None:
    warnings.warn(text, Doubt, stacklevel=4)


@torch.no_grad()
def _answers(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Log-probabilities (n, classes), float64, and labels (n,); the model in evaluation mode."""
    every = -(-len(batches) // SAMPLE)
    sample = Batches(batches.images, batches.rows[::every], batches.recipe)
    parts = [(model(x).double().log_softmax(1), y) for x, y in sample.ordered(64)]
    answers, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    return answers, labels


def _balanced_accuracy(answers: Tensor, labels: Tensor) -> float:
    """Mean over classes of the share of right answers."""
    recalls = [(answers[labels == c].argmax(1) == c).double().mean() for c in labels.unique()]
    return float(torch.stack(recalls).mean())


def doubt_original(model: nn.Module, task: Task) -> float:
    """Warn if the network does not know its training images.

    Args:
        model: The original, in evaluation mode.
        task: What to unlearn.

    Returns:
        Its balanced accuracy on the retain set.
    """
    answers, labels = _answers(model, task.retain)
    recall, classes = _balanced_accuracy(answers, labels), len(labels.unique())
    noise = 2 * (1 / classes * (1 - 1 / classes) / len(labels)) ** 0.5
    if recall < 1 / classes + noise and classes > 1:
        _warn(
            f"the network answers at chance on the retain set (balanced accuracy {recall:.2f} with "
            f"{classes} classes): {SCALE}, or check the numbering of the labels"
        )
    return recall


def doubt_result(
    original: nn.Module,
    result: nn.Module,
    task: Task,
    method: Method,
    settings: Mapping[str, object],
    known: float,
) -> None:
    """Warn if statistics did not fit, or the result is broken, of one class, or still the original.

    Args:
        original: In evaluation mode, its statistics estimated anew on the retain set.
        result: In evaluation mode, of a method that forgets with such statistics, too.
        task: What to unlearn.
        method: How it was unlearned.
        settings: All that the method was given, usual ones included.
        known: Balanced accuracy on the retain set of the original as it was given.
    """
    name = method.function.__name__
    told = ", ".join(f"{key}={settings[key]:g}" for key in method.ranges) or "no settings"
    before, labels = _answers(original, task.retain)
    if (fitting := _balanced_accuracy(before, labels)) > known + GAIN:
        _warn(
            "running statistics of BatchNorm do not fit these images (balanced accuracy on the "
            f"retain set {known:.2f}; with statistics of these images {fitting:.2f}): {SCALE}. If "
            "it is right, they have diverged; those of the result are estimated anew"
        )
    answers, _ = _answers(result, task.retain)
    if not answers.isfinite().all():
        _warn(f"{name} diverged: its answers are not finite; take smaller settings than {told}")
        return
    if len(answers.argmax(1).unique()) == 1 < len(before.argmax(1).unique()):
        _warn(
            f"after {name} the network answers one class only, {int(answers[0].argmax())}, on the "
            f"retain set: choose weaker settings than {told}"
        )
    old, new = (_confidence(*_answers(network, task.forget)) for network in (original, result))
    moved = float((new - old).abs().mean())
    if method.forgets and moved < UNMOVED:
        _warn(
            f"{name} did nothing: log-odds of the true class moved by {moved:.3f} on the forget "
            f"set. Choose stronger settings than {told}, or another method"
        )


def _confidence(answers: Tensor, labels: Tensor) -> Tensor:
    """Log-odds of the true class, (n,)."""
    true = answers.gather(1, labels[:, None])
    others = answers.scatter(1, labels[:, None], -torch.inf).logsumexp(1, keepdim=True)
    return true - others
