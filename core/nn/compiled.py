"""Compiled kernels: numba with a thread-safe threading layer and a cache on disk.

Kernels release the interpreter lock, so the window stays alive while they run. The number of
threads belongs to the calling thread (core/engine/cores.py sets it).
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numba
from numba import prange

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
