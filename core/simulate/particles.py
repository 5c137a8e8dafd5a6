"""Particles seen along the beam: how thick they are at every point, and what amplitude they scatter."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = (1 + math.sqrt(5)) / 2
GRID_POINTS = 128
GRID_SPACING_NM = 1.25
"""The grid spans 160 nm; its Nyquist limit is 2.5 nm⁻¹, four times what the region of interest reaches."""

Floats = NDArray[np.floating[Any]]
Complexes = NDArray[np.complex64]


def icosahedron_normals() -> Floats:
    """The unit normals of an icosahedron's faces: (20, 3), the vertices of the dual dodecahedron."""
    corners = list(itertools.product((-1.0, 1.0), repeat=3))
    for a, b in itertools.product((-1 / GOLDEN, 1 / GOLDEN), (-GOLDEN, GOLDEN)):
        corners += [(0.0, a, b), (a, b, 0.0), (b, 0.0, a)]
    normals = np.array(corners)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def icosahedron_inradius(diameter_nm: float) -> float:
    """Inradius in nm of the icosahedron with the volume of a sphere of that diameter."""
    edge = (math.pi / 6 * diameter_nm**3 / (5 / 12 * (3 + math.sqrt(5)))) ** (1 / 3)
    return float(GOLDEN**2 / (2 * math.sqrt(3)) * edge)


def random_rotation(rng: np.random.Generator) -> Floats:
    """A rotation matrix (3, 3), uniform over all orientations (from a random unit quaternion)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def grid_coordinates() -> Floats:
    """Where the grid's points lie, in nm: (GRID_POINTS,), symmetric about 0."""
    return (np.arange(GRID_POINTS) - (GRID_POINTS - 1) / 2) * GRID_SPACING_NM


def polyhedron_thickness(normals: Floats, inradius_nm: float) -> Floats:
    """Thickness in nm along the beam of a convex polyhedron about a sphere that all faces touch: (points, points).

    The upper surface is the minimum, the lower the maximum, of (r - n_x x - n_y y) / n_z over the faces that look up
    and down.
    """
    grid = grid_coordinates()
    n = np.where(np.abs(normals) < 1e-9, 1e-9, normals)
    planes = (inradius_nm - n[:, 0, None, None] * grid[None, None, :] - n[:, 1, None, None] * grid[None, :, None]) / n[
        :, 2, None, None
    ]
    up = n[:, 2] > 0
    thickness: Floats = np.maximum(planes[up].min(axis=0) - planes[~up].max(axis=0), 0.0)
    return thickness


def sphere_thickness(diameter_nm: float) -> Floats:
    """Thickness in nm along the beam of a sphere: (points, points)."""
    grid = grid_coordinates()
    squared = (diameter_nm / 2) ** 2 - grid[None, :] ** 2 - grid[:, None] ** 2
    return 2 * np.sqrt(np.maximum(squared, 0.0))


class Scatterer:
    """Turns projected thickness into scattered amplitude on a grid of momentum transfers.

    q_y: (rows,) and q_x: (columns,) in nm⁻¹, the momentum transfer of a detector's rows and columns.
    """

    def __init__(self, q_y: Floats, q_x: Floats) -> None:
        grid = grid_coordinates()
        self._q_y, self._q_x = q_y, q_x
        self._rows = np.exp(-1j * np.outer(q_y, grid)).astype(np.complex64)
        self._columns = np.exp(-1j * np.outer(grid, q_x)).astype(np.complex64)

    def amplitude(self, thickness: Floats, offset_nm: tuple[float, float] = (0.0, 0.0)) -> Complexes:
        """Amplitude (rows, columns) of a particle that lies (y, x) nm off the focus's middle, in nm³."""
        body = thickness.astype(np.float32) * np.float32(GRID_SPACING_NM**2)
        amplitude: Complexes = self._rows @ (body @ self._columns)
        if offset_nm != (0.0, 0.0):
            amplitude *= np.exp(-1j * self._q_y * offset_nm[0]).astype(np.complex64)[:, None]
            amplitude *= np.exp(-1j * self._q_x * offset_nm[1]).astype(np.complex64)[None, :]
        return amplitude
