"""Class-balanced accuracy of simulated predictions: do pseudo-values keep what means keep?

The gaps of ``statistics.simulation`` are turned into right and wrong decisions of an unlearned
and a retrained model, on patients with and without a finding, which fewer women have than men.
"""

from dataclasses import replace

import numpy as np

from medunlearn.evaluation.performance import balanced_values
from medunlearn.statistics.intervals import Interval, contrast_interval
from medunlearn.statistics.simulation import Gaps

PREVALENCE_WOMEN, PREVALENCE_MEN = 0.3, 0.5
ACCURACY = 0.8
"""Of both models where they agree."""


def measure_contrast(
    gaps: Gaps, random: np.random.Generator, *, dose: float = 0.0
) -> dict[str, Interval]:
    """Gap of women minus gap of men, in accuracy and in class-balanced accuracy.

    Args:
        gaps: Simulated: unlearned minus retrained.
        random: Draws the findings and what both models get right.
        dose: Share of right decisions on findings that the method turns wrong, in both sexes
            alike: a loss of accuracy for the sex with more findings, but no bias.
    """
    count = len(gaps.images)
    prevalence = np.where(np.arange(count) < gaps.women, PREVALENCE_WOMEN, PREVALENCE_MEN)
    finding = random.random(count) < prevalence
    agreed = random.random(gaps.values.shape) < ACCURACY
    right = np.where(gaps.values == 0, agreed, gaps.values > 0)  # the unlearned model
    turned = np.repeat(finding, gaps.images) & (random.random(gaps.values.shape) < dose)
    sides = replace(gaps, values=gaps.values - (right & turned)).by_patient
    balanced = []
    for values, ill in zip(sides, np.split(finding, [gaps.women]), strict=True):
        strata = np.stack([ill, ~ill]).astype(np.float64)
        balanced.append(balanced_values(values * strata[:, None], strata))
    return {
        "accuracy": contrast_interval(sides), "balanced_accuracy": contrast_interval(balanced)
    }  # fmt: skip
