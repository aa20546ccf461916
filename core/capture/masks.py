"""Masks: which pixels of a photograph count in loss and metrics; the others are neither learnt nor measured.

    weight  [H, W] uint8   255 counts, 0 does not, between: by that share

A mask is a picture beside the photograph: masks/NAME.png or masks/NAME.SUFFIX.png next to the folder
of pictures or in it, what `mask_path` of a transforms.json names, or dynamic_mask_NAME.png of
instant-ngp, where bright pixels do not count. Transparency of the photograph itself may serve as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np
from pydantic import Field

from core.base.config import Config
from core.capture.frames import Frame, Mask, counted, fitted_lens, listed
from core.capture.lens import Lens
from core.capture.pictures import Picture, PictureFolder, check
from core.capture.pixels import decode, turned

FOLDERS = ("masks", "mask")
INVERTED_PREFIX = "dynamic_mask_"
LEVELS_DEEP = 4  # folders between a picture and the capture in which masks are looked for


class Transparency(str, Enum):
    """What the transparent parts of a photograph are."""

    WHITE = "white"
    BLACK = "black"
    MASK = "mask"


class MaskConfig(Config):
    """Which pixels of the photographs are learnt and measured."""

    is_used: bool = Field(
        True,
        title="Use masks",
        description="Leave out of loss and metrics what the masks beside the pictures hide.",
    )
    is_inverted: bool = Field(
        False,
        title="Invert masks",
        description="Learn what is black in the masks instead of what is white.",
    )
    transparency: Transparency = Field(
        Transparency.WHITE,
        title="Transparent pixels",
        description="Learn them as white or black, or leave them out like masked ones.",
    )


class MaskFinder:
    """Find the masks of a capture's pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[Path, PictureFolder] = {}

    def find(self, picture: Path) -> Mask | None:
        """Return the mask of a picture, None where there is none."""
        beside = self._in(picture.parent).find(f"{INVERTED_PREFIX}{picture.stem}.png")
        if beside is not None:
            return Mask(beside, is_inverted=True)
        for place in list(picture.parents)[:LEVELS_DEEP]:
            *inner, name = picture.relative_to(place).parts
            for folder in FOLDERS:
                # images/left/a.jpg has its mask in masks/left or in masks/images/left
                for skipped in range(min(len(inner), 1), -1, -1):
                    masks = place.joinpath(folder, *inner[skipped:])
                    if masks != picture.parent and masks.is_dir():
                        found = self._in(masks).find(name) or self._in(masks).find(picture.stem)
                        if found is not None:
                            return Mask(found)
            if place == self.folder:
                break
        return None

    def _in(self, folder: Path) -> PictureFolder:
        return self._found.setdefault(folder, PictureFolder(folder))


def with_masks(
    frames: Sequence[Frame], pictures: dict[Path, Picture], folder: Path
) -> tuple[list[Frame], list[str]]:
    """Give frames their masks; leave out those whose mask cannot be used, naming them."""
    finder = MaskFinder(folder)
    found = [
        frame if frame.mask or frame.path is None else replace(frame, mask=finder.find(frame.path))
        for frame in frames
    ]
    kept, without, notices = [], [], []
    for frame in found:
        if frame.mask is None:
            kept.append(frame)
            without.append(frame.name)
            continue
        picture = check(frame.mask.path)
        problem, orientation = picture.problem, _orientation(frame, picture, pictures)
        if not problem and orientation is None:
            problem = f"is {picture.width}x{picture.height} pixels, another shape than its picture"
        if problem:
            name = frame.mask.path.name
            notices.append(f"{frame.name} has a mask that {problem}: {name}; it is left out.")
        else:
            kept.append(replace(frame, mask=replace(frame.mask, orientation=orientation or 1)))
    if without and len(without) < len(found):
        notices.append(
            f"{counted(without, len(found))} have no mask, all their pixels count: {listed(without)}."
        )
    return kept, notices


def _orientation(frame: Frame, mask: Picture, pictures: dict[Path, Picture]) -> int | None:
    """Return how a mask must be turned to lie over its picture; None where its shape fits neither way.

    A mask without a tag was painted over the picture as it is shown, unless only the stored one has its shape.
    """
    width, height = mask.width, mask.height
    own = mask.orientation if frame.is_turned else 1
    if own in (5, 6, 7, 8):
        width, height = height, width
    if fitted_lens(frame.lens, width, height) is not None:
        return own
    if frame.is_turned and own == 1 and frame.path is not None:
        picture = pictures[frame.path]
        if picture.is_sideways and fitted_lens(frame.lens, height, width) is not None:
            return picture.orientation
    return None


def read_weight(mask: Mask, lens: Lens) -> np.ndarray:
    """Return the weights [H, W] uint8 of a mask as the pinhole camera of the picture's lens sees it."""
    pixels = turned(decode(mask.path.read_bytes()), mask.orientation)
    weight = pixels[..., :3].max(axis=2)
    if weight.max(initial=0) == 1:  # numbers instead of brightness
        weight = weight * np.uint8(255)
    height, width = weight.shape
    weight = lens.resized(width, height).undistort(weight)
    return 255 - weight if mask.is_inverted else weight
