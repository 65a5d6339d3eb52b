"""Warnings before and after unlearning: what looks wrong, and what to do."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.methods._layers import forward_calls
from medunlearn.methods._task import Method, Task

SAMPLE = 1024
"""Images that are looked at, at most."""
FAR = 10.0
"""Variance of a layer's inputs relative to its running one, or its inverse, that is no chance."""
UNMOVED = 0.02
"""Mean change of the log-odds of the true class that counts as none: half a point at p = .5."""
GAIN = 0.1
"""Of balanced accuracy on the retain set: unlearning adds less to an original that was trained."""
SCALE = "give the scale it was trained with by normalise="


class Doubt(UserWarning):
    """Something looks wrong in what was given, or in the result."""


def _warn(text: str) -> None:
    warnings.warn(text, Doubt, stacklevel=4)


def _sample(batches: Batches) -> Batches:
    every = -(-len(batches) // SAMPLE)
    return Batches(batches.images, batches.rows[::every], batches.recipe)


@torch.no_grad()
def _answers(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Log-probabilities (n, classes), float64, and labels (n,); the model in evaluation mode."""
    parts = [(model(x).double().log_softmax(1), y) for x, y in batches.ordered(64)]
    answers, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    return answers, labels


def _balanced_accuracy(answers: Tensor, labels: Tensor) -> float:
    """Mean over classes of the share of right answers."""
    recalls = [(answers[labels == c].argmax(1) == c).double().mean() for c in labels.unique()]
    return float(torch.stack(recalls).mean())


def doubt_original(model: nn.Module, task: Task) -> float:
    """Warn if the network does not know its training images, or its statistics do not fit them.

    Args:
        model: The original, in evaluation mode.
        task: What to unlearn.

    Returns:
        Its balanced accuracy on the retain set.
    """
    answers, labels = _answers(model, _sample(task.retain))
    far = _far_statistics(model, task)
    guessed = getattr(task.retain.images, "normalise", None) is None
    remedy = f"uint8 was taken as (x - 127.5) / 63.75; {SCALE}" if guessed else SCALE
    if far and far[0]:
        _warn(f"the images do not have the scale that the network's first norm knows: {remedy}")
    elif any(far):
        told = f"running statistics of {sum(far)} of {len(far)} BatchNorm layers do not fit"
        _warn(
            f"{told} these images, though the scale of the input does: they have diverged, or are "
            "of other images. The statistics of the result are estimated anew on the retain set"
        )
    recall, classes = _balanced_accuracy(answers, labels), len(labels.unique())
    noise = 2 * (1 / classes * (1 - 1 / classes) / len(labels)) ** 0.5
    right, majority = (answers.argmax(1) == labels).sum(), labels.bincount().max()
    # a network trained with balanced classes may be below the majority rate in its own scale
    told = "below the majority rate" if guessed and right < majority else ""
    told = "at chance" if recall < 1 / classes + noise else told
    if told and classes > 1:
        _warn(
            f"the network answers {told} on the retain set (balanced accuracy {recall:.2f} with "
            f"{classes} classes): {remedy}, or check the numbering of the labels"
        )
    return recall


@torch.no_grad()
def _far_statistics(model: nn.Module, task: Task) -> list[bool]:
    """For each BatchNorm layer, in order, whether its inputs are far from its running statistics.

    Far: the median over channels of E[(x - running mean)^2] / running variance is not near 1.
    """
    ratios: dict[nn.Module, float] = {}

    def compare(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x, mean, variance = inputs[0], layer.running_mean, layer.running_var
        assert isinstance(mean, Tensor)
        assert isinstance(variance, Tensor)
        channels = x.transpose(0, 1).flatten(1)
        spread = (channels - mean[:, None]).square().mean(1) / (variance + 1e-12)
        ratios[layer] = float(spread.median())

    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    called = [call.module for call in forward_calls(model, task)]
    layers = [m for m in called if isinstance(m, norms) and m.running_var is not None]
    hooks = [layer.register_forward_pre_hook(compare) for layer in layers]
    model(next(_sample(task.retain).ordered(256))[0])
    for hook in hooks:
        hook.remove()
    return [not 1 / FAR < ratios[layer] < FAR for layer in layers]


def doubt_result(
    original: nn.Module,
    result: nn.Module,
    task: Task,
    method: Method,
    settings: Mapping[str, object],
    known: float,
) -> None:
    """Warn if the result is broken, answers one class only, is still the original, or far better.

    Args:
        original: In evaluation mode, its statistics estimated like the result's.
        result: In evaluation mode.
        task: What to unlearn.
        method: How it was unlearned.
        settings: All that the method was given, usual ones included.
        known: Balanced accuracy on the retain set of the original as it was given.
    """
    name = method.function.__name__
    told = ", ".join(f"{key}={settings[key]:g}" for key in method.ranges) or "no settings"
    answers, labels = _answers(result, _sample(task.retain))
    if not answers.isfinite().all():
        _warn(f"{name} diverged: its answers are not finite; take smaller settings than {told}")
        return
    if (found := _balanced_accuracy(answers, labels)) > known + GAIN:
        _warn(
            f"after {name} the network is clearly better on the retain set than the original "
            f"(balanced accuracy {found:.2f}, before {known:.2f}). Its scale may not fit: {SCALE}. "
            "Or the original was trained less than the recipe says"
        )
    before, _ = _answers(original, _sample(task.retain))
    if len(answers.argmax(1).unique()) == 1 < len(before.argmax(1).unique()):
        _warn(
            f"after {name} the network answers one class only, {int(answers[0].argmax())}, on the "
            f"retain set: choose weaker settings than {told}"
        )
    old, new = (_confidence(m, _sample(task.forget)) for m in (original, result))
    moved, still = float((new - old).abs().mean()), _same_weights(original, result)
    if method.forgets and (still or moved < UNMOVED):
        usual = ", ".join(f"{k} {low:g} to {high:g}" for k, (low, high) in method.ranges.items())
        shift = f"log-odds of the true class moved by {moved:.3f} on the forget set"
        _warn(
            f"{name} did nothing: {'no weight has changed' if still else shift}. Choose stronger "
            f"settings than {told} (usual: {usual}), or another method"
        )


def _confidence(model: nn.Module, batches: Batches) -> Tensor:
    """Log-odds of the true class, (n,)."""
    answers, labels = _answers(model, batches)
    true = answers.gather(1, labels[:, None])
    others = answers.scatter(1, labels[:, None], -torch.inf).logsumexp(1, keepdim=True)
    return true - others


def _same_weights(original: nn.Module, result: nn.Module) -> bool:
    old, new = dict(original.named_parameters()), dict(result.named_parameters())
    return old.keys() == new.keys() and all(torch.equal(old[k], new[k]) for k in old)
