"""What this machine offers and how much of its memory is in use, in words. No torch."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from app.panels.words import data_size
from app.store import Store

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def describe(store: Store, home: Path, cores: int) -> None:
    """Fill in what is known before the engine starts."""
    store.update(
        machine__cores=cores,
        machine__processor=f"{processor()}, {cores_text(cores)}",
        machine__graphics="looked up while the engine starts",
        machine__memory=data_size(total_memory()) if total_memory() else "unknown",
        machine__disk=f"{data_size(shutil.disk_usage(_existing(home)).free)} free",
    )


def cores_text(cores: int) -> str:
    """Write a number of cores."""
    return "1 core" if cores == 1 else f"{cores} cores"


def processor() -> str:
    """Return the processor's name, as short as it comes."""
    names = Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].partition("@")[0].strip()
    return platform.processor() or platform.machine() or "CPU"


def total_memory() -> int:
    """Return the bytes of memory this process may use, 0 if unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 0
    try:
        return min(total, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or "max": no limit
        return total


def used_memory() -> int:
    """Return the bytes this process holds in memory, 0 if unknown."""
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def memory_text() -> str:
    """Write the memory in use of what there is."""
    used, total = used_memory(), total_memory()
    if not used:
        return ""
    return f"{used / 1e9:.1f} of {total / 1e9:.0f} GB" if total else data_size(used)


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
