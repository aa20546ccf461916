"""Exact signed distance to a closed triangle mesh.

points    [P, 3]  mesh units
->
distance  [P]     mesh units, negative inside

The nearest vertex bounds the distance from above; boxes around triangles, eight to a box and eight
boxes to a larger one, leave few triangles to measure (Ericson 2005, section 5.1.5). The sign is that
of the pseudonormal of the face, edge or corner that is nearest (Baerentzen and Aanaes 2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.base.errors import ConfigError
from core.formats.morton import interleave

CHILDREN = 8
CHUNK = 8192  # points that are followed through the boxes together
FACE = 6  # features of a triangle: corners 0 to 2, edges 3 to 5 (of corners 01, 12, 20), the face


class MeshDistance:
    """The mesh in boxes, asked for many points at once."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, name: str = "mesh") -> None:
        from scipy.spatial import cKDTree

        vertices, faces = _clean(vertices, faces, name)
        corners = vertices[faces]  # [F, 3, 3]
        middle = corners.mean(axis=1)
        low, size = middle.min(axis=0), np.ptp(middle, axis=0).max() or 1.0
        order = np.argsort(interleave(((middle - low) / size * 1023).astype(np.int64)))
        self.corners = corners[order]
        self.normals = _pseudonormals(vertices, faces[order], name)  # [F, 7, 3]
        self.nearest_vertex = cKDTree(vertices)
        self.levels = _boxes(self.corners)  # coarsest first: lows and highs [boxes, 3]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the signed distance of every point."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        parts = [self._part(points[at : at + CHUNK]) for at in range(0, len(points), CHUNK)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _part(self, points: np.ndarray) -> np.ndarray:
        row, face = self._candidates(points)
        nearest, feature = _closest(points[row], self.corners[face])
        offset = points[row] - nearest
        squared = np.einsum("pi,pi->p", offset, offset)
        order = np.lexsort((squared, row))
        _, first = np.unique(row[order], return_index=True)
        best = order[first]  # [P] each point's nearest triangle
        side = np.einsum("pi,pi->p", offset[best], self.normals[face[best], feature[best]])
        return np.sqrt(squared[best]) * np.where(side < 0, -1.0, 1.0)

    def _candidates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of a point and a triangle whose box is no farther than the nearest vertex."""
        reach = np.square(self.nearest_vertex.query(points)[0]) * (1 + 1e-9) + 1e-18  # [P]
        count = len(self.levels[0][0])
        row, box = (grid.ravel() for grid in np.indices((len(points), count)))
        for level, (low, high) in enumerate(self.levels):
            gap = np.maximum(np.maximum(low[box] - points[row], points[row] - high[box]), 0)
            is_near = np.einsum("pi,pi->p", gap, gap) <= reach[row]
            row, box = row[is_near], box[is_near]
            is_last = level + 1 == len(self.levels)
            number = len(self.corners) if is_last else len(self.levels[level + 1][0])
            child = box[:, None] * CHILDREN + np.arange(CHILDREN)
            row, box = np.repeat(row, CHILDREN), child.ravel()
            row, box = row[box < number], box[box < number]
        return row, box


def _clean(vertices: Any, faces: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Merge corners at the same place and drop triangles that lost one."""
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
    if not len(faces) or not np.isfinite(vertices).all():
        raise ConfigError(f"{name}: {len(faces)} triangles with finite corners. Use another mesh.")
    vertices, place = np.unique(vertices, axis=0, return_inverse=True)
    faces = place.reshape(-1)[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    first, second, third = (vertices[faces[:, at]] for at in range(3))
    volume = np.einsum("fi,fi->", first, np.cross(second, third))
    return vertices, faces if volume >= 0 else faces[:, ::-1]  # its triangles may face inwards


def _pseudonormals(vertices: np.ndarray, faces: np.ndarray, name: str) -> np.ndarray:
    """Return the normals [F, 7, 3] of corners, edges and face of every triangle; their lengths say nothing."""
    corners = vertices[faces]
    sides = np.roll(corners, -1, axis=1) - corners  # [F, 3, 3] of edges 01, 12, 20
    face = np.cross(sides[:, 0], -sides[:, 2])
    face /= np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-300)
    ends = np.sort(np.stack((faces, np.roll(faces, -1, axis=1)), axis=-1), axis=-1)  # [F, 3, 2]
    _, edge, uses = np.unique(ends.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
    if open_edges := int((uses % 2 != 0).sum()):
        raise ConfigError(
            f"{name}: {open_edges} of {len(uses)} edges belong to an odd number of triangles, so it "
            "has no inside. Close its holes first, or use another mesh."
        )
    by_edge = np.zeros((len(uses), 3))
    np.add.at(by_edge, edge.reshape(-1), np.repeat(face, 3, axis=0))
    unit = sides / np.maximum(np.linalg.norm(sides, axis=-1, keepdims=True), 1e-300)
    turned = np.einsum("fki,fki->fk", unit, -np.roll(unit, 1, axis=1))
    angle = np.arccos(np.clip(turned, -1, 1))  # [F, 3] at each corner
    by_vertex = np.zeros_like(vertices)
    np.add.at(by_vertex, faces.reshape(-1), (angle[..., None] * face[:, None]).reshape(-1, 3))
    edges = by_edge[edge.reshape(-1, 3)]
    return np.concatenate((by_vertex[faces], edges, face[:, None]), axis=1)


def _boxes(corners: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return boxes around every eight triangles, around every eight of those, and so on."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    levels: list[tuple[np.ndarray, np.ndarray]] = []
    while len(low) > CHILDREN or not levels:
        starts = np.arange(0, len(low), CHILDREN)
        low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
        levels.insert(0, (low, high))
    return levels


def _closest(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest point [P, 3] of a triangle [P, 3, 3] to each point, and its feature [P]."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac = b - a, c - a
    d1, d2 = _dot(ab, points - a), _dot(ac, points - a)
    d3, d4 = _dot(ab, points - b), _dot(ac, points - b)
    d5, d6 = _dot(ab, points - c), _dot(ac, points - c)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    regions = [
        (d1 <= 0) & (d2 <= 0),
        (d3 >= 0) & (d4 <= d3),
        (d6 >= 0) & (d5 <= d6),
        (vc <= 0) & (d1 >= 0) & (d3 <= 0),
        (va <= 0) & (d4 >= d3) & (d5 >= d6),
        (vb <= 0) & (d2 >= 0) & (d6 <= 0),
    ]
    feature = np.select(regions, range(FACE), FACE)
    along_ab, along_ac = _share(d1, d1 - d3), _share(d2, d2 - d6)
    along_bc = _share(d4 - d3, (d4 - d3) + (d5 - d6))
    whole, none, one = va + vb + vc, np.zeros_like(d1), np.ones_like(d1)
    # the point is a + v ab + w ac
    v = np.choose(feature, (none, one, none, along_ab, 1 - along_bc, none, _share(vb, whole)))
    w = np.choose(feature, (none, none, one, none, along_bc, along_ac, _share(vc, whole)))
    return a + v[:, None] * ab + w[:, None] * ac, feature


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.einsum("pi,pi->p", first, second)
    return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=np.abs(whole) > 1e-300)
