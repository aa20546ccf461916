"""A page is a scene file as well: what it carries, how exactly, and what a damaged one says."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from core.base.errors import FormatError
from core.capture.camera import Similarity
from core.formats import equirect, page
from core.formats.plain import exported
from core.radiance.equirect import Equirect, directions
from core.radiance.model import Surroundings
from core.radiance.sh_splats import SplatScene


def scene(count=300, num_bases=16):
    rng = torch.Generator().manual_seed(0)
    explicit = {
        "means": torch.randn(count, 3, generator=rng),
        "log_scales": torch.randn(count, 3, generator=rng) - 3,
        "quats": torch.randn(count, 4, generator=rng),
        "opacity_logits": torch.randn(count, generator=rng),
        "sh_coeffs": torch.randn(count, num_bases, 3, generator=rng) * 0.2,
    }
    to_original = Similarity(2.0, np.eye(3), np.array([5.0, -1.0, 2.0]))
    around = Surroundings(
        np.array([[-1.0] * 3, [1.0] * 3]), np.array([0.0, -1.0, 0.0]), to_original, {"capture": "x"}
    )
    return SplatScene(explicit, around).parts()


def picture():
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (4, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.fixture
def path(tmp_path):
    page.write(equirect.added(scene(), picture()), tmp_path / "a.html")
    return tmp_path / "a.html"


@pytest.mark.parametrize("num_bases", [1, 4, 9, 16])
def test_a_page_gives_back_its_gaussians_within_half_a_step_of_a_byte(num_bases, tmp_path):
    before = scene(num_bases=num_bases)
    page.write(before, tmp_path / "a.html")
    wanted, found = (exported(each, tmp_path) for each in (before, page.read(tmp_path / "a.html")))
    rows = [splats.taken(np.lexsort(splats.means.T)) for splats in (wanted, found)]
    np.testing.assert_array_equal(rows[1].means, rows[0].means)
    for name in ("log_scales", "sh_coeffs"):
        one, other = getattr(rows[0], name), getattr(rows[1], name)
        half_step = np.ptp(one, axis=0) / 510
        assert (np.abs(one - other) <= half_step * 1.01 + 1e-6).all()
    one, other = (each.quats / np.linalg.norm(each.quats, axis=1)[:, None] for each in rows)
    # four components, each half a step of 2 / 255 off at most: under a degree
    assert np.abs((one * other).sum(1)).min() > np.cos(np.radians(0.9))


def test_a_page_asks_nothing_of_a_network(path):
    text = path.read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@@", text)


def test_a_name_with_markup_stays_text(tmp_path):
    parts = scene()
    parts.summary["capture"] = "</title><script>alert(1)</script>"
    page.write(parts, tmp_path / "a.html")
    assert "alert(1)</script>" not in (tmp_path / "a.html").read_text("utf-8")


def test_a_page_keeps_its_background(path):
    kept = page.read(path).parts[equirect.NAME].values
    # JPEG at full colour resolution blurs the edges between flat fields of 8 pixels least of all
    assert np.abs(kept.astype(int) - picture()).mean() < 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"count": 300', '"count": 301'),
        lambda text: text.replace('"count": 300', '"count": 49000000'),
        lambda text: text.replace('"degree": 3', '"degree": 2'),
        lambda text: text.replace('"ranges": [[', '"ranges": [[NaN, 1], ['),
        lambda text: text.replace('id="splats">H4sI', 'id="splats">H4s*'),
        lambda text: text.replace('id="splats">H4sI', 'id="splats">AAAA'),
        lambda text: text.replace('id="background">/9j/', 'id="background">AAAA'),
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('id="facts"', 'id="other"'),
        lambda text: text[: text.index('id="splats"') + 1000],
        lambda text: "<html></html>",
    ],
)
def test_a_damaged_page_gets_one_sentence(path, damage):
    text = path.read_text("utf-8")
    damaged = damage(text)
    assert damaged != text
    path.write_text(damaged, "utf-8")
    with pytest.raises(FormatError, match=r"^a\.html"):
        page.read(path)


def test_a_page_of_another_programs_scene_looks_at_its_middle(tmp_path):
    parts = scene()
    parts.parts["means"].values[0] = 1e4  # one stray Gaussian
    page.write(parts, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text("utf-8")
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])
    # 300 draws leave the middle of their extremes uncertain; the stray one would move it by 1e4
    np.testing.assert_allclose(facts["pivot"], [5.0, -1.0, 2.0], atol=1.5)
    assert facts["radius"] < 10


def test_an_all_round_picture_answers_its_own_directions():
    rays = torch.from_numpy(directions(32))
    colors = Equirect(picture()).colors(rays)
    np.testing.assert_allclose(colors * 255, picture(), atol=0.05)  # float32 angles


def test_the_middle_of_an_all_round_picture_is_ahead_and_its_seam_is_closed():
    shown = np.zeros((2, 4, 3), np.uint8)
    shown[:, 2] = 200  # ahead and to the right
    find = Equirect(shown).colors
    sides = torch.tensor([[[np.sin(np.pi / 4), 0.0, np.cos(np.pi / 4)], [0.0, 0.0, -1.0]]])
    found = find(sides.float())[0, :, 0] * 255
    np.testing.assert_allclose(found, [200, 0], atol=0.1)
    np.testing.assert_allclose(find(torch.tensor([[[0.0, 0.0, 1.0]]]))[0, 0] * 255, 100, atol=0.1)
