"""Simulated studies whose truth is known.

The gap d of an image is the difference of two decisions, right (1) or wrong (0): -1, 0 or 1. Seed
i, sex g and patient j decide how likely each is::

    mu_igj = gap +- (contrast + c_i) / 2 + b_i + u_j            + for women, - for men
    P(d = 1), P(d = -1) = (q + mu) / 2, (q - mu) / 2   with q = max(disagreement_j, |mu|)

so E d = mu whatever the effects. All effects have mean 0: the contrast of the sexes is *exactly*
the one asked for, over patients and seeds, and images are alike only through their patient.
b_i and c_i are normal, cut at four standard deviations; c_i is what the *contrast* of a seed
deviates by: chance of training that favours a sex. u_j is 0 but for the few patients about whom
every model changes its mind (+-0.8), as where a method fails on a kind of patient.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PATIENT_EFFECT = 0.8
CUT = 4.0


@dataclass(frozen=True)
class Scenario:
    """A study's design and the truth it is to find; effects in shares, 0.01 is a point.

    Args:
        seeds: Paired training seeds.
        patients: Of both sexes together.
        most_images: A patient has 1 to this many images, equally likely.
        contrast: True gap of women minus true gap of men.
        gap: True gap, mean of the sexes: a damaging method has a negative one.
        disagreement: Share of decisions in which unlearned and retrained model differ; more
            where the effects demand it.
        patient_sd: Standard deviation of patients' true gaps, the same in all seeds.
        seed_sd: Standard deviation over seeds of the gap that both sexes share.
        seed_sex_sd: Standard deviation over seeds of the true contrast.
        women: Share of women.
        own_draw: Share of the patients that each seed measures, drawn for itself, as where every
            seed forgets patients of its own; 0: all seeds measure all. The patients then are a
            pool, and the contrast is exactly that of this pool.

    Raises:
        ValueError: No probabilities could give these effects.
    """

    seeds: int = 8
    patients: int = 1500
    most_images: int = 1
    contrast: float = 0.0
    gap: float = 0.0
    disagreement: float = 0.09
    patient_sd: float = 0.0
    seed_sd: float = 0.01
    seed_sex_sd: float = 0.0
    women: float = 0.5
    own_draw: float = 0.0

    def __post_init__(self) -> None:
        effects = abs(self.gap) + abs(self.contrast) / 2 + PATIENT_EFFECT * (self.patient_sd > 0)
        if self.calm < 0 or effects + CUT * (self.seed_sd + self.seed_sex_sd / 2) > 1:
            raise ValueError(f"{self}: expected effects that the disagreement and a gap of 1 hold")

    @property
    def changed(self) -> float:
        """Share of patients about whom every model changes its mind."""
        return (self.patient_sd / PATIENT_EFFECT) ** 2

    @property
    def calm(self) -> float:
        """Disagreement about all other patients."""
        return (self.disagreement - PATIENT_EFFECT * self.changed) / (1 - self.changed)


@dataclass(frozen=True)
class Gaps:
    """What a simulated study measured.

    Args:
        values: Gap of each image in each seed, -1, 0 or 1, (seeds, images).
        images: Number of images of each patient, (patients,); a patient's lie side by side.
        women: How many patients are women; they come first.
    """

    values: NDArray[np.int8]
    images: NDArray[np.int64]
    women: int

    @cached_property
    def by_patient(self) -> tuple[Floats, Floats]:
        """Means over each patient's images, of women and of men, (seeds, patients of the sex)."""
        starts = np.cumsum(self.images) - self.images
        sums = np.add.reduceat(self.values, starts, axis=1, dtype=np.float64)
        means: Floats = sums / self.images
        return means[:, : self.women], means[:, self.women :]

    @cached_property
    def by_image(self) -> tuple[Floats, Floats]:
        """Means over seeds of each image, of women and of men, (images of the sex,)."""
        means: Floats = self.values.mean(axis=0)
        first = int(self.images[: self.women].sum())
        return means[:first], means[first:]


def simulate_gaps(scenario: Scenario, random: np.random.Generator) -> Gaps:
    """Draw patients, their images, seeds, and every image's gap in every seed."""
    seeds, patients = scenario.seeds, scenario.patients
    women = round(scenario.women * patients)
    side = np.where(np.arange(patients) < women, 0.5, -0.5)
    changes = random.random(patients) < scenario.changed
    patient = PATIENT_EFFECT * changes * random.choice([-1, 1], patients)
    if scenario.own_draw:
        for sex in (slice(0, women), slice(women, patients)):
            signs = np.resize([1, -1], changes[sex].sum() // 2 * 2)
            changes[sex][np.flatnonzero(changes[sex])[len(signs) :]] = False
            patient[sex] = 0.0
            patient[sex][changes[sex]] = PATIENT_EFFECT * signs
    # cut on both sides alike: the mean stays 0
    seed = scenario.seed_sd * np.clip(random.standard_normal(seeds), -CUT, CUT)
    seed_sex = scenario.seed_sex_sd * np.clip(random.standard_normal(seeds), -CUT, CUT)
    of_seed = seed[:, None] + np.outer(scenario.contrast + seed_sex, side)
    mean = scenario.gap + of_seed + patient
    differ = np.maximum(np.where(changes, 0.0, scenario.calm), np.abs(mean))
    images = random.integers(1, scenario.most_images, patients, endpoint=True)
    # one number decides: small ones are a gain, large ones a loss
    below, above = (
        np.repeat(bound.astype(np.float32), images, axis=1)
        for bound in ((differ + mean) / 2, 1 - (differ - mean) / 2)
    )
    drawn = random.random(below.shape, dtype=np.float32)
    values = (drawn < below).view(np.int8) - (drawn >= above).view(np.int8)
    return Gaps(values, images, women)


def draw_contrasts(gaps: Gaps, share: float, random: np.random.Generator) -> Floats:
    """Women minus men of each seed, among patients that it draws for itself, (seeds,).

    Args:
        gaps: Of the pool.
        share: Of either sex that a seed draws.
        random: Draws them.
    """

    def mean(values: Floats) -> Floats:
        count = round(share * values.shape[1])
        drawn = random.permuted(np.tile(np.arange(values.shape[1]), (len(values), 1)), axis=1)
        return np.asarray(np.take_along_axis(values, drawn[:, :count], axis=1).mean(axis=1))

    women, men = gaps.by_patient
    return mean(women) - mean(men)


def grid(margin: float, **axes: Iterable[Any]) -> list[Scenario]:
    """The protocol's scenarios; ``axes`` replaces the values of some fields, in this order."""
    values: dict[str, Iterable[Any]] = {
        "seeds": (8, 16, 20),
        "seed_sex_sd": (0.0, 0.01, 0.03),
        "patient_sd": (0.0, 0.2),
        "most_images": (1, 4),
        "patients": (300, 1500),
        "contrast": (0.0, margin, 2 * margin),
    } | axes
    cells = product(*values.values())
    return [Scenario(**dict(zip(values, cell, strict=True))) for cell in cells]
