"""Colours can be read on every ground, and the two that carry meaning stay apart."""

import pytest

from app.palette import DARK, GROUNDS, INKS, LIGHT, contrast


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("ground", GROUNDS)
def test_text_can_be_read_on_every_ground(theme, ink, ground):
    assert contrast(theme[ink], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_the_label_of_a_primary_button_can_be_read(theme):
    assert contrast(theme["on_action"], theme["action"]) >= 4.5


def test_black_on_white_has_the_contrast_of_the_standard():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)


def test_both_themes_name_the_same_roles():
    assert DARK.keys() == LIGHT.keys()
