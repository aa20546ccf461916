"""Where the parts of the window stand."""

from __future__ import annotations

import pytest

from app.desktop.arrange import Area, arrange

SIZES = [(640, 480), (900, 600), (1099, 700), (1100, 700), (1280, 800), (1920, 1080), (3840, 2160)]


def parts(width: int, height: int) -> list[Area]:
    plan = arrange(width, height)
    areas = [plan.view, plan.top, plan.left, plan.strip, plan.status]
    return [area for area in [*areas, None if plan.is_folded else plan.right] if area]


@pytest.mark.parametrize("size", SIZES)
def test_parts_lie_inside_the_window_and_never_overlap(size):
    areas = parts(*size)
    for area in areas:
        assert area.left >= 0
        assert area.top >= 0
        assert area.left + area.width <= size[0]
        assert area.top + area.height <= size[1]
    for at, one in enumerate(areas):
        for other in areas[at + 1 :]:
            is_apart = (
                one.left + one.width <= other.left
                or other.left + other.width <= one.left
                or one.top + one.height <= other.top
                or other.top + other.height <= one.top
            )
            assert is_apart, (one, other)


@pytest.mark.parametrize("size", [size for size in SIZES if size[0] >= 1280])
def test_the_picture_has_60_percent_of_the_width(size):
    assert arrange(*size).view.width >= 0.6 * size[0]


def test_the_right_column_folds_below_1100_pixels():
    assert arrange(1099, 700).is_folded
    assert not arrange(1100, 700).is_folded


def test_without_chrome_the_picture_has_the_whole_window():
    plan = arrange(1280, 800, has_chrome=False)
    assert plan.view == Area(0, 0, 1280, 800)
    assert plan.left is plan.right is plan.top is plan.strip is plan.status is None


def test_where_nothing_trains_the_picture_takes_the_room_of_the_curves():
    with_curves, without = arrange(1280, 800), arrange(1280, 800, has_curves=False)
    assert without.view.height >= with_curves.view.height + 70
    assert without.strip is not None
    assert without.strip.top + without.strip.height < without.status.top + 2
