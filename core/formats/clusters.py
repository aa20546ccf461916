"""Codebooks for files: a few values that stand for many.

codebook   numbers [N, C]      -> codes [N, C] uint8 and 256 values
palette    vectors [N, D]      -> labels [N] and rows [P, D], P at most 65,536
"""

from __future__ import annotations

import numpy as np
import torch

CODES = 256
ROUNDS = 10
PALETTE_ROUNDS = 8
LARGEST_PALETTE = 64  # times 1024 rows
_BLOCK = 2**24  # distances held at a time


def codebook(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cluster numbers in one dimension: quantiles and even steps to begin with, then Lloyd's rounds."""
    flat = np.sort(values.reshape(-1).astype(np.float64))
    even = np.linspace(flat[0], flat[-1], CODES // 2)
    common = np.quantile(flat, np.linspace(0, 1, CODES // 2))
    book = np.sort(np.concatenate((even, common)))
    sums = np.concatenate(([0.0], np.cumsum(flat)))
    for _ in range(ROUNDS):
        borders = np.searchsorted(flat, (book[1:] + book[:-1]) / 2)
        ends = np.concatenate(([0], borders, [len(flat)]))
        counts = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(counts, 1)
        book = np.sort(np.where(counts > 0, means, book))
    codes = np.searchsorted((book[1:] + book[:-1]) / 2, values.astype(np.float64))
    return codes.astype(np.uint8), book.astype(np.float32)


def palette(vectors: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cluster vectors by k-means in two stages; as many rows as SOG's viewers expect.

    Groups first, then rows within every group in proportion to its members: distances are
    measured sqrt(P) times less often than to all rows at once. Equal vectors, of which a shell of
    Gaussians without harmonics has many, are one.
    """
    vectors, back = np.unique(vectors, axis=0, return_inverse=True)
    labels, rows = _clustered(vectors, seed)
    return labels[back.reshape(-1)], rows


def _clustered(vectors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    count = len(vectors)
    num_rows = min(LARGEST_PALETTE, 2 ** int(np.log2(max(1.0, count / 1024)))) * 1024
    vectors = np.ascontiguousarray(vectors, np.float32)
    if count <= num_rows:
        return np.arange(count), vectors
    points = torch.from_numpy(vectors)
    generator = torch.Generator().manual_seed(seed)
    num_groups = round(num_rows**0.5)
    groups, _ = _k_means(points, num_groups, generator)
    labels, rows, used = torch.empty(count, dtype=torch.int64), [], 0
    for group in range(num_groups):
        members = (groups == group).nonzero()[:, 0]
        if not len(members):
            continue
        share = max(1, len(members) * (num_rows - num_groups) // count)
        within, centers = _k_means(points[members], share, generator)
        labels[members] = within + used
        rows.append(centers)
        used += len(centers)
    return labels.numpy(), torch.cat(rows).numpy()


def _k_means(
    points: torch.Tensor, num_rows: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels [N] and centres [P, D] after Lloyd's rounds from random members."""
    chosen = torch.randperm(len(points), generator=generator)[:num_rows]
    centers = points[chosen].clone()
    for _ in range(PALETTE_ROUNDS):
        labels = _nearest(points, centers)
        counts = torch.bincount(labels, minlength=len(centers))
        sums = torch.zeros_like(centers).index_add_(0, labels, points)
        taken = counts > 0
        centers[taken] = sums[taken] / counts[taken, None]
        # an empty row takes the point that fits worst
        idle = (~taken).nonzero()[:, 0]
        if len(idle):
            errors = ((points - centers[labels]) ** 2).sum(dim=1)
            centers[idle] = points[errors.topk(len(idle)).indices]
    return _nearest(points, centers), centers


def _nearest(points: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Return the nearest centre [N] of every point."""
    offsets = (centers * centers).sum(dim=1)
    blocks = points.split(max(1, _BLOCK // len(centers)))
    return torch.cat([(offsets - 2 * block @ centers.T).argmin(dim=1) for block in blocks])
