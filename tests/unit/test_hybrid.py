"""HyRF's scene: fields, background sphere, caching, and the way into and out of a file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.capture.camera import Camera, Similarity, look_at
from core.radiance.fields import FieldsConfig, HybridFields, Space, space_of
from core.radiance.hybrid import Decoder, HybridConfig, HybridScene
from core.radiance.model import Surroundings
from core.render.cpu import CpuRenderer
from core.render.evaluate import matrices

SMALL = FieldsConfig(levels=3, log2_table=8, base_resolution=4, max_resolution=16, hidden=16)
UP = np.array([0.0, -1.0, 0.0])


def camera_at(center: tuple[float, float, float], width: int = 24, height: int = 18) -> Camera:
    pose = look_at(np.array(center), np.zeros(3), UP)
    return Camera(pose, 20.0, 20.0, width / 2, height / 2, width, height)


def scene(count: int = 40, seed: int = 0, **settings) -> HybridScene:
    generator = torch.Generator().manual_seed(seed)
    config = HybridConfig(**{"fields": SMALL, **settings})
    fields = HybridFields(config.fields, generator)
    for grid in fields.grids().values():  # as if trained: offsets that matter
        grid.table.data.normal_(0, 0.5, generator=generator)
    explicit = {
        "means": torch.randn(count, 3, generator=generator) * 0.3,
        "color_logits": torch.randn(count, 3, generator=generator),
        "scale_logits": torch.full((count,), -2.0),
        "opacity_logits": torch.randn(count, generator=generator),
    }
    space = space_of([camera_at((0, 0, -2)), camera_at((1.5, 0.3, 1))])
    around = Surroundings(
        np.array([[-1, -1, -1], [1, 1, 1.0]]), UP, Similarity.identity(), {"capture": "x"}
    )
    return HybridScene(explicit, Decoder(config, fields.requires_grad_(False), space), around, 7)


def test_cached_drawing_gives_the_same_splats_as_decoding_from_scratch():
    hybrid, camera = scene(), camera_at((0, 0, -2))
    drawn = hybrid.splats(camera)
    rows = {name: values[drawn.ids] for name, values in hybrid.explicit.items()}
    fresh = hybrid.decoder.splats(rows, camera.center)
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(getattr(drawn, name), getattr(fresh, name), atol=2e-6, rtol=1e-5)


def test_positions_receive_no_gradient_through_the_fields():
    hybrid = scene()
    hybrid.decoder.fields.requires_grad_(True)
    leaves = {name: values.clone().requires_grad_(True) for name, values in hybrid.explicit.items()}
    splats = hybrid.decoder.splats(leaves, np.array([0, 0, -2.0]))
    (
        splats.colors.sum() + splats.scales.sum() + splats.quats.sum() + splats.opacities.sum()
    ).backward()
    assert leaves["means"].grad is None or leaves["means"].grad.abs().max() == 0
    assert leaves["color_logits"].grad.abs().max() > 0
    assert hybrid.decoder.fields.geometry_grid.table.grad.abs().max() > 0
    assert hybrid.decoder.fields.radiance_grid.table.grad.abs().max() > 0


def test_the_colour_changes_with_the_direction_and_the_geometry_does_not():
    hybrid = scene()
    front, side = (
        hybrid.all_splats(np.array([0, 0, -2.0])),
        hybrid.all_splats(np.array([2.0, 0, 0])),
    )
    assert (front.colors - side.colors).abs().max() > 1e-3
    torch.testing.assert_close(front.scales, side.scales, atol=0, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"has_explicit_color": False},
        {"has_fields": False},
        {"has_background": False},
        {"fields": SMALL.model_copy(update={"is_shared": True})},
    ],
)
def test_a_scene_taken_apart_and_put_together_draws_the_same(settings):
    hybrid = scene(**settings)
    again, camera = HybridScene.from_parts(hybrid.parts()), camera_at((1, 0.5, -1.5))
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(
            getattr(again.splats(camera), name),
            getattr(hybrid.splats(camera), name),
            atol=1e-6,
            rtol=1e-5,
        )
    assert again.step == 7
    behind, same = hybrid.background(camera), again.background(camera)
    assert (behind is None) == (same is None)
    if behind is not None:
        torch.testing.assert_close(behind, same, atol=1e-6, rtol=1e-5)


def test_one_shared_field_has_as_many_table_entries_as_two():
    two = HybridFields(SMALL.model_copy(update={"levels": 4}), torch.Generator().manual_seed(0))
    one = HybridFields(
        SMALL.model_copy(update={"levels": 4, "is_shared": True}), torch.Generator().manual_seed(0)
    )
    assert sum(g.table.numel() for g in one.grids().values()) == sum(
        g.table.numel() for g in two.grids().values()
    )


def test_rays_meet_the_sphere_at_its_radius():
    space = Space(-np.ones(3), np.ones(3), np.array([0.5, 0, 0]), 100.0)
    rays = torch.nn.functional.normalize(torch.randn(50, 3), dim=1)
    origin = np.array([3.0, -2.0, 1.0])
    points = space.sphere_points(origin, rays)
    radius = torch.linalg.norm(points - torch.tensor([0.5, 0, 0]), dim=1)
    torch.testing.assert_close(radius, torch.full((50,), 100.0), rtol=1e-5, atol=0)
    along = torch.nn.functional.normalize(points - torch.tensor(origin, dtype=torch.float32), dim=1)
    torch.testing.assert_close(along, rays, atol=1e-4, rtol=0)


def test_the_background_is_asked_only_where_light_passes():
    hybrid, camera = scene(), camera_at((0, 0, -2))
    alpha = torch.ones(camera.height, camera.width, 1)
    assert hybrid.decoder.backdrop(camera, alpha).abs().max() == 0
    alpha[:, :6] = 0.0
    partly = hybrid.decoder.backdrop(camera, alpha)
    whole = hybrid.decoder.background(camera)
    torch.testing.assert_close(partly[:, :6], whole[:, :6])


def test_a_coarse_background_follows_the_fine_one():
    hybrid, camera = scene(), camera_at((0, 0, -2), 64, 48)
    fine = hybrid.background(camera)
    config = hybrid.decoder.config.model_copy(update={"background_stride": 2})
    coarse = replace(hybrid.decoder, config=config).background(camera)
    assert coarse.shape == fine.shape
    assert (coarse - fine).abs().mean() < 0.25 * fine.std()


@pytest.mark.parametrize("seed", range(4))
def test_leaving_out_what_cannot_be_seen_changes_no_pixel(seed):
    hybrid = scene(count=400, seed=seed)
    hybrid.explicit["means"] *= 6  # most of the scene is outside the view, some Gaussians are huge
    hybrid.explicit["scale_logits"] = (
        torch.randn(400, generator=torch.Generator().manual_seed(seed)) - 2
    )
    camera, renderer = camera_at((0.2, 0.1, -1.0), 64, 48), CpuRenderer()
    culled, every = hybrid.splats(camera), hybrid.all_splats(camera.center)
    assert len(culled) < len(every)
    matrices_ = matrices(camera, torch.device("cpu"))
    drawn, full = (renderer.rasterize(s, *matrices_, 64, 48) for s in (culled, every))
    assert (drawn.rgb - full.rgb).abs().max() <= 1e-5
    assert (drawn.alpha - full.alpha).abs().max() <= 1e-5
