"""SISA: an ensemble over shards of patients, of which only some need retraining. Exact."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from medunlearn.batches import Batches
from medunlearn.methods._task import Task, method
from medunlearn.randomness import stream
from medunlearn.training import train


class Ensemble(nn.Module):
    """Members whose softmax is averaged; the output is the log of that mean."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """From images to (n, classes): softmax of it is the mean softmax of the members."""
        answers = torch.stack([F.log_softmax(member(inputs), dim=1) for member in self.members])
        return answers.logsumexp(0) - math.log(len(self.members))


def shards_of(batches: Batches, shards: int, seed: int) -> list[Tensor]:
    """The rows of each shard, in ascending order; all images of a patient are in one shard.

    A patient's shard depends on patient and seed alone, not on who else is there.
    """
    patients = batches.images.patients[batches.rows].cpu()
    names, codes = patients.unique(return_inverse=True)
    drawn = [int(stream("sisa", seed, "patient", int(p)).integers(shards)) for p in names]
    own = torch.tensor(drawn)[codes].to(batches.rows.device)
    return [batches.rows[own == shard].sort().values for shard in range(shards)]


@method(
    "SISA", "retain, forget", "#994F00 o", "Bourtoule et al. 2021, arXiv 1912.03817",
    own_training=True, shards=(4, 8),
)  # fmt: skip
def sisa(model: nn.Module, task: Task, *, seed: int, shards: int = 4) -> nn.Module:  # noqa: ARG001
    """Train one network for each shard of patients, and retrain those that held forgotten ones.

    Its original is an ensemble of its own, trained here on both sets and billed as ``training``;
    the model given is not used. Then every shard with a forget patient is trained from its own
    initial state on its retain part, and the others stay bit-identical: the result *is* retraining
    of this ensemble. In training, BatchNorm sees a shard's retain part alone; the study then
    re-estimates the statistics of all members over the whole retain set. Does not save much on
    random forget sets, which touch nearly every shard; its members see few patients each; a shard
    left with fewer than two images, too few for BatchNorm, is dropped.

    Source: Bourtoule et al., IEEE S&P 2021. Differs in having one slice a shard, and in answering
    by the mean softmax: their majority vote gives no scores, and the two can disagree.

    Args:
        model: Not used.
        task: What to unlearn.
        seed: Of shards, initial states and batches.
        shards: Number of shards.
    """
    retain = shards_of(task.retain, shards, seed)
    both = Batches(task.retain.images, torch.cat([task.retain.rows, task.forget.rows]), task.recipe)

    def member(shard: int, rows: Tensor) -> nn.Module | None:
        shard_seed = int(stream("sisa", seed, "shard", shard).integers(2**62))
        batches = Batches(task.retain.images, rows, task.recipe)
        return train(batches, task.recipe, seed=shard_seed) if len(rows) > 1 else None

    whole = shards_of(both, shards, seed)
    with task.clock("training"):
        members = [member(shard, rows) for shard, rows in enumerate(whole)]
    for shard, rows in enumerate(retain):
        if len(rows) < len(whole[shard]):
            members[shard] = member(shard, rows)
    return Ensemble([network for network in members if network is not None])
