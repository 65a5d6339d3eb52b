"""EU-k: exact unlearning of the last k blocks."""

from torch import nn

from medunlearn.methods._blocks import freeze_all_but, tail_names
from medunlearn.methods._layers import copy_layers, fresh_network
from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import fit


@method("EU-k", "retain", "#44AA99 >", "Goel et al. 2022, arXiv 2201.06640", k=(1, 10))
def eu_k(model: nn.Module, task: Task, *, seed: int, k: int = 2) -> nn.Module:
    """Forget the last k blocks and the head, and train them again without the forgotten patients.

    The tail gets the weights and statistics of a fresh network, of a seed of its own, then learns
    CE(D_r) under the *full* original schedule: by its definition it takes all the training's
    epochs, beyond the study's cap, and saves only the backward pass of the frozen part. Reads the
    retain set only. Frozen parts end bit-identical: their BatchNorm stays in evaluation mode and
    its statistics do not move; those of the tail see the retain set alone. Does not unlearn what
    the frozen part holds: exact for the tail, nothing for the rest.

    Source: Goel et al., 2022 (EU-k). Counts k in blocks (see ``tail_names``), not single layers.
    Differs in the tail's BatchNorm, which there keeps its weights and statistics.

    Args:
        seed: Of the fresh weights, the order and the augmentation of the batches.
        k: Number of blocks trained anew; above the number of blocks, all but the stem.
    """
    student = student_of(model)
    generator = method_stream("eu_k", seed)
    with task.clock("preparation"):
        tail = tail_names(student, task, k)
        fresh = fresh_network(task, generator)
        copy_layers(student, fresh, tail)
        loss = freeze_all_but(student, tail)
    fit(student, task.retain, task.recipe, generator, loss=loss)
    return student.requires_grad_(True)
