"""A synthetic chest radiograph: solids in centimetres, rays through them, photons, the image.

x runs to the image's right (the patient's left), y up, z to the back, rays along z. Body, lungs,
heart, mediastinum and diaphragm are ellipsoids centred on the plane z = 0, so that along a ray
the union of two is the longer chord and the intersection the shorter: organs displace lung
exactly. What is smaller (bones, airway, vessels, breasts, nodules) adds its chord times the
*difference* in attenuation to what it lies in; where two of these overlap, both differences
count. Shapes are simplified. Nothing is random except the photons, which the caller counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]
Solid = tuple[float, float, float, float, float, float]  # an ellipsoid: see `chord`
CLASSES = ("no finding", "cardiomegaly", "effusion", "nodule/mass")
MU_SOFT, MU_FAT, MU_LUNG, MU_BONE = 0.20, 0.18, 0.05, 0.55  # 1/cm, effective for the spectrum
FIELD_CM = 34.0  # side of the square detector
RIBS, RIB_TOP_CM, RIB_PITCH_CM, RIB_WIDTH_CM, RIB_DEPTH_CM = 10, 9.0, 2.9, 1.2, 0.8
RIB_SLOPE = 0.5  # how far a rib falls from back to front, cm per cm
FOCUS_CM, SCATTER_CM, SCATTER_RATIO = 0.15, 3.0, 0.4  # blurs; scattered to primary photons
PHOTONS_PER_CM2 = 1.5e5  # that would be detected without a patient
WINDOW = (3, 97)  # percentiles of the middle of the image that bound the displayed range


def chord(solid: Solid, x: Array, y: Array) -> Array:
    """Exact lengths of the rays along z through an ellipsoid.

    Args:
        solid: Centre x and y, half axes along x, y and z (cm), turn in the plane (rad).
        x: Positions of the rays in cm, broadcast against `y`.
        y: Likewise.

    Returns:
        The lengths in cm, one per ray, 0 where a ray misses.
    """
    x0, y0, a, b, c, turn = solid
    cos, sin = 2 * c * np.cos(turn), 2 * c * np.sin(turn)
    u = cos / a * (x - x0) + sin / a * (y - y0)
    v = cos / b * (y - y0) - sin / b * (x - x0)
    length: Array = np.sqrt(np.maximum(4 * c * c - (u * u + v * v), 0))
    return length


def union(solids: Sequence[Solid], x: Array, y: Array) -> Array:
    """Exact lengths through the union of ellipsoids centred at the same depth."""
    return reduce(np.maximum, (chord(solid, x, y) for solid in solids))


def rib_chord(outer: Solid, x: Array, y: Array) -> Array:
    """Exact lengths of the rays through the ribs: a shell cut by equidistant tilted planes.

    Rib k fills k pitch < t < k pitch + width of t = top - y + slope z. A ray crosses
    (F(t2) - F(t1)) / slope of bone between two depths, F(t) being the width of ribs below t.
    Towards the breast bone the front part counts less and less: cartilage.

    Args:
        outer: The outer surface, as in `chord`, centred at depth 0; `RIB_DEPTH_CM` thick.
        x: Positions of the rays in cm, broadcast against `y`.
        y: Likewise.

    Returns:
        The lengths in cm, one per ray.
    """
    x0, y0, a, b, c, turn = outer
    inner = (x0, y0, a - RIB_DEPTH_CM, b - RIB_DEPTH_CM, c - RIB_DEPTH_CM, turn)
    far, near = chord(outer, x, y) / 2, chord(inner, x, y) / 2

    def bone_below(z: Array) -> Array:
        t = np.clip(RIB_TOP_CM - y + RIB_SLOPE * z, 0, RIBS * RIB_PITCH_CM)
        whole = np.floor(t / RIB_PITCH_CM)
        return whole * RIB_WIDTH_CM + np.minimum(t - whole * RIB_PITCH_CM, RIB_WIDTH_CM)

    back = bone_below(far) - bone_below(near)
    front = bone_below(-near) - bone_below(-far)
    length: Array = (back + np.clip((np.abs(x) - 3) / 5, 0, 1) * front) / RIB_SLOPE
    return length


def air_chord(lung: Array, organ: Array, cut: Array) -> Array:
    """Exact lengths of air in the lungs, all centred at depth 0.

    Args:
        lung: Half the chord of the lungs in cm; a ray is in them from -lung to lung.
        organ: Half the chord of the organs that displace lung; no air from -organ to organ.
        cut: Depth in cm, within the lung, behind which fluid takes the place of air.

    Returns:
        The lengths in cm, one per ray.
    """
    length: Array = np.maximum(np.minimum(cut, -organ) + lung, 0) + np.maximum(cut - organ, 0)
    return length


def expose(attenuation: Array, exposure: float) -> Array:
    """Expected photons per pixel: Beer-Lambert, blurred by the focal spot, with scatter."""
    pixel = FIELD_CM / len(attenuation)
    primary = gaussian_filter(np.exp(-attenuation), FOCUS_CM / pixel)
    scatter = SCATTER_RATIO * gaussian_filter(primary, SCATTER_CM / pixel, truncate=2.5)
    photons: Array = PHOTONS_PER_CM2 * exposure * pixel**2 * (primary + scatter)
    return photons


def develop(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The displayed image of counted photons: logarithmic, bone bright, windowed on the lungs."""
    density = -np.log(np.maximum(counts, 1))
    edge = len(density) // 5
    low, high = np.percentile(density[edge:-edge, edge:-edge], WINDOW)
    gray = np.clip(0.1 + 0.85 * (density - low) / (high - low), 0, 1)
    image: NDArray[np.uint8] = np.round(255 * gray).astype(np.uint8)
    return image


@dataclass(frozen=True)
class Anatomy:
    """What the images of a patient share; lengths in cm, before the scale of the body."""

    sex: str
    age: int
    scale: float
    fat: float
    breast: float
    chest: float
    heart: float
    heart_turn: float
    aorta: float
    domes: tuple[float, float]
    vessels: tuple[Solid, ...]


@dataclass(frozen=True)
class Finding:
    """What is wrong with a patient, drawn in full whatever the class."""

    label: int
    severity: float
    side: int
    place: tuple[float, float]


@dataclass(frozen=True)
class View:
    """What differs between the images of a patient; lengths in cm."""

    ap: bool
    shift: tuple[float, float]
    scale: float
    slide: float
    breath: float
    exposure: float
    course: float
    label_error: int


@dataclass(frozen=True)
class Scene:
    """A normal patient in one view, projected as far as no finding changes it."""

    x: Array
    y: Array
    body: Array
    lungs: Array
    organs: Array
    heart: Solid
    domes: tuple[float, float]
    details: Array
    scale: float
    recline: float


def project(patient: Anatomy, view: View, size: int) -> Scene:
    """Project the normal anatomy; in AP the heart is magnified and the patient reclines."""
    axis = ((np.arange(size) + 0.5) / size - 0.5) * FIELD_CM
    zoom = patient.scale * view.scale
    x, y = (axis - view.shift[0])[None] / zoom, (view.shift[1] - axis)[:, None] / zoom
    fat, slide, wide = patient.fat, view.slide, 6.1 * patient.chest
    right, left = (dome - view.breath for dome in patient.domes)
    big = patient.heart * (1.12 if view.ap else 1.0)
    torso = (0, -10, 14.5 * patient.chest + fat, 30, 9 + 0.8 * fat, 0)
    arms = [(s * 13, 4.5, 7 + 0.5 * fat, 8.0, 5.5 + 0.5 * fat, s * -0.5) for s in (-1, 1)]
    mediastinum, knob = (slide, 4, 2.7, 14, 8, 0), 1.3 * patient.aorta
    organs = [mediastinum, (slide + 1.8, 6.2, patient.aorta, knob, 4, 0.2)]
    organs += [
        (s * 1.18 * wide, y0, 1.21 * wide, 10.2, 12, 0) for s, y0 in ((-1, right), (1, left))
    ]
    middle = -5.2 - 0.3 * view.breath
    return Scene(
        x=x,
        y=y,
        body=union([torso, (0, 16, 5, 9, 5.5, 0), *arms], x, y),
        lungs=union([(s * (wide + 0.7), -2.5, wide, 15, 8, s * 0.06) for s in (-1, 1)], x, y),
        organs=union(organs, x, y),
        heart=(slide + 1.6, middle, 6.2 * big, 4.9 * big, 5.5, patient.heart_turn),
        domes=(right, left),
        details=project_details(patient, view, x, y),
        scale=patient.scale,
        recline=0.5 if view.ap else 0.2,
    )


def project_details(patient: Anatomy, view: View, x: Array, y: Array) -> Array:
    """The attenuation that bones, airway, vessels and breasts add to what they lie in."""
    blade, lift, spread = (12.0, 11.8, 0.5) if view.ap else (15.0, 11.0, 0.0)
    spine, sternum = (0, -4, 1.7, 26, 1.0, 0), (0.5 * view.slide, 0, 1.6, 8, 0.4, 0)
    bones: list[Solid] = [spine, sternum]
    breasts: list[Solid] = []
    vessels = list(patient.vessels)
    for s in (-1, 1):
        bones.append((s * 7.6, lift + s * 0.5 * view.slide, 6.6, 0.6, 0.7, s * -0.2))
        bones.append((s * blade, 5, 2.2, 6, 0.35, s * 0.25))
        vessels.append((s * 3.4, 0.8, 1.3, 2.4, 1.3, s * -0.2))
        breasts.append((s * (7.2 + spread), -6, 5.2, 4.8 - spread, patient.breast, 0))
    total = -MU_SOFT * chord((view.slide, 11, 0.9, 6.5, 0.8, 0), x, y)
    total += (MU_BONE - MU_SOFT) * rib_chord((0, -4, 14.0 * patient.chest, 20, 9, 0), x, y)
    differences = (MU_BONE - MU_SOFT, MU_FAT, MU_SOFT - MU_LUNG)
    for difference, solids in zip(differences, (bones, breasts, vessels), strict=True):
        for solid in solids:
            total += difference * chord(solid, x, y)
    return total


def attenuate(scene: Scene, finding: Finding, severity: float) -> Array:
    """The attenuation along each ray with a finding of some severity; 0 is normal anatomy.

    Cardiomegaly widens the heart; an effusion fills the base of one lung up to a level that is
    tilted in depth, with a meniscus; a nodule is a ball of soft tissue, a mass a larger one.
    """
    kind = CLASSES[finding.label if severity else 0]
    lung, lesion = scene.lungs / 2, np.zeros_like(scene.lungs)
    x0, y0, a, b, c, turn = scene.heart
    cut = lung
    if kind == "cardiomegaly":
        x0, a, b = x0 + 0.8 * severity, a * (1 + 0.5 * severity), b * (1 + 0.25 * severity)
    elif kind == "effusion":
        dome = scene.domes[finding.side > 0]
        level = dome + 7.2 + 11 * severity + 0.02 * (np.abs(scene.x) - 6) ** 2
        fluid = np.clip((scene.y - level) / scene.recline, -lung, lung)
        cut = np.where(scene.x * finding.side > 0, fluid, lung)
    elif kind == "nodule/mass":
        radius, place = 0.6 + 2.9 * severity, (finding.side * finding.place[0], finding.place[1])
        lesion = (MU_SOFT - MU_LUNG) * chord((*place, radius, radius, radius, 0), scene.x, scene.y)
    organ = np.maximum(scene.organs, chord((x0, y0, a, b, c, turn), scene.x, scene.y)) / 2
    air = (MU_SOFT - MU_LUNG) * air_chord(lung, organ, cut)
    path: Array = np.maximum(MU_SOFT * scene.body + scene.details + lesion - air, 0)
    return path * scene.scale
