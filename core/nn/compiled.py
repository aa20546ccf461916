"""Compiled kernels: numba with a thread-safe threading layer and a cache on disk.

numba's own cache notices a change only in the file a kernel stands in, not in the constants and
kernels it imports. The cache folder is therefore named after all sources that kernels are made of.

Kernels release the interpreter lock, so the window stays alive while they run. The number of
threads belongs to the calling thread (core/engine/cores.py sets it).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import tempfile
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
    for pattern in ("nn/*.py", "radiance/*.py", "render/*.py", "formats/*_kernels.py"):
        for path in sorted(core.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _usable_cache(wanted: Path) -> tuple[Path, str | None]:
    """Return a folder that can be written, and a sentence where it is not the one wanted.

    The substitute must belong to this user alone: what lies in it is run.
    """
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted, None
    except OSError as error:
        reason = error.strerror or str(error)
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"hyrf-kernels-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        is_own = not hasattr(os, "getuid") or (found.st_uid == user and not found.st_mode & 0o077)
        if folder.is_symlink() or not is_own:
            folder = Path(tempfile.mkdtemp(prefix="hyrf-kernels-"))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="hyrf-kernels-"))
    text = (
        f"{wanted.parent} cannot be written ({reason}): compiled kernels are kept in {folder}, "
        "which may not outlast this session. Set HYRF_CACHE to a folder that can be written."
    )
    return folder / wanted.name, text


CACHE, CACHE_PROBLEM = _usable_cache(cache_folder("kernels") / _source_key())
numba.config.CACHE_DIR = str(CACHE)
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
