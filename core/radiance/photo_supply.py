"""Hand out training photographs one by one: random order without replacement, at the size asked for.

Several ranks share one order: rank r takes every `world`-th photograph of it, so that a step of all
ranks shows what one process with a batch as large would see. The state is the same on every rank.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.base.errors import CaptureError, HybridError
from core.capture.camera import Camera
from core.capture.capture import Photo, resized
from core.radiance.picture_cache import PictureCache

AHEAD = 8  # photographs decoded before they are needed, at most
LIMIT_BYTES = 2 << 30  # of decoded photographs in memory
SMALLEST_BYTES = 256 << 20
MEMORY_SHARE = 0.25  # of what is free when training starts
# A sigmoid reaches neither 0 nor 1. Asked for a white backdrop, the networks of all Gaussians grew until float32 knew
# no gradient and never came back; with one level left they turn round (0.4 levels: too slowly to see in 300 steps).
DARKEST = 1 / 255
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass
class _Epoch:
    """One order of all photographs: those still to come, the next one last, and the random state after it."""

    waiting: list[int]
    random_state: Any


class PhotoSupply:
    """Photographs as float tensors 0..1 with their cameras; decoded ahead, kept up to a bound.

    [H, W, 3], or [H, W, 4] with the weight last where parts of a photograph are masked.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        device: str,
        seed: int,
        rank: int = 0,
        world: int = 1,
        bound: int | None = None,
    ) -> None:
        self.photos, self.device = tuple(photos), torch.device(device)
        if self.device.type == "cuda":  # named by number, for the thread that decodes ahead
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.rank, self.world = rank, world
        self._rng = np.random.default_rng(seed)
        self._epochs = deque([_Epoch([], self._rng.bit_generator.state)])
        self._scale = 1.0
        self.cache = PictureCache(self._decoded, self._size_of, bound or picture_bound())
        self._on_device: dict[tuple[int, float], torch.Tensor] = {}
        self._device_room = self._room_on_device()

    def next(self, scale: float = 1.0) -> tuple[Camera, torch.Tensor]:
        """Return the next photograph of this rank at `scale` of its size, its colours strictly inside 0..1."""
        upcoming = self._upcoming(self.world * (AHEAD + 1))[self.rank :: self.world]
        for _ in range(self.world):
            while not self._epochs[0].waiting:
                self._epochs.popleft()
            self._epochs[0].waiting.pop()
        if scale != self._scale:
            self.cache.clear()
            self._on_device.clear()
            self._device_room = self._room_on_device()
            self._scale = scale
        key, *ahead = ((index, scale) for index in upcoming)
        picture = self._picture(key, ahead)
        camera = self.photos[key[0]].camera.resized(picture.shape[1], picture.shape[0])
        sample = picture.float().div_(255)  # [H, W, 3 or 4]
        sample[..., :3].clamp_(DARKEST, 1 - DARKEST)
        return camera, sample

    def _upcoming(self, count: int) -> list[int]:
        """Return the next photographs of all ranks in order."""
        while sum(len(epoch.waiting) for epoch in self._epochs) < count:
            order = self._rng.permutation(len(self.photos)).tolist()
            self._epochs.append(_Epoch(order, self._rng.bit_generator.state))
        return list(islice(chain(*(reversed(epoch.waiting) for epoch in self._epochs)), count))

    def _picture(self, key: tuple[int, float], ahead: Sequence[tuple[int, float]]) -> torch.Tensor:
        """Return a photograph [H, W, 3 or 4] uint8 on the device."""
        if self.device.type == "cpu":
            return self.cache.take(key, ahead)
        if key not in self._on_device:
            held = self.cache.take(key, [one for one in ahead if one not in self._on_device])
            picture = held.to(self.device, non_blocking=True)
            if picture.nbytes > self._device_room:
                return picture
            self._device_room -= picture.nbytes
            self._on_device[key] = picture
        return self._on_device[key]

    def _room_on_device(self) -> int:
        if self.device.type != "cuda":
            return 0
        return int(MEMORY_SHARE * torch.cuda.mem_get_info(self.device)[0])

    def _size(self, key: tuple[int, float]) -> tuple[int, int]:
        index, scale = key
        camera = self.photos[index].camera
        if scale >= 1.0:
            return camera.width, camera.height
        return max(1, round(camera.width * scale)), max(1, round(camera.height * scale))

    def _size_of(self, key: tuple[int, float]) -> int:
        width, height = self._size(key)
        return self.photos[key[0]].most_channels * width * height

    def _decoded(self, key: tuple[int, float]) -> torch.Tensor:
        photo, size = self.photos[key[0]], self._size(key)
        try:
            picture = photo.sample()
        except HybridError:
            raise
        except Exception as error:  # whatever a decoder raises, the person needs the file's name
            raise CaptureError(
                f"{photo.path.name} could not be decoded ({error}). "
                "Replace the file or remove it from the capture."
            ) from error
        found = torch.from_numpy(np.ascontiguousarray(resized(picture, *size)))
        if self.device.type != "cuda":
            return found
        with torch.cuda.device(self.device):
            return found.pin_memory()  # so that it can be copied while the GPU works

    def state(self) -> dict[str, Any]:
        """Return the order still to come and the random state, as if nothing were looked at ahead."""
        epoch = self._epochs[0]
        return {"order": list(epoch.waiting), "rng": epoch.random_state}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._epochs = deque([_Epoch([int(index) for index in state["order"]], state["rng"])])
        self._rng.bit_generator.state = state["rng"]


def picture_bound() -> int:
    """Return how many bytes of decoded photographs this process may keep."""
    sharing = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1))  # ranks on this machine
    free = memory_available()
    if free is None:
        return LIMIT_BYTES // sharing
    return max(SMALLEST_BYTES, min(LIMIT_BYTES, int(MEMORY_SHARE * free / sharing)))


def memory_available(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """Return the bytes this process may still take, of the machine and of its container; None: unknown."""
    found = []
    try:
        lines = meminfo.read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError, IndexError):  # not Linux
        found = []
    try:
        limit, used = ((cgroup / f"memory.{name}").read_text() for name in ("max", "current"))
        found.append(max(0, int(limit) - int(used)))
    except (OSError, ValueError):  # no container, or "max": no limit
        return min(found, default=None)
    return min(found)
