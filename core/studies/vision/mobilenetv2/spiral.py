"""The demonstration of figure 1: a ReLU destroys a thin embedding and spares a wide one.

    points    [P, 2]     a spiral, within the unit circle
    lifts     [L, 2, n]  random matrices T
    returned  [L, P, 2]  ReLU(points T), mapped back to the plane

Two ways back: `least_squares` is the best linear one for these points, so that what is lost is lost to
every linear layer; `inverse` is the paper's pseudo-inverse of T, times the two that a ReLU takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.study import Probe

POINTS = 400
TURNS = 2.0
LIFTS = 8  # random matrices in a step
WIDTHS = (2, 3, 5, 15, 30)
PIXELS = 96
EDGE = 1.15  # of the drawing, in radii of the spiral


def spiral(points: int = POINTS) -> torch.Tensor:
    """Return a spiral [points, 2] out of the origin, centred."""
    share = torch.linspace(0.05, 1, points, dtype=torch.float64)
    angle = 2 * torch.pi * TURNS * share
    found = share[:, None] * torch.stack((torch.cos(angle), torch.sin(angle)), dim=1)
    return found - found.mean(dim=0)


def lifted(points: torch.Tensor, lifts: torch.Tensor) -> torch.Tensor:
    """Return ReLU(points T), [L, P, n]."""
    return torch.relu(points @ lifts)


def least_squares(points: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Map features back by the linear map that is best for these points, [L, P, 2]."""
    target = points.expand(len(features), -1, -1)
    # a ReLU can leave a feature that is zero everywhere: the pseudo-inverse has no trouble with it
    return features @ (torch.linalg.pinv(features, rtol=1e-10) @ target)


def inverse(features: torch.Tensor, lifts: torch.Tensor) -> torch.Tensor:
    """Map features back by twice the pseudo-inverse of the lift, [L, P, 2]."""
    return 2 * features @ torch.linalg.pinv(lifts)


def error(points: torch.Tensor, returned: torch.Tensor) -> torch.Tensor:
    """Return the root mean squared error of every lift, as a share of the spiral's size, [L]."""
    away = (returned - points).square().sum(dim=-1).mean(dim=-1)
    return (away / points.square().sum(dim=-1).mean()).sqrt()


class Spiral:
    """Lifts a spiral again and again; the errors are averaged over all lifts so far."""

    module = None

    def __init__(self, width: int, steps: int, seed: int) -> None:
        self.width, self.steps = width, steps
        self.rng = torch.Generator().manual_seed(seed)
        self.points = spiral()
        self.sums = torch.zeros(3, dtype=torch.float64)  # least squares, inverse, lifts

    def prepare(self) -> None:
        """Nothing is expensive here."""

    @property
    def total_steps(self) -> int:
        """Batches of random matrices."""
        return self.steps

    def step(self) -> dict[str, float]:
        """Lift by a few random matrices and map back."""
        lifts = self._lifts(LIFTS, self.width, self.rng)
        features = lifted(self.points, lifts)
        found = [
            error(self.points, returned).sum()
            for returned in (least_squares(self.points, features), inverse(features, lifts))
        ]
        self.sums += torch.stack((*found, torch.tensor(float(LIFTS), dtype=torch.float64)))
        return {"loss": float(found[0]) / LIFTS}

    def widen(self, width: int) -> None:
        """Lift to another width from now on."""
        if width != self.width:
            self.width, self.sums = width, torch.zeros_like(self.sums)

    def measure(self, options: Mapping[str, Any]) -> dict[str, float]:
        """Return the mean errors so far, as shares of the spiral's size."""
        if options:
            raise ConfigError(f"The spiral is measured without options, not with {dict(options)}.")
        best, paper, _ = (self.sums / self.sums[2].clamp_min(1)).tolist()
        return {"error": best, "error_inverse": paper, "lifts": float(self.sums[2])}

    def probes(self) -> tuple[Probe, ...]:
        """Draw the spiral and what comes back, at the paper's widths and at the chosen one."""
        widths = sorted({*WIDTHS, self.width})
        pictures, errors = [drawn(self.points, self.points)], []
        for width in widths:
            back, share = self._returned(width)
            pictures.append(drawn(back, self.points))
            errors.append(share)
        names = ("spiral", *(f"n = {width}" for width in widths))
        axes = ("picture", "y", "x", "channel")
        return (
            Probe("Spiral through a ReLU", "image", np.stack(pictures), axes, {"picture": names}),
            Probe(
                "Error by width",
                "curve",
                np.array([errors]),
                ("series", "n"),
                {"series": ("least squares",), "n": tuple(widths)},
                note="Share of the spiral's size, for one random matrix",
            ),
        )

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Draw before and after at one width {width}."""
        width = int(query["width"])
        if width < 1:
            raise ConfigError(f"A spiral is lifted to at least 1 number, not to {width}.")
        back, share = self._returned(width)
        pictures = np.stack((drawn(self.points, self.points), drawn(back, self.points)))
        return (
            Probe(
                "Spiral before and after",
                "image",
                pictures,
                ("picture", "y", "x", "channel"),
                {"picture": ("before", "after")},
                note=f"n = {width}, error {share:.3f}",
            ),
        )

    def _returned(self, width: int) -> tuple[torch.Tensor, float]:
        lifts = self._lifts(1, width, torch.Generator().manual_seed(width))
        back = least_squares(self.points, lifted(self.points, lifts))
        return back[0], float(error(self.points, back)[0])

    @staticmethod
    def _lifts(count: int, width: int, rng: torch.Generator) -> torch.Tensor:
        return torch.randn(count, 2, width, dtype=torch.float64, generator=rng)

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs."""
        return {"rng": self.rng.get_state(), "sums": self.sums.clone()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.rng.set_state(state["rng"])
        self.sums = state["sums"].clone()


def drawn(returned: torch.Tensor, points: torch.Tensor) -> np.ndarray:
    """Draw points [P, 2] as a picture [PIXELS, PIXELS, 3], from blue inside to red outside."""
    reach = EDGE * float(points.norm(dim=-1).max())
    places = ((returned.numpy() / reach + 1) / 2 * PIXELS).astype(int).clip(0, PIXELS - 1)
    share = np.linspace(0, 1, len(places))
    picture = np.full((PIXELS, PIXELS, 3), 245, np.uint8)
    colors = np.stack((share, 0.3 * np.ones_like(share), 1 - share), axis=-1)
    picture[places[:, 1], places[:, 0]] = (230 * colors).astype(np.uint8)
    return picture
