"""The tour shows the pictures that its script makes, no others, and each is small."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.tour import pictures

PAGE = pictures.FOLDER.parent / "tour.md"


def test_the_page_shows_exactly_the_pictures_that_the_script_makes():
    shown = re.findall(r"!\[[^\]]+\]\(tour/([\w-]+)\.png\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(pictures.names())
    assert sorted(path.stem for path in pictures.FOLDER.iterdir()) == sorted(shown)


@pytest.mark.parametrize("name", pictures.names())
def test_a_picture_is_whole_small_and_not_blank(name):
    path = pictures.FOLDER / f"{name}.png"
    assert path.stat().st_size < pictures.MOST_BYTES
    with Image.open(path) as image:
        colors = image.convert("RGB").getcolors(2**24)
    assert len(colors) > 32  # one colour, or a few, would be a window without its panels


def test_the_readme_links_the_page():
    assert "docs/tour.md" in (Path(pictures.FOLDER).parents[1] / "README.md").read_text("utf-8")
