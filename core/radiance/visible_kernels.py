"""Compiled loops of the choice of Gaussians that one photograph shows.

means      [N, 3]  float32  scene units
sizes      [N]     float32  scene units, largest standard deviations as last known
camera     [21]    float32  see `core.radiance.visible`
found      [N]     int64    rows kept, chunk by chunk, each chunk's from its own beginning
counts     [chunks] int64   how many of each chunk
rows       [V]     int64    rows kept, in order, none twice
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import parallel_kernel, prange

CHUNK = 2048

_ZERO = np.float32(0)


@parallel_kernel
def cull(means, sizes, camera, found, counts):
    """Note the rows that can touch the picture."""
    num = means.shape[0]
    for chunk in prange(counts.shape[0]):
        start, stop = chunk * CHUNK, min(num, (chunk + 1) * CHUNK)
        is_kept = np.empty(CHUNK, np.uint8)
        c = camera
        for n in range(start, stop):
            px, py, pz, reach = means[n, 0], means[n, 1], means[n, 2], c[12] * sizes[n]
            x = c[0] * px + c[1] * py + c[2] * pz + c[9]
            y = c[3] * px + c[4] * py + c[5] * pz + c[10]
            z = c[6] * px + c[7] * py + c[8] * pz + c[11]
            is_kept[n - start] = (
                (z + reach > _ZERO)
                & (x + reach * c[13] > c[14] * z)
                & (x - reach * c[15] < c[16] * z)
                & (y + reach * c[17] > c[18] * z)
                & (y - reach * c[19] < c[20] * z)
            )
        place = start
        for n in range(start, stop):
            if is_kept[n - start]:
                found[place] = n
                place += 1
        counts[chunk] = place - start


@parallel_kernel
def join(found, places, rows):
    """Put the chunks' rows one behind the other; chunk c starts at `places[c]`."""
    for chunk in prange(places.shape[0] - 1):
        first = places[chunk]
        for i in range(first, places[chunk + 1]):
            rows[i] = found[chunk * CHUNK + i - first]


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    points, one, rows = np.zeros((1, 3), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64)
    cull(points, one, np.zeros(21, np.float32), rows, rows.copy())
    join(rows, np.zeros(2, np.int64), rows.copy())
    yield "choice of what a photograph shows"
