"""A background as a far shell of Gaussians: closed, behind everything, and closer than none."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from core import formats
from core.capture.camera import Camera, Similarity, look_at
from core.formats.spread import spread
from core.formats.table import ExportOptions
from core.radiance.field import Sphere
from core.radiance.model import Surroundings
from core.radiance.sh_splats import SplatScene
from core.render.evaluate import draw
from core.render.view import GAUSSIANS

UP = np.array([0.0, -1.0, 0.0])
CENTER, RADIUS = np.array([0.5, 0.0, -0.2]), 40.0


def renderer():
    from core.render.cpu import CpuRenderer

    return CpuRenderer()


def sky(_origin: np.ndarray, rays: torch.Tensor) -> torch.Tensor:
    """Return a smooth colour that is another one in every direction."""
    return 0.5 + 0.4 * rays


class SceneWithSky(SplatScene):
    """Three Gaussians before a far sphere."""

    kind = "hyrf"  # a scene with fields, as far as an export knows

    def background(self, camera: Camera) -> torch.Tensor:
        return sky(camera.center, torch.as_tensor(camera.directions(), dtype=torch.float32))

    def sphere(self) -> Sphere:
        return Sphere(CENTER, RADIUS, sky)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr("core.formats.shell.NUMBERS", (1024, 4096))


def cameras() -> list[Camera]:
    return [
        Camera(look_at(np.zeros(3), place, UP), 60.0, 60.0, 40.0, 30.0, 80, 60)
        for place in spread(12) * [1, 0.8, 1]
    ]


def scene(far: float = 2.0) -> SceneWithSky:
    explicit = {
        "means": torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.5, -2.0], [far, 0.0, 0.0]]),
        "log_scales": torch.full((3, 3), -2.0),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(3, 1),
        "opacity_logits": torch.full((3,), 2.0),
        "sh_coeffs": torch.zeros(3, 4, 3),
    }
    around = Surroundings(np.array([[-1.0] * 3, [1.0] * 3]), UP, Similarity.identity(), {})
    return SceneWithSky(explicit, around)


@pytest.mark.parametrize(
    "suffix", [".ply", ".compressed.ply", ".spz", ".sog", ".glb", ".splat", ".html"]
)
def test_every_format_of_gaussians_takes_a_shell(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    options = ExportOptions(background="shell", sh_degree=1)
    told = formats.export_scene(scene(), path, cameras(), renderer(), options)
    against, before, without = map(float, re.findall(r"([\d.]+) dB", told))
    assert before > without + 10, told
    assert against > without + 8, told  # colours of 8 bits, places of 11
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    count = int(re.search(r"shell of ([\d,]+)", told)[1].replace(",", ""))
    assert formats.open_scene(path).num_gaussians == count + 3


def test_a_shell_has_no_gaps_and_stands_behind_everything(tmp_path):
    path = tmp_path / "a.ply"
    options = ExportOptions(background="shell")
    formats.export_scene(scene(far=70.0), path, cameras(), renderer(), options)
    back = formats.open_scene(path)
    away = np.linalg.norm(back.all_splats(np.zeros(3)).means[3:].numpy() - CENTER, axis=1)
    np.testing.assert_allclose(away, away[0], rtol=1e-4)
    assert away.min() > 70.0 - np.linalg.norm(CENTER)
    black = sum(
        int((draw(back, renderer(), camera, GAUSSIANS).sum(-1) < 0.2).sum()) for camera in cameras()
    )
    assert black == 0


def test_no_background_is_left_out_only_when_asked(tmp_path):
    for choice, beside in (("picture", True), ("none", False)):
        path = tmp_path / choice / "a.ply"
        options = ExportOptions(background=choice)
        told = formats.export_scene(scene(), path, cameras(), renderer(), options)
        assert ("leaves out" in told) != beside
        assert path.with_name("a.ply.background.jpg").exists() == beside
