"""Short cuts of the package against the long way, each with the same result, up to rounding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medunlearn.batches import Batches, Images, Recipe
from medunlearn.benchmark.loops import make_data
from medunlearn.benchmark.measure import Line, compare, interleave
from medunlearn.cohort.partition import EVALUATION_VALIDATION, TEST, TRAIN
from medunlearn.evaluation.measurements import PARTS, Measurements, Run
from medunlearn.evaluation.performance import MEASURES, Predicted, probabilities, threshold_at
from medunlearn.evaluation.predictions import predict
from medunlearn.methods import get_method
from medunlearn.methods._masks import largest
from medunlearn.methods._task import Task
from medunlearn.models import build_network
from medunlearn.training import initial_state, train

DRAW, WHOLE = "random-0.1-shared", "all"


def measure_mask(device: str, *, rounds: int, network: str = "resnet18") -> list[Line]:
    """SalUn's mask by one selection, and by two sorts of all weights as in public code."""
    model = build_network(network, channels=1, classes=4, seed=0)
    random = torch.Generator().manual_seed(0)
    gradients = [torch.randn(p.shape, generator=random).to(device) for p in model.parameters()]
    sides = {
        "one selection": lambda: largest(gradients, 0.5),
        "two sorts": lambda: largest_by_sorting(gradients, 0.5),
    }
    count = sum(g.numel() for g in gradients)
    seconds = interleave(sides, rounds=rounds, device=device)
    return compare(f"SalUn's mask, {count:,} weights", seconds)


def largest_by_sorting(gradients: Sequence[Tensor], share: float) -> list[Tensor]:
    """As ``largest``, but which of equals are chosen: a rank for each number by sorting twice."""
    magnitude = torch.cat([g.abs().flatten() for g in gradients])
    ranks = magnitude.argsort(descending=True).argsort()
    chosen = ranks < len(magnitude) - round((1 - share) * len(magnitude))
    parts = chosen.split([g.numel() for g in gradients])
    return [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]


class Asking(Recipe):
    """A recipe that is taken for one that augments, and does not: teachers are asked each time."""

    augments = True


def measure_teacher(device: str, *, rounds: int, batches: int = 17) -> list[Line]:
    """SCRUB with its teacher's answers kept, and asked for each batch; 10 % are forgotten."""
    sides = teacher_sides(device, batches)
    seconds = interleave(sides, rounds=rounds, device=device)
    return compare("SCRUB, 3 epochs, resnet_tiny, 32 px", seconds)


def teacher_sides(device: str, batches: int) -> dict[str, Callable[[], nn.Module]]:
    """Both ways to a student."""
    data = make_data("resnet_tiny", 32, 32, batches, 15, device)
    rows = np.arange(len(data.labels))
    images = Images.load(data.pixels, data.labels, rows, device)
    model = initial_state(data.recipe, 0, device).eval()
    forget, retain = np.split(rows, [len(rows) // 10])

    def unlearn(recipe: Recipe) -> Callable[[], nn.Module]:
        kept, forgotten = (Batches(images, part, recipe) for part in (retain, forget))
        task = Task(kept, forgotten, forgotten, recipe)
        return lambda: get_method("scrub")(model, task, seed=0)

    asking = Asking(**vars(data.recipe))
    return {"answers kept": unlearn(data.recipe), "teacher asked": unlearn(asking)}


@dataclass(frozen=True)
class Measured:
    """A model, its images, and who they are.

    Args:
        model: Trained.
        images: All images of the cohort.
        cohort: As from ``build_cohort``: a tenth of the training patients is forgotten.
        recipe: For batches.
    """

    model: nn.Module
    images: Images
    cohort: pd.DataFrame
    recipe: Recipe

    def measurements(self, logits: NDArray[np.float32]) -> Measurements:
        """All measures of this one model."""
        training = self.cohort.loc[self.cohort["partition"] == TRAIN, "patient"]
        draws = {DRAW: training.unique()[: len(training) // 10].tolist()}
        return Measurements(pd.DataFrame(), logits[None], self.cohort, draws, 0)


def measure_metrics(device: str, *, rounds: int, batches: int = 70) -> list[Line]:
    """Every measure on every part from one prediction pass, and from a pass for each of them."""
    made = make_measured(device, batches)
    sides = {
        "one pass": lambda: from_one_pass(made),
        "a pass for each": lambda: from_many_passes(made),
    }
    seconds = interleave(sides, rounds=rounds, device=device)
    count = len(PARTS) * len(MEASURES)
    return compare(f"{count} figures of a model, {len(made.cohort):,} images", seconds)


def make_measured(device: str, batches: int) -> Measured:
    """A network that was trained for an epoch on a third of its images."""
    data = make_data("resnet_tiny", 32, 32, batches, 1, device)
    rows = np.arange(len(data.labels))
    images = Images.load(data.pixels, data.labels, rows, device)
    parts = np.array([TRAIN, EVALUATION_VALIDATION, TEST, TEST, TRAIN, TEST])[rows // 4 % 6]
    sex = pd.Series(np.where(rows // 24 % 2, "F", "M"))
    table = {"sample": rows, "patient": rows, "partition": parts, "sex": sex, "label": data.labels}
    recipe = replace(data.recipe, learning_rate=0.02)
    model = train(Batches(images, np.flatnonzero(parts == TRAIN), recipe), recipe, seed=0)
    return Measured(model, images, pd.DataFrame(table), recipe)


def from_one_pass(made: Measured) -> dict[tuple[str, str], float]:
    """Mean over patients by part and measure, as a study takes them."""
    measured = made.measurements(predict(made.model, made.images))
    run = Run(0, 0, DRAW)
    return {
        (part, name): float(measured.values(run, part, WHOLE, name).mean())
        for part in PARTS
        for name in MEASURES
    }


def from_many_passes(made: Measured) -> Mapping[tuple[str, str], float]:
    """The same as scripts take them: a function for each figure, which predicts for itself."""
    nothing = np.zeros((len(made.cohort), made.recipe.classes), np.float32)
    subsets = made.measurements(nothing).subsets
    validation = subsets.of("", EVALUATION_VALIDATION, WHOLE)
    threshold = threshold_at(validation, 1 - _predict_some(made, validation.samples)[:, 0])
    found = {}
    for part in PARTS:
        subset = subsets.of(DRAW, part, WHOLE)
        for name, measure in MEASURES.items():
            predicted = Predicted(_predict_some(made, subset.samples), threshold)
            found[part, name] = float(measure(subset, predicted).mean())
    return found


@torch.inference_mode()
def _predict_some(made: Measured, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    some = Batches(made.images, samples.copy(), made.recipe)  # pandas' own is read-only
    logits = torch.cat([made.model(inputs) for inputs, _ in some.ordered()])
    return probabilities(logits.float().cpu().numpy())
