"""Synthetic frontal chest radiographs, so that the study runs without a download.

Here patients are drawn and recorded; `radiograph` gives them a body and takes the image.

Shares of men (56.5 %) and of AP views (40 %) and the ages are near those of the images of
ChestX-ray14 (Wang et al., ChestX-ray8, CVPR 2017, and the metadata published with it: 112,120
images of 30,805 patients); only adults are drawn and the findings are enriched. A finding and
its class belong to a patient; its severity varies between the images; the report, and so a noisy
label, belongs to an image. Sizes and attenuations are of textbook order, shapes and frequencies
invented. Nothing found on this cohort is medical evidence.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort import radiograph
from medunlearn.cohort.radiograph import CLASSES, Anatomy, Finding, Solid, View
from medunlearn.errors import InputError
from medunlearn.randomness import stream

__all__ = ["CLASSES", "make_phantom"]

CLASS_SHARES = (0.4, 0.2, 0.2, 0.2)
NOISE_SHARE = 0.06  # of recorded labels are wrong, as in labels mined from reports
MALE_SHARE, AP_SHARE = 0.565, 0.4
AGE_YEARS, AGE_SPREAD, AGE_LIMITS = 47, 17, (18, 90)
IMAGE_SHARES = (0.30, 0.27, 0.20, 0.23)  # patients with 1, 2, 3, 4 images


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient with normal anatomy; the sexes overlap in everything."""
    male = bool(rng.random() < MALE_SHARE)
    age = int(np.clip(rng.normal(AGE_YEARS, AGE_SPREAD), *AGE_LIMITS))
    z = rng.standard_normal(9).tolist()
    return Anatomy(
        sex="M" if male else "F",
        age=age,
        scale=(1.02 if male else 0.96) * (1 + 0.045 * z[0]),
        fat=2.0 * np.exp(0.4 * z[1]),
        breast=(0.9 if male else 1.8) * np.exp(0.15 * z[1] + 0.5 * z[2]),
        chest=(1.0 if male else 0.97) * (1 + 0.05 * z[3]),
        heart=1 + 0.07 * z[4] + 0.001 * (age - AGE_YEARS),
        heart_turn=-0.6 + 0.12 * z[5],
        aorta=1.5 * np.exp(0.12 * z[6] + 0.006 * (age - AGE_YEARS)),
        domes=(-17.0 + 0.9 * z[7], -18.0 + 0.9 * z[8]),
        vessels=tuple(draw_vessel(rng, side) for side in (-1, 1) for _ in range(6)),
    )


def draw_vessel(rng: np.random.Generator, side: int) -> Solid:
    """Draw a vessel that runs outwards from the hilum."""
    angle = rng.uniform(-1.2, 1.1)
    start, half, width = rng.uniform(1.0, 4.0), rng.uniform(1.2, 2.6), rng.uniform(0.2, 0.45)
    x, y = 3.0 + (start + half) * np.cos(angle), (start + half) * np.sin(angle)
    return (side * x, y, half, width, width, side * angle)


def draw_finding(rng: np.random.Generator) -> Finding:
    """Draw class, severity, side and place; small severities are honestly hard to see."""
    return Finding(
        label=int(rng.choice(len(CLASSES), p=CLASS_SHARES)),
        severity=1 - rng.beta(1.2, 1.6),
        side=1 if rng.random() < 0.4 else -1,
        place=(rng.normal(6.8, 1.2), rng.normal(3.0, 2.2)),
    )


def draw_view(rng: np.random.Generator) -> View:
    """Draw how an image is taken, how far the finding has come and whether the report errs."""
    ap = bool(rng.random() < AP_SHARE)
    errs = rng.random() < NOISE_SHARE
    error = int(rng.integers(1, len(CLASSES)))
    z = rng.standard_normal(7).tolist()
    return View(
        ap=ap,
        shift=(0.7 * z[0], 0.9 * z[1]),
        scale=(1.04 if ap else 1.0) * (1 + 0.015 * z[2]),
        slide=0.5 * z[3],
        breath=(-1.0 if ap else 0.0) + 0.6 * z[4],
        exposure=(0.6 if ap else 1.0) * np.exp(0.2 * z[5]),
        course=np.exp(0.15 * z[6]),
        label_error=error if errs else 0,
    )


def render(
    patient: Anatomy, finding: Finding, view: View, noise: np.random.Generator, size: int
) -> tuple[NDArray[np.uint8], float, float]:
    """Render an image; returns it with the severity and the conspicuity of the finding."""
    scene = radiograph.project(patient, view, size)
    severity = min(1.0, finding.severity * view.course) if finding.label else 0.0

    def expose(severity: float) -> NDArray[np.float64]:
        return radiograph.expose(radiograph.attenuate(scene, finding, severity), view.exposure)

    photons = expose(severity)
    normal = expose(0.0) if severity else photons
    conspicuity = float(np.sqrt(((photons - normal) ** 2 / normal).sum()))
    return radiograph.develop(noise.poisson(photons)), severity, conspicuity


def make_phantom(patients: int, *, size: int = 64) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    """Draw and render the cohort; the same patients come first, byte for byte, in a larger one.

    Args:
        patients: How many patients, at least 1.
        size: Side of the images in pixels, at least 16; finer pixels catch fewer photons each, and
            below 32 the smallest nodules can fall between the rays.

    Returns:
        A frame with a row per image and, aligned with it, pixels (images, 1, size, size). Beside
        `source_image`, `source_patient`, `sex`, `age` (years), `view` and the recorded `label`:
        `true_label`, `noisy_label` (they differ), `severity` in (0, 1] and `conspicuity`, the ideal
        observer's signal-to-noise ratio for the finding, from noise-free images with and without
        it, as if the anatomy hid nothing; both are 0 where there is no finding.

    Raises:
        InputError: If `patients` or `size` is too small.
    """
    least = {"patients": (patients, 1), "size": (size, 16)}
    if faults := [f"{k} = {v}: at least {low}" for k, (v, low) in least.items() if v < low]:
        raise InputError("make_phantom", faults)
    rows, images = [], []
    for number in range(patients):
        anatomy_rng, finding_rng, views, noise = stream("phantom", number).spawn(4)
        patient, finding = draw_anatomy(anatomy_rng), draw_finding(finding_rng)
        for image in range(1 + int(views.choice(len(IMAGE_SHARES), p=IMAGE_SHARES))):
            view = draw_view(views)
            pixels, severity, conspicuity = render(patient, finding, view, noise, size)
            images.append(pixels)
            recorded = (finding.label + view.label_error) % len(CLASSES)
            rows.append(
                {
                    "source_image": f"p{number:05d}_{image}",
                    "source_patient": f"p{number:05d}",
                    "sex": patient.sex,
                    "age": patient.age,
                    "label": CLASSES[recorded],
                    "view": "AP" if view.ap else "PA",
                    "severity": np.float32(severity),
                    "conspicuity": np.float32(conspicuity),
                    "noisy_label": view.label_error > 0,
                    "true_label": CLASSES[finding.label],
                }
            )
    return pd.DataFrame(rows), np.stack(images)[:, None]
