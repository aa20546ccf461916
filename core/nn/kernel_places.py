"""Where kernels stand and how they are shaped: weighted k-means and the spread of each cluster.

points   [P, d]     0..1
weights  [P]        how much detail is there
->
centers  [M, d]
shapes   [M, d, d]  inverse covariances, or [M] for hats, 1 / half width
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

ROUNDS = 10
EMPTY_VARIANCE = 1e-10  # of a cluster without points, before it is clipped
EVERYWHERE = 1e-3  # of the mean weight: flat regions get kernels at last


def drawn(
    points: np.ndarray, weights: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return some of the points [count, d], each as likely as its weight."""
    chances = weights + EVERYWHERE * weights.mean() + 1e-30
    return points[
        rng.choice(len(points), count, replace=count > len(points), p=chances / chances.sum())
    ]


def clustered(points: np.ndarray, weights: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return centres [M, d] after ten rounds of weighted k-means; one that owns nothing stays."""
    for _ in range(ROUNDS):
        owner = cKDTree(centers).query(points)[1]
        total = np.bincount(owner, weights, len(centers))
        means = [np.bincount(owner, weights * axis, len(centers)) for axis in points.T]
        has_points = total > 0
        centers = centers.copy()
        centers[has_points] = (np.stack(means, axis=1)[has_points]) / total[has_points, None]
    return centers


def on_a_lattice(count: int, rank: int) -> np.ndarray:
    """Return at most `count` centres in even rows, as many as rows of nearly equal length allow."""
    sides: list[int] = []
    left = count
    for at in range(rank):
        sides.append(max(1, int(left ** (1 / (rank - at)) + 1e-9)))
        left //= sides[-1]
    lines = [(np.arange(side) + 0.5) / side for side in sides]
    return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, rank)


def covariances(
    points: np.ndarray, weights: np.ndarray, centers: np.ndarray, alpha: float
) -> np.ndarray:
    """Return the weighted covariance [M, d, d] of the points nearest to each centre, over alpha."""
    owner = cKDTree(centers).query(points)[1]
    offset, count, rank = points - centers[owner], len(centers), points.shape[1]
    total = np.bincount(owner, weights, count)
    found = np.zeros((count, rank, rank))
    for i, j in np.ndindex(rank, rank):
        found[:, i, j] = np.bincount(owner, weights * offset[:, i] * offset[:, j], count)
    is_empty = total <= 0
    found[~is_empty] /= total[~is_empty, None, None]
    found[is_empty] = EMPTY_VARIANCE * np.eye(rank)
    return found / alpha


def inverted(covariance: np.ndarray, least: float | np.ndarray, most: float = 1.0) -> np.ndarray:
    """Return S [M, d, d], standard deviations clipped to `least` (a number or [M]) and `most`.

    A cluster of one pixel has no spread at all: unclipped it could not be inverted.
    """
    values, vectors = np.linalg.eigh(covariance)
    bounds = np.broadcast_to(np.square(least), values.shape[:1])[:, None]
    values = np.clip(values, np.minimum(bounds, most**2), most**2)
    found: np.ndarray = (vectors / values[:, None]) @ vectors.transpose(0, 2, 1)
    return found


def hats(covariance: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return 1 / half width [M] of hats as wide as the clusters, at least up to the next centre."""
    variance = np.trace(covariance, axis1=1, axis2=2) / covariance.shape[1]
    found: np.ndarray = 1 / np.clip(np.sqrt(variance), np.minimum(least, 1.0), 1.0)
    return found


def next_centre(centers: np.ndarray) -> np.ndarray:
    """Return the distance [M] to the nearest other centre, never nothing."""
    if len(centers) < 2:
        return np.ones(len(centers))
    return np.maximum(cKDTree(centers).query(centers, 2)[0][:, 1], 1e-4)
