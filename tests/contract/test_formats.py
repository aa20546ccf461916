"""What every scene format promises, and what opening, saving and exporting promise over all of them."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from core import formats
from core.base.errors import FormatError
from core.capture.camera import Camera, Similarity, look_at
from core.formats.bake import bake_sh
from core.formats.table import FORMATS, is_scene
from core.radiance.fields import FieldsConfig, HybridFields, Space
from core.radiance.hybrid import Decoder, HybridConfig, HybridScene
from core.radiance.model import Surroundings
from core.radiance.parts import SceneParts
from core.radiance.scenes import assemble
from core.radiance.sh_splats import SplatScene

ROTATION = np.array([[0.0, -0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, 0.6]])
COUNT = 400


def cameras() -> list[Camera]:
    places = [(0.0, 0.0, -4.0), (3.0, 1.0, -2.5), (-3.0, -1.0, -2.5), (0.5, -3.0, 3.0)]
    up = np.array([0.0, -1.0, 0.0])
    return [
        Camera(look_at(np.array(p), np.zeros(3), up), 60.0, 60.0, 32.0, 24.0, 64, 48)
        for p in places
    ]


def surroundings() -> Surroundings:
    bounds = np.array([[-1.0] * 3, [1.0] * 3])
    to_original = Similarity(2.0, ROTATION, np.array([5.0, -1.0, 2.0]))
    return Surroundings(bounds, np.array([0.0, -1.0, 0.0]), to_original, {"capture": "test"})


def hybrid_scene() -> HybridScene:
    """Return a scene with smooth fields: coarse levels, so that colour depends mildly on direction."""
    rng = torch.Generator().manual_seed(0)
    sizes = FieldsConfig(levels=3, log2_table=9, base_resolution=2, max_resolution=8, hidden=16)
    fields = HybridFields(sizes, rng)
    with torch.no_grad():
        for grid in fields.grids().values():
            grid.table.copy_(torch.randn(grid.table.shape, generator=rng))
    explicit = {
        "means": torch.randn(COUNT, 3, generator=rng) * 0.5,
        "color_logits": torch.randn(COUNT, 3, generator=rng),
        "scale_logits": torch.full((COUNT,), -3.0),
        "opacity_logits": torch.randn(COUNT, generator=rng),
    }
    space = Space(-np.ones(3), np.ones(3), np.zeros(3), 100.0)
    return HybridScene(
        explicit, Decoder(HybridConfig(fields=sizes), fields, space), surroundings(), 9
    )


def splat_scene() -> SplatScene:
    rng = torch.Generator().manual_seed(0)
    explicit = {
        "means": torch.randn(COUNT, 3, generator=rng) * 0.5,
        "log_scales": torch.randn(COUNT, 3, generator=rng) * 0.3 - 3,
        "quats": torch.randn(COUNT, 4, generator=rng),
        "opacity_logits": torch.randn(COUNT, generator=rng),
        "sh_coeffs": torch.randn(COUNT, 16, 3, generator=rng) * 0.15,
    }
    return SplatScene(explicit, surroundings(), 9)


SCENES = {"hyrf": hybrid_scene, "splats": splat_scene}


def renderer():
    from core.render.cpu import CpuRenderer

    return CpuRenderer()


SCENE_FORMATS = [entry for entry in FORMATS if entry.is_scene]
ALL = pytest.mark.parametrize("entry", SCENE_FORMATS, ids=lambda entry: entry.name)
WRITTEN = pytest.mark.parametrize(
    "entry", [entry for entry in SCENE_FORMATS if entry.is_written], ids=lambda entry: entry.name
)
EXTRACTS = pytest.mark.parametrize(
    "entry", [entry for entry in FORMATS if not entry.is_scene], ids=lambda entry: entry.name
)
# dB of whole pictures; a photograph's own noise is near 40, and without harmonics nobody promises that
LOSS = {"Splat": 25, "SPZ": 35, "SOG": 35, "Compressed PLY": 35}


@ALL
def test_every_row_names_a_module_with_its_functions(entry):
    module = importlib.import_module(f"core.formats.{entry.module}")
    assert callable(module.read)
    assert callable(module.info)
    assert hasattr(module, "write") == entry.is_written
    assert entry.loses
    assert all(suffix.startswith(".") for suffix in entry.suffixes)


@pytest.mark.parametrize("kind", SCENES)
@WRITTEN
def test_an_export_opens_again_looks_alike_and_says_so(entry, kind, tmp_path):
    scene = SCENES[kind]()
    path = tmp_path / f"scene{entry.suffixes[0]}"
    sentence = formats.export_scene(scene, path, cameras(), renderer())
    back = formats.open_scene(path)
    assert back.num_gaussians == COUNT
    facts = formats.describe(path)
    assert {"num_gaussians", "sh_degree", "bounds", "bytes"} <= set(facts)
    sizes = formats.size_of(path)
    assert facts["bytes"] == path.stat().st_size == sizes.pop("total") == sum(sizes.values())
    assert "Re-opened: " in sentence
    found = re.search(r"([\d.]+) dB", sentence)
    assert "no difference" in sentence or float(found[1]) > LOSS.get(entry.name, 40), sentence
    lies_beside = kind == "hyrf" and not entry.holds_background
    assert ("lies beside it" in sentence) == lies_beside
    assert path.with_name(f"{path.name}.background.jpg").exists() == lies_beside
    assert ("without the background" in sentence) == (kind == "hyrf")


@pytest.mark.parametrize("kind", SCENES)
@EXTRACTS
def test_an_extract_is_written_weighed_and_never_opened(entry, kind, tmp_path):
    scene = SCENES[kind]()
    if entry.needs == "views":  # a surface is what cannot be seen through
        for name in {"log_scales", "scale_logits", "opacity_logits"} & set(scene.explicit):
            scene.explicit[name] += 2.0
    scene.surroundings.summary["cameras"] = [camera.to_json() for camera in cameras()]
    path = tmp_path / f"scene{entry.suffixes[0]}"
    assert " MB. " in formats.export_scene(scene, path)
    assert formats.size_of(path)["total"] > 0
    assert not is_scene(path)
    for use in (formats.open_scene, formats.describe):
        with pytest.raises(FormatError, match="extract"):
            use(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_format_that_is_only_read_says_so(tmp_path):
    for name in ("out.ksplat", "out.gltf"):
        with pytest.raises(FormatError, match=r"only read.*\.ply"):
            formats.export_scene(splat_scene(), tmp_path / name)


def test_an_export_finds_its_own_cameras_and_renderer(tmp_path):
    scene = splat_scene()
    assert "Re-opened: " in formats.export_scene(scene, tmp_path / "around.ply")  # some around it
    scene.surroundings.summary["cameras"] = [camera.to_json() for camera in cameras()]
    assert "Re-opened: " in formats.export_scene(scene, tmp_path / "remembered.ply")


@ALL
def test_rubbish_with_a_known_suffix_gets_one_sentence(entry, tmp_path):
    path = tmp_path / f"rubbish{entry.suffixes[0]}"
    for content in (b"", b"\0" * 1000, np.random.default_rng(0).bytes(1000)):
        path.write_bytes(content)
        for use in (formats.open_scene, formats.describe, formats.size_of):
            with pytest.raises(FormatError, match="rubbish"):
                use(path)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(FormatError, match=r"\.hyrf.*\.ply"):
        formats.open_scene(tmp_path / "scene.obj")


@pytest.mark.parametrize("kind", SCENES)
def test_a_saved_scene_remembers_where_it_came_from(kind, tmp_path):
    scene = SCENES[kind]()
    sentence = formats.save_scene(scene, tmp_path / "a.hyrf")
    assert f"{COUNT} Gaussians" in sentence
    back = formats.open_scene(tmp_path / "a.hyrf")
    assert back.step == 9
    assert back.to_original.to_json() == scene.to_original.to_json()
    formats.save_scene(back, tmp_path / "b.hyrf")
    assert (tmp_path / "b.hyrf").read_bytes() == (tmp_path / "a.hyrf").read_bytes()


def test_baking_keeps_the_geometry_and_follows_the_colour_where_cameras_looked_from():
    scene = hybrid_scene()
    baked = SplatScene.from_parts(bake_sh(scene, cameras()))
    for camera in cameras():
        before, after = scene.all_splats(camera.center), baked.all_splats(camera.center)
        np.testing.assert_array_equal(after.means, before.means)
        np.testing.assert_allclose(after.scales, before.scales, rtol=1e-5)
        np.testing.assert_allclose(after.opacities, before.opacities, atol=1e-6)
        # about 48 dB: a network is no polynomial
        assert float((after.colors - before.colors).square().mean().sqrt()) < 4e-3


def test_a_higher_degree_bakes_closer():
    scene, errors = hybrid_scene(), []
    center = cameras()[1].center
    for degree in range(4):
        baked = SplatScene.from_parts(bake_sh(scene, cameras(), degree))
        difference = baked.all_splats(center).colors - scene.all_splats(center).colors
        errors.append(float(difference.square().mean()))
    assert errors == sorted(errors, reverse=True)


def test_an_unknown_kind_and_parts_that_do_not_fit_are_one_sentence():
    parts = splat_scene().parts()
    with pytest.raises(FormatError, match="kind 'nerf'"):
        assemble(SceneParts("nerf", {}))
    for missing in ("means", "sh_base"):
        held = {name: part for name, part in parts.parts.items() if name != missing}
        with pytest.raises(FormatError, match="lacks"):
            assemble(SceneParts("splats", held))
    mixed = {**parts.parts, "quats": parts.parts["means"]}
    with pytest.raises(FormatError, match="do not fit"):
        assemble(SceneParts("splats", mixed))


@pytest.mark.parametrize(
    "sizes", [{"log2_table": 22, "levels": 24, "features": 8}, {"log2_table": "x"}]
)
def test_settings_that_ask_for_more_than_the_file_holds_allocate_nothing(sizes):
    parts = hybrid_scene().parts()
    parts.settings["config"]["fields"].update(sizes)
    with pytest.raises(FormatError, match=r"do not fit|not valid"):
        assemble(parts)


def test_listing_formats_needs_no_torch():
    code = "import sys, core.formats; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
