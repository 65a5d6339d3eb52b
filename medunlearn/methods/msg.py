"""MSG: redraw the convolution weights that the forget set and the rest do not tell apart."""

import torch
from torch import nn

from medunlearn.methods._layers import convolutions
from medunlearn.methods._masks import indifferent_weights
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method(
    "MSG", "retain, forget", "#4477AA 1", "Cadet et al. 2024, arXiv 2410.01276",
    epochs=(1, 10), learning_rate=(3e-4, 0.1), share=(0.1, 0.5),
)  # fmt: skip
def msg(
    model: nn.Module,
    task: Task,
    *,
    seed: int,
    epochs: int = 5,
    learning_rate: float = 1e-3,
    share: float = 0.3,
    kept_rate: float = 0.1,
) -> nn.Module:
    """Free the convolution weights whose gradient is alike on both sets, and fine-tune.

    In each convolution the 30 % with the smallest |g| (see ``indifferent_weights``; evaluation
    mode) are drawn anew, Kaiming normal over the fan out, and learn CE(D_r) at the full rate. The
    gradients of the kept 70 % are divided by ten before each step; weight decay acts on them in
    full. All else (biases, BatchNorm, head) learns at the full rate. BatchNorm's statistics see
    D_r alone. Does not protect kept weights: they move.

    Source: an entry of the NeurIPS 2023 unlearning challenge, as examined by Cadet et al., 2024
    (Deep Unlearn). With E epochs and u = (E + 1) // 2, epoch e = 0, ..., E - 1 has (e + 1) / u of
    the rate if e < u, else (E - e) / (E + 1 - u). Differs in the epochs (5), which the study caps
    at 20 % of the training's, and in the batch size (64), which is that of the recipe. There g sums
    the means of batches, so that the images of a short last batch weigh more.

    Args:
        seed: Of the part of D_r, the new weights, the order and the augmentation.
        epochs: Passes over the retain set, the rate rising to the middle one and falling.
        learning_rate: In the middle.
        share: Of each convolution's weights that are drawn anew.
        kept_rate: What is left of the gradients of the others.
    """
    student, generator = student_of(model), method_stream("msg", seed)
    with task.clock("preparation"):
        masks = indifferent_weights(student, task, share, generator)
    weights = [layer.weight.detach() for layer in convolutions(student)]
    for weight, mask in zip(weights, masks, strict=True):
        drawn = torch.empty(weight.shape)
        nn.init.kaiming_normal_(drawn, mode="fan_out", generator=generator)
        weight.copy_(torch.where(mask, drawn.to(weight.device), weight))
    rates = [torch.where(mask, 1.0, kept_rate) for mask in masks]

    def slow_the_kept(*_: object) -> None:
        for layer, rate in zip(convolutions(student), rates, strict=True):
            if layer.weight.grad is not None:
                layer.weight.grad.mul_(rate)

    optimizer = task.optimizer(student, learning_rate)
    optimizer.register_step_pre_hook(slow_the_kept)
    rising = (epochs + 1) // 2
    for epoch in range(epochs):
        up, down = (epoch + 1) / rising, (epochs - epoch) / (epochs + 1 - rising)
        optimizer.param_groups[0]["lr"] = learning_rate * (up if epoch < rising else down)
        train_epoch(student, task.retain, optimizer, generator)
    return student
