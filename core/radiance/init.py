"""Where Gaussians start: at seed points, as large as the gaps between them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

BALL_SHARE = (
    0.8  # the demo's 30,000 Gaussians as balls: 27.2 dB; whole 24.7, the mean of all axes 25.6
)
COLOR_MARGIN = 1 / 512  # keeps the logit of a colour of exactly 0 or 1 finite


def neighbour_distance(points: np.ndarray, low: float = 1e-4, high: float = 0.999) -> np.ndarray:
    """Return the root mean squared distance [P] to the three nearest other points, clamped."""
    if len(points) < 2:
        return np.full(len(points), min(high, 0.1), dtype=np.float32)
    nearest = min(4, len(points))
    distances, _ = cKDTree(points).query(points, k=nearest, workers=1)
    spread = np.sqrt(np.mean(distances[:, 1:] ** 2, axis=1))
    return np.clip(spread, low, high).astype(np.float32)


def grown_points(
    points: np.ndarray, colors: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Thin out or fill up seed points to `count`: new ones lie between a point and a near neighbour."""
    if len(points) >= count:
        chosen = np.sort(rng.choice(len(points), count, replace=False))
        return points[chosen], colors[chosen]
    if len(points) < 4:
        return points, colors
    parents = rng.integers(0, len(points), count - len(points))
    _, neighbours = cKDTree(points).query(points[parents], k=4, workers=1)
    partner = neighbours[np.arange(len(parents)), rng.integers(1, 4, len(parents))]
    share = rng.random((len(parents), 1))
    between = points[parents] * (1 - share) + points[partner] * share
    mixed = colors[parents] * (1 - share) + colors[partner] * share
    return np.concatenate((points, between)), np.concatenate((colors, mixed))


def logit(values: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) for values strictly between 0 and 1."""
    return np.log(values / (1 - values))


def color_logits(colors: np.ndarray) -> np.ndarray:
    """Return logits of colours 0..1, clamped so that pure black and white stay finite."""
    return logit(np.clip(colors, COLOR_MARGIN, 1 - COLOR_MARGIN)).astype(np.float32)


def ball_sizes(log_scales: np.ndarray, low: float = 1e-4, high: float = 0.999) -> np.ndarray:
    """Return the standard deviation [P] of a ball that covers about as much as an ellipsoid with log scales [P, 3].

    BALL_SHARE of the geometric mean of the two larger axes: what is seen of a flat disc is hardly ever its edge.
    """
    larger = np.sort(log_scales, axis=1)[:, 1:].mean(axis=1, dtype=np.float64)
    sizes = BALL_SHARE * np.exp(np.clip(larger, -50, 50))
    return np.clip(sizes, low, high).astype(np.float32)
