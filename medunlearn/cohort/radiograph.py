"""The physics of a synthetic radiograph: rays through solids, photons, the displayed image.

x runs to the image's right, y up, z along the parallel rays; lengths are in cm. Nothing here is
random except the photons, which the caller counts.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]
Solid = tuple[float, float, float, float, float, float]  # an ellipsoid: see `chord`

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
