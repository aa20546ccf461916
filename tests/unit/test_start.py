"""Training starts from a scene file: in the capture's coordinates, exactly where the model can hold it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captures import Heard, SmallCapture

from app.commands import parser
from app.panels.train import knob_widget
from app.panels.widgets import Path as PathWidget
from core import formats
from core.base import discover
from core.base.config import knobs, resolve
from core.base.errors import CaptureError, FormatError
from core.capture.capture import Capture
from core.formats.compare import psnr_of
from core.radiance.init import ball_sizes
from core.radiance.model import Surroundings
from core.radiance.sh_splats import SplatScene
from core.render.cpu import CpuRenderer
from core.render.view import GAUSSIANS
from core.study import Setup

COUNT = 400


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Capture:
    """Ten photographs whose coordinates are turned, moved and scaled against the scene's."""
    small = SmallCapture(tmp_path_factory.mktemp("start") / "small")
    return small.open(seeds="random", report=lambda _event: None).limited(80)


def scene(capture: Capture, degree: int = 2, away: float = 0.0) -> SplatScene:
    rng = torch.Generator().manual_seed(0)
    explicit = {
        "means": torch.rand(COUNT, 3, generator=rng) - 0.5 + away,
        "log_scales": torch.randn(COUNT, 3, generator=rng) * 0.4 - 3,
        "quats": torch.randn(COUNT, 4, generator=rng),
        "opacity_logits": torch.randn(COUNT, generator=rng) + 1,
        "sh_coeffs": torch.randn(COUNT, (degree + 1) ** 2, 3, generator=rng) * 0.2,
    }
    return SplatScene(explicit, Surroundings(capture.bounds, capture.up, capture.to_original, {}))


def study(name: str, capture: Capture, file, variant: str = "", **settings):
    found, heard = discover.load(name), Heard()
    config = resolve(found.Config, "quick", {"start": str(file), **settings})
    setup = Setup(variant=variant or found.variants[0], capture=capture, report=heard)
    made = found(config, setup)
    made.prepare()
    told = [event.text for event in heard.events if getattr(event, "key", "") == "start"]
    return made, told[0]


def apart(made, capture: Capture, other) -> float:
    cameras = [photo.camera for photo in capture.train]
    return psnr_of(made.snapshot(), other, cameras, CpuRenderer(), GAUSSIANS)


@pytest.mark.parametrize("suffix", [".ply", ".spz", ".glb", ".sog", ".hyrf"])
def test_the_first_picture_of_the_baseline_is_the_files(suffix, capture, tmp_path):
    path = tmp_path / f"a{suffix}"
    write = formats.save_scene if suffix == ".hyrf" else formats.export_scene
    write(scene(capture), path)
    made, told = study("splats_3dgs", capture, path)
    # a turn and a scale in 32 bits, of numbers near one: nothing that a photograph could show
    assert apart(made, capture, formats.open_scene(path)) > 80
    assert f"{COUNT} Gaussians" in told
    assert "no difference" in told or float(told.split(" dB")[0].split()[-1]) > 80
    made.step()
    assert made.model.degree == 2  # the file's bands stay
    assert apart(made, capture, formats.open_scene(path)) > 20


def test_bands_are_cut_off_or_filled_up(capture, tmp_path):
    formats.export_scene(scene(capture, 3), tmp_path / "three.ply")
    made, told = study("splats_3dgs", capture, tmp_path / "three.ply", "sh0")
    assert made.snapshot().sh_degree == made.model.degree == 0
    assert float(told.split(" dB")[0].split()[-1]) < 60  # and it says so
    formats.export_scene(scene(capture, 1), tmp_path / "one.ply")
    made, _ = study("splats_3dgs", capture, tmp_path / "one.ply")
    assert made.snapshot().sh_degree == 3
    assert apart(made, capture, formats.open_scene(tmp_path / "one.ply")) > 80
    assert float(made.model.explicit["sh_rest"][:, 3:].abs().max()) == 0


def test_hyrf_takes_places_opacities_and_colours_and_tells_the_rest(capture, tmp_path):
    formats.export_scene(scene(capture), tmp_path / "a.ply")
    source = formats.open_scene(tmp_path / "a.ply")
    made, told = study("hyrf", capture, tmp_path / "a.ply")
    begun, center = made.snapshot(), capture.train[0].camera.center
    mine = begun.all_splats(center)
    theirs = source.all_splats(capture.to_original.apply(center))
    places = capture.to_original.apply(mine.means.double().numpy())
    np.testing.assert_allclose(places, theirs.means, atol=1e-5)
    np.testing.assert_allclose(mine.opacities, theirs.opacities, atol=2e-3)
    sizes = ball_sizes(np.log(theirs.scales.numpy() / capture.to_original.scale))
    # the fields' first offsets are small but not zero, and one number cannot undo three
    np.testing.assert_allclose(mine.scales.log().mean(1), np.log(sizes), atol=0.02)
    assert 15 < float(told.split(" dB")[0].split()[-1]) < 60
    made.step()


def test_a_scene_with_fields_is_baked_first(capture, tmp_path):
    formats.export_scene(scene(capture), tmp_path / "a.ply")
    first, _ = study("hyrf", capture, tmp_path / "a.ply")
    formats.save_scene(first.snapshot(), tmp_path / "a.hyrf")
    made, _ = study("splats_3dgs", capture, tmp_path / "a.hyrf")
    assert apart(made, capture, formats.open_scene(tmp_path / "a.hyrf")) > 35


def test_what_no_camera_sees_or_is_not_there_is_refused(capture, tmp_path):
    formats.export_scene(scene(capture, away=1e4), tmp_path / "far.ply")
    with pytest.raises(CaptureError, match=r"far\.ply: none of its 400 Gaussians is seen"):
        study("splats_3dgs", capture, tmp_path / "far.ply")
    with pytest.raises(CaptureError, match="it is not there"):
        study("hyrf", capture, tmp_path / "gone.ply")
    (tmp_path / "bad.ply").write_bytes(b"ply")
    with pytest.raises(FormatError, match=r"bad\.ply"):
        study("hyrf", capture, tmp_path / "bad.ply")


def test_more_gaussians_than_the_cap_are_kept_but_none_are_added(capture, tmp_path):
    formats.export_scene(scene(capture), tmp_path / "a.ply")
    density = {"density.cap": 300, "density.every": 2, "density.start": 0.0, "steps": 20}
    made, _ = study("splats_3dgs", capture, tmp_path / "a.ply", **density)
    for _ in range(6):
        made.step()
    assert 0 < made.snapshot().num_gaussians <= COUNT


def test_the_start_is_an_option_and_a_setting_with_a_file_dialog():
    words = ["train", "folder", "--out", "run", "--start", "a.spz"]
    assert parser().parse_args(words).start == "a.spz"
    knob = next(
        k for k in knobs(resolve(discover.load("hyrf").Config, "quick")) if k.key == "start"
    )
    widget = knob_widget(knob)
    assert isinstance(widget, PathWidget)
    assert {".ply", ".spz", ".hyrf"} <= set(widget.suffixes)
