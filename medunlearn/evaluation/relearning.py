"""How fast the forget set comes back when training goes on without it."""

import copy

import pandas as pd
import torch
from torch import nn

from medunlearn.batches import Batches, Recipe
from medunlearn.evaluation.scores import label_confidence
from medunlearn.training import cross_entropy, sgd, step, torch_stream


def relearn(
    model: nn.Module,
    retain: Batches,
    forget: Batches,
    recipe: Recipe,
    *,
    seed: int,
    steps: int,
    every: int,
    learning_rate: float,
) -> pd.DataFrame:
    """Fine-tune a copy on the retain set alone, and look at the forget set as it goes.

    The forget set is never trained on. What returns faster than in the retrained model, under the
    same batches, was hidden and not gone.

    Source: relearning, as in Golatkar et al., CVPR 2020, sec. 5 ("relearn time"), and Tarun et
    al., 2021; here on the retain set, so that nothing is taught anew.

    Args:
        model: Any model of the study; it stays as it is.
        retain: What is trained on.
        forget: What is looked at.
        recipe: Momentum, decay, batch size.
        seed: Of the batches: the same for all models of a seed.
        steps: Updates.
        every: Updates between two looks; the first is before any, the last after all.
        learning_rate: Constant.

    Returns:
        One row for each look and patient: ``step``, ``patient``, ``accuracy`` and ``confidence``
        (logit-scaled, of the label), means over the patient's images.
    """
    student = copy.deepcopy(model).requires_grad_(True)
    optimizer = sgd(student, learning_rate, recipe)
    batches = retain.endless(torch_stream("relearning", seed))
    looks = [_look(student, forget, 0)]
    for done in range(1, steps + 1):
        inputs, labels = next(batches)
        student.train()
        step(student, optimizer, lambda x=inputs, y=labels: cross_entropy(student, x, y))  # type: ignore[misc]
        if done % every == 0 or done == steps:
            looks.append(_look(student, forget, done))
    return pd.concat(looks, ignore_index=True)


@torch.inference_mode()
def _look(model: nn.Module, forget: Batches, done: int) -> pd.DataFrame:
    model.eval()
    logits = torch.cat([model(inputs) for inputs, _ in forget.ordered()]).float().cpu().numpy()
    labels = forget.images.labels[forget.rows].cpu().numpy()
    frame = pd.DataFrame(
        {
            "patient": forget.images.patients[forget.rows].cpu().numpy(),
            "accuracy": (logits.argmax(axis=1) == labels).astype(float),
            "confidence": label_confidence(logits, labels),
        }
    )
    means = frame.groupby("patient", as_index=False).mean()
    means.insert(0, "step", done)
    return means
