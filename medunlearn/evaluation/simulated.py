"""Measures of simulated predictions: do pseudo-values keep the promises that means keep?

The gaps of ``statistics.simulation`` are turned into right and wrong decisions of an unlearned
and a retrained model, on patients with and without a finding, which fewer women have than men.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medunlearn.evaluation.performance import Predicted
from medunlearn.evaluation.subsets import Subset
from medunlearn.statistics.intervals import Interval, contrast_interval
from medunlearn.statistics.simulation import Gaps

PREVALENCE = {"women": 0.3, "men": 0.5}
ACCURACY = 0.8
"""Of both models where they agree."""

Floats = NDArray[np.float64]
Right = NDArray[np.bool_]


def measure_contrast(
    measures: dict[str, Callable[[Subset, Predicted], Floats]],
    gaps: Gaps,
    random: np.random.Generator,
    *,
    dose: float = 0.0,
) -> dict[str, Interval]:
    """Gap of women minus gap of men, by each measure, with its interval.

    Args:
        measures: Patient values by name, as in ``performance.MEASURES``; of decisions.
        gaps: Simulated: unlearned minus retrained.
        random: Draws the findings and what both models get right.
        dose: Share of right decisions on findings that the method turns wrong, in both sexes
            alike: a loss of accuracy for the sex with more findings, but no bias.
    """
    count = len(gaps.images)
    patients = np.repeat(np.arange(count), gaps.images)
    women = np.arange(count) < gaps.women
    prevalence = np.where(women, PREVALENCE["women"], PREVALENCE["men"])
    labels = (random.random(count) < prevalence)[patients].astype(np.int64)
    models = decide(gaps, labels, random, dose)
    found: dict[str, list[Floats]] = {name: [] for name in measures}
    for inside in (women[patients], ~women[patients]):
        rows, own = np.flatnonzero(inside), labels[inside]
        subset = Subset(rows, patients[inside], own, own, reference=0)
        for name, measure in measures.items():
            unlearned, retrained = (
                np.stack([measure(subset, _predict(own, right[inside])) for right in model])
                for model in models
            )
            found[name].append(unlearned - retrained)
    return {name: contrast_interval(sides) for name, sides in found.items()}


def decide(
    gaps: Gaps, labels: NDArray[np.int64], random: np.random.Generator, dose: float
) -> tuple[Right, Right]:
    """Which images the unlearned and the retrained model get right, each (seeds, images)."""
    agreed = random.random(gaps.values.shape) < ACCURACY
    retrained = np.where(gaps.values == 0, agreed, gaps.values < 0)
    unlearned = np.where(gaps.values == 0, agreed, gaps.values > 0)
    turned = (labels == 1) & (random.random(gaps.values.shape) < dose)
    return unlearned & ~turned, retrained


def _predict(labels: NDArray[np.int64], right: Right) -> Predicted:
    return Predicted(np.eye(2)[np.where(right, labels, 1 - labels)], threshold=0.5)
