"""R2D: rewind the original's training by some epochs, then train without the forget set."""

import torch
from torch import nn

from medunlearn.errors import InputError
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import fit


@method("R2D", "retain, checkpoint", "#0E8A8A |", "Mu and Klabjan 2025, arXiv 2409.09778")
def r2d(model: nn.Module, task: Task, *, seed: int, sigma: float = 0.0) -> nn.Module:  # noqa: ARG001
    """Go back to where the original was K epochs before its end, and take these on the retain set.

    From the checkpoint CE(D_r) follows the last part of the recipe's schedule, rescaled to the
    retain set; momentum starts at zero. K is the most that the study allows, 20 % of the training's
    epochs. Then N(0, sigma^2) is added to every parameter. BatchNorm statistics start from the
    checkpoint's and see the retain set alone. Does not read the forget set, nor the original's
    final weights. Does not undo what the forget set did before the checkpoint.

    The checkpoint is a part of its cost: a second file of weights beside every original,
    ``checkpoint.safetensors``, kept from training on.

    Without noise (sigma = 0) nothing is certified. The paper's sigma certifies (epsilon, delta)
    unlearning for full-batch gradient descent without momentum, at a constant rate, on a loss with
    Lipschitz gradients and bounded gradient differences, whose constants set sigma. Here training
    draws batches, has momentum, a schedule and BatchNorm: sigma adds the paper's noise, but no
    certificate.

    Source: Mu and Klabjan, NeurIPS 2025 (Rewind-to-Delete). Differs in the training, as said.

    Args:
        seed: Of the batches and the noise.
        sigma: Standard deviation of the noise on each parameter.

    Raises:
        InputError: The task has no checkpoint.
    """
    recipe = task.recipe
    if task.checkpoint is None:
        kept = f"the original as it was {recipe.unlearning_epochs} epochs before its training's end"
        fault = f"r2d: needs a checkpoint, {kept}; keep it while training, or choose another method"
        raise InputError("unlearning", [fault])
    student, generator = student_of(task.checkpoint), method_stream("r2d", seed)
    first = recipe.epochs - recipe.unlearning_epochs
    fit(student, task.retain, recipe, generator, first_epoch=first)
    with torch.no_grad():
        for weight in student.parameters() if sigma else ():
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            weight.add_(sigma * noise)
    return student
