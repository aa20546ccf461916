"""Pre-culling keeps whatever can touch the picture."""

import numpy as np
import torch

from core.capture.camera import Camera
from core.radiance.visible import visible_rows, visible_rows_reference

CAMERA = Camera(np.eye(4), 100.0, 100.0, 50.0, 40.0, 100, 80)


def rows_of(points: list[list[float]], sizes: float = 0.0) -> list[int]:
    means = torch.tensor(points)
    return visible_rows(means, CAMERA, torch.full((len(points),), sizes)).tolist()


def test_a_gaussian_behind_the_camera_is_left_out():
    assert rows_of([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]) == [1]


def test_a_gaussian_far_to_the_side_is_left_out():
    assert rows_of([[5.0, 0.0, 1.0], [-5.0, 0.0, 1.0], [0.0, 5.0, 1.0], [0.0, -5.0, 1.0]]) == []


def test_a_gaussian_straddling_the_border_is_kept():
    outside = [[2.0, 0.0, 1.0]]
    assert rows_of(outside, sizes=0.01) == []
    assert rows_of(outside, sizes=1.0) == [0]


def test_a_large_gaussian_around_the_camera_is_kept():
    assert rows_of([[0.0, 0.0, -0.5]], sizes=0.5) == [0]


def test_an_off_centre_principal_point_shifts_what_is_seen():
    shifted = Camera(np.eye(4), 100.0, 100.0, 0.0, 40.0, 100, 80)
    means = torch.tensor([[1.1, 0.0, 1.0], [-0.4, 0.0, 1.0]])
    assert visible_rows(means, shifted, torch.zeros(2)).tolist() == [0]
    assert visible_rows(means, CAMERA, torch.zeros(2)).tolist() == [1]


def test_the_compiled_choice_is_the_plain_one():
    draw = torch.Generator().manual_seed(0)
    means = torch.randn(5000, 3, generator=draw) * 3
    sizes = torch.rand(5000, generator=draw)
    found = visible_rows(means, CAMERA, sizes)
    assert 500 < len(found) < 4500
    assert torch.equal(found, visible_rows_reference(means, CAMERA, sizes))
    assert torch.equal(found, visible_rows_reference(means.double(), CAMERA, sizes.double()))
    assert len(visible_rows(means[:0], CAMERA, sizes[:0])) == 0
