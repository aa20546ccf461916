"""Compiled kernels: numba with a thread-safe threading layer and a cache on disk.

numba's own cache notices a change only in the file a kernel stands in, not in the constants and
kernels it imports. The cache folder is therefore named after all sources that kernels are made of.

Kernels release the interpreter lock, so the window stays alive while they run. The number of
threads belongs to the calling thread (core/engine/cores.py sets it).
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from pathlib import Path

import numba
from numba import prange

from core.base.cache import cache_folder

__all__ = ["kernel", "parallel_kernel", "prange"]


def _choose_threading_layer() -> str:
    """Take TBB if its library is beside this interpreter (the `tbb` wheel), else OpenMP; both allow several threads."""
    library = Path(sys.prefix) / "lib" / "libtbb.so.12"
    if library.exists():
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return "tbb"
        except OSError:
            return "omp"
    return "threadsafe"


def _source_key() -> str:
    """Return a hash of every file that holds kernels or what they are made of."""
    core = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for family in ("nn", "radiance", "render"):
        for path in sorted((core / family).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


numba.config.CACHE_DIR = str(cache_folder("kernels") / _source_key())
numba.config.THREADING_LAYER = _choose_threading_layer()

kernel = numba.njit(
    cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy"
)
parallel_kernel = numba.njit(
    cache=True,
    nogil=True,
    parallel=True,
    fastmath={"contract", "reassoc", "nsz", "arcp"},
    error_model="numpy",
)
