"""The smallest complete study: linear regression with Adam, random data order, and a picture of it.

Its state is whole (weights, moments, random numbers, data order), so a resumed run must give the
same numbers to the last bit.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch

from core.base.config import Config, live
from core.capture.camera import Camera, look_at
from core.radiance.splats import Splats
from core.study import Setup, Study


class TinyConfig(Config):
    steps: int = 40
    width: int = 8
    rate: float = live(0.05, gt=0, le=1, description="Learning rate.")
    batch: int = 4


class TinyStudy(Study):
    Config = TinyConfig
    variants: ClassVar[tuple[str, ...]] = ("plain",)

    def __init__(self, config: TinyConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.losses: list[float] = []
        self.fail_at = self.nan_at = -1
        self.is_prepared = False

    def prepare(self) -> None:
        config = self.config
        self.rng = torch.Generator().manual_seed(self.setup.seed)
        self.order = np.random.default_rng(self.setup.seed)
        inputs = torch.randn(32, config.width, generator=self.rng)
        self.inputs, self.targets = inputs, inputs.sum(1, keepdim=True)
        self.weights = torch.zeros(config.width, 1, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.weights], lr=config.rate)
        self.done, self.waiting, self.is_prepared = 0, [], True

    @property
    def total_steps(self) -> int:
        return self.config.steps

    def step(self) -> dict[str, float]:
        self.done += 1
        if self.done == self.fail_at:
            raise ZeroDivisionError("planted")
        if not self.waiting:
            self.waiting = [int(row) for row in self.order.permutation(len(self.inputs))]
        rows, self.waiting = (
            self.waiting[: self.config.batch],
            self.waiting[self.config.batch :],
        )
        noise = 0.1 * torch.randn(len(rows), 1, generator=self.rng)
        loss = ((self.inputs[rows] @ self.weights - self.targets[rows] + noise) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        return {"loss": float("nan") if self.done == self.nan_at else loss.item()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        return {"error": float((self.inputs @ self.weights - self.targets).square().mean())}

    def evaluate_pictures(self) -> dict[str, dict[str, float]]:
        return {"one.png": {"psnr": 20.0, "ssim": 0.5}}

    def configure(self, config: TinyConfig) -> None:
        self.config = config
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate

    def state(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "order": self.order.bit_generator.state,
            "waiting": self.waiting,
            "done": self.done,
        }

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.weights.copy_(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.order.bit_generator.state = state["order"]
        self.waiting, self.done = list(state["waiting"]), state["done"]


class TinyScene:
    """A snapshot: one Gaussian as grey as the first weight, over a blue background."""

    def __init__(self, step: int = 0, shade: float = 0.5, count: int = 1) -> None:
        self.step, self.num_gaussians, self.device = step, count, torch.device("cpu")
        self.shade = shade
        self.bounds, self.up = np.array([[-1.0] * 3, [1.0] * 3]), np.array([0.0, -1.0, 0.0])
        self.to_original, self.is_antialiased = None, False

    def splats(self, camera: Camera) -> Splats:
        return Splats(
            means=torch.zeros(1, 3),
            quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
            scales=torch.full((1, 3), 0.3),
            opacities=torch.tensor([0.9]),
            colors=torch.full((1, 3), self.shade),
        )

    def background(self, camera: Camera) -> torch.Tensor:
        return torch.tensor([0.0, 0.0, 1.0]).expand(camera.height, camera.width, 3)

    def sphere(self) -> None:
        return None

    def parts(self) -> Any:
        return SimpleNamespace()


class TinyPictureStudy(TinyStudy):
    """The same, with something to orbit."""

    def snapshot(self) -> TinyScene:
        return TinyScene(self.done, float(self.weights.detach()[0, 0].clamp(0, 1)))


def tiny_camera(width: int = 64, height: int = 48, turn: float = 0.0) -> Camera:
    """A camera 3 units away that looks at the origin."""
    center = np.array([3 * np.sin(turn), 0.0, -3 * np.cos(turn)])
    pose = look_at(center, np.zeros(3), np.array([0.0, -1.0, 0.0]))
    return Camera(pose, width * 1.2, width * 1.2, width / 2, height / 2, width, height)
