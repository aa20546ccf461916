"""A scene file of a chosen quality, or of at most so many bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app import actions, commands
from app.session import Session
from core.base.errors import ConfigError, FormatError
from core.capture.camera import Camera, Similarity, look_at
from core.formats import export_scene, open_scene, save_scene, smaller
from core.formats.quality import Goal, Quality, parse_bytes
from core.formats.table import ExportOptions
from core.radiance.model import Surroundings
from core.radiance.sh_splats import SplatScene
from core.render.backend import choose

CAMERA = Camera(
    look_at(np.array([0.0, 0.0, -4.0]), np.zeros(3), np.array([0.0, -1.0, 0.0])),
    80.0,
    80.0,
    40.0,
    30.0,
    80,
    60,
)


def scene_of(count: int = 2000) -> SplatScene:
    rng = np.random.default_rng(0)
    values = {
        "means": rng.normal(size=(count, 3)) * 0.5,
        "log_scales": np.log(rng.uniform(0.02, 0.08, (count, 3))),
        "quats": rng.normal(size=(count, 4)),
        "opacity_logits": rng.normal(size=count),
        "sh_coeffs": rng.normal(size=(count, 1, 3)),
    }
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}
    summary = {"cameras": [{**CAMERA.to_json(), "name": "a"}]}
    bounds = np.array([[-2.0] * 3, [2.0] * 3])
    around = Surroundings(bounds, np.array([0.0, -1.0, 0.0]), Similarity.identity(), summary)
    return SplatScene(tensors, around, 0)


@pytest.fixture(scope="module")
def scene() -> SplatScene:
    return scene_of()


@pytest.fixture(scope="module")
def renderer():
    return choose("cpu", lambda _event: None)


def test_each_lower_quality_makes_a_smaller_file(tmp_path, scene, renderer):
    sizes = []
    for quality in Quality:
        save_scene(scene, tmp_path / "a.hyrf", Goal(quality), renderer)
        sizes.append((tmp_path / "a.hyrf").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 2


def test_a_file_is_at_most_as_large_as_asked_for_and_not_much_smaller(tmp_path, scene, renderer):
    save_scene(scene, tmp_path / "a.hyrf", Goal(), renderer)
    for share in (0.9, 0.6, 0.4):
        most = int((tmp_path / "a.hyrf").stat().st_size * share)
        save_scene(scene, tmp_path / "b.hyrf", Goal(Quality.BEST, most), renderer)
        # a rung is a quarter of an octave of every step: up to about a sixth of the bytes here
        assert 0.8 * most < (tmp_path / "b.hyrf").stat().st_size <= most
        assert open_scene(tmp_path / "b.hyrf").num_gaussians > 0


def test_a_limit_that_is_wide_enough_changes_nothing(tmp_path, scene, renderer):
    save_scene(scene, tmp_path / "a.hyrf", Goal(), renderer)
    save_scene(scene, tmp_path / "b.hyrf", Goal(Quality.BEST, 10**9), renderer)
    assert (tmp_path / "b.hyrf").read_bytes() == (tmp_path / "a.hyrf").read_bytes()


def test_a_limit_no_file_can_keep_is_one_sentence_and_leaves_no_file(tmp_path, scene, renderer):
    with pytest.raises(FormatError, match=r"b\.hyrf: this scene needs at least 0\.\d+ MB"):
        save_scene(scene, tmp_path / "b.hyrf", Goal(Quality.BEST, 100), renderer)
    assert not list(tmp_path.iterdir())


def test_what_adds_least_to_the_views_is_left_out(tmp_path, scene, renderer):
    told = smaller.write(scene, tmp_path / "a.hyrf", Goal(Quality.SMALLEST), [CAMERA], renderer)
    assert told == ["20% of the Gaussians, those that show least, were left out."]
    assert open_scene(tmp_path / "a.hyrf").num_gaussians == 1600


def test_contributions_are_the_blending_weights(renderer):
    scene = scene_of(2)
    scene.explicit["means"][:] = torch.tensor(
        [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    )  # one before the other
    scene.explicit["opacity_logits"][:] = 20.0
    shown = smaller.contributions(scene, [CAMERA], renderer)
    assert shown[0] > 2 * shown[1] > 0
    hidden = scene_of(1)
    hidden.explicit["means"][:] = torch.tensor([[0.0, 0.0, -9.0]])  # behind the camera
    assert smaller.contributions(hidden, [CAMERA], renderer).tolist() == [0.0]


def test_quality_is_for_the_native_format_only(tmp_path, scene):
    with pytest.raises(ConfigError, match=r"a\.ply: quality and size"):
        export_scene(scene, tmp_path / "a.ply", options=ExportOptions(goal=Goal(Quality.SMALL)))


@pytest.mark.parametrize(
    ("text", "size"), [("8MB", 8_000_000), (" 500 kb", 500_000), ("1.5MB", 1_500_000), ("800", 800)]
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-3MB", "8 apples", "0", "nan"])
def test_what_is_no_size_gets_one_sentence(text):
    with pytest.raises(ConfigError, match="is no size"):
        parse_bytes(text)


def test_a_panel_without_choices_means_the_best_without_limit():
    assert Goal.of(None, None) == Goal()
    assert Goal.of("small", 0.5) == Goal(Quality.SMALL, 500_000)


def test_the_command_line_takes_a_quality_or_a_size(tmp_path, scene, renderer, capsys):
    source, out = tmp_path / "a.hyrf", tmp_path / "b.hyrf"
    save_scene(scene, source, Goal(), renderer)
    assert commands.run(["export", str(source), str(out), "--at-most", "20kB"]) == 0
    assert 15_000 < out.stat().st_size <= 20_000
    assert "MB" in capsys.readouterr().out
    assert commands.run(["export", str(source), str(out), "--quality", "small"]) == 0
    assert out.stat().st_size < source.stat().st_size
    assert commands.run(["export", str(source), str(out), "--at-most", "8 apples"]) == 2
    assert "is no size" in capsys.readouterr().err


def test_what_a_panel_chose_is_what_is_saved(tmp_path, scene, renderer):
    source = tmp_path / "a.hyrf"
    save_scene(scene, source, Goal(), renderer)
    session = Session(inline=True, home=tmp_path / "home")
    try:
        session.post(actions.OpenPath(str(source)))
        session.post(actions.ChooseQuality("small"))
        session.post(actions.LimitSize(0.02))
        for _ in range(200):
            session.tick()
            if session.store.get("scene.gaussians", ""):
                break
        session.post(actions.SaveScene(str(tmp_path / "b.hyrf")))
        for _ in range(200):
            session.tick()
            if (tmp_path / "b.hyrf").exists():
                break
        assert 15_000 < (tmp_path / "b.hyrf").stat().st_size <= 20_000
    finally:
        session.close()
