"""Hand out training photographs one by one: random order without replacement, at the size asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from core.capture.camera import Camera
from core.capture.capture import Photo

CACHE_BYTES = 2 << 30


class PhotoSupply:
    """Photographs as [H, W, 3] float tensors 0..1 with their cameras; decoded pictures are kept up to a bound."""

    def __init__(self, photos: Sequence[Photo], device: str, seed: int) -> None:
        self.photos, self.device = tuple(photos), device
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []
        self._cache: OrderedDict[tuple[int, float], np.ndarray] = OrderedDict()
        self._cached_bytes = 0

    def next(self, scale: float = 1.0) -> tuple[Camera, torch.Tensor]:
        """Return the next photograph at `scale` of its size."""
        if not self._order:
            self._order = self._rng.permutation(len(self.photos)).tolist()
        index = self._order.pop()
        picture = self._picture(index, scale)
        camera = self.photos[index].camera.resized(picture.shape[1], picture.shape[0])
        target = torch.from_numpy(picture).to(self.device).float().div_(255)  # [H, W, 3]
        return camera, target

    def _picture(self, index: int, scale: float) -> np.ndarray:
        key = (index, scale)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        picture = self.photos[index].image()
        if scale < 1.0:
            size = (
                max(1, round(picture.shape[1] * scale)),
                max(1, round(picture.shape[0] * scale)),
            )
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._cache[key] = picture
        self._cached_bytes += picture.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= dropped.nbytes
        return picture

    def state(self) -> dict[str, Any]:
        """Return the order still to come and the random state."""
        return {"order": list(self._order), "rng": self._rng.bit_generator.state}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._order = [int(index) for index in state["order"]]
        self._rng.bit_generator.state = state["rng"]
