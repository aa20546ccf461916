"""What looks wrong with a capture that opens: pictures, cameras and seed points, each against all others.

Limits are shares of the capture's own median, because sharpness and brightness depend on what is
photographed; every row gives its figure, so that a person can judge. Nothing here refuses.

    sharpness   variance of the Laplacian of the grey picture at most LOOK_SIZE pixels long
    exposure    stops (factors of two of linear light) by which the points that a picture shows are
                brighter than the same points in the pictures taken beside it
    seen        share of the seed points that fall into the picture
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from core.base.errors import CaptureError
from core.base.events import Event, Progress
from core.capture.capture import Capture, Photo
from core.capture.placement import common_point, in_picture
from core.capture.problems import Problem, Severity, from_refusal

TASK = "Checking the photographs"
LOOK_SIZE = 640  # pixels: much finer detail is not learnt by any preset
SKETCH = 32  # pixels of the square that pictures are compared at
SAME_SKETCH = 1.0  # of 255: storing a JPEG again changes a sketch by less, a moving camera by more
BLURRED = 0.2  # of the median sharpness
EXPOSED = 1.0  # stops: less is also seen where neighbours show another part of the scene
NEIGHBOURS = 4
LEAST_COMMON = 20  # points that a picture and its neighbours show
FAR = 5.0  # median distances from the middle of the cameras
APART_DEGREES = 60.0
SAME_PLACE, SAME_DEGREES = 1e-3, 0.1  # scene units
LEAST_SEEN = 0.1  # of the median share
OWN_POINTS = 100  # fewer seed points are triangulated anew
MOST_POINTS = 4000  # that exposure and visibility are measured on
CROPPED = 0.005
EMPTY = 0.99  # of a picture is transparent


@dataclass(frozen=True, eq=False)
class Look:
    """What one decoded picture showed; `grey` is [h, w] float32, 0..255, `sketch` [SKETCH, SKETCH]."""

    sharpness: float
    transparent: float
    has_alpha: bool
    masked: float | None
    grey: np.ndarray
    sketch: np.ndarray


def doubts(
    capture: Capture,
    *,
    has_own_points: bool,
    report: Callable[[Event], None] = lambda _event: None,
    cancelled: Callable[[], bool] = lambda: False,
    workers: int = 1,
) -> list[Problem]:
    """Decode every picture once and return what looks wrong."""
    looks, problems = _looked_at(capture, report, cancelled, workers)
    photos = [photo for photo in capture.photos if photo.name in looks]
    if len(photos) < 2:
        return problems
    seen = [looks[photo.name] for photo in photos]
    problems += _blurred(capture, photos, seen)
    problems += _alike(capture, photos, seen)
    problems += _exposed(capture, photos, seen)
    problems += _transparent(capture, photos, seen)
    problems += _masked(capture, photos, seen)
    problems += _stray_cameras(capture, photos)
    problems += _same_places(capture, photos)
    problems += _seed_points(capture, photos, has_own_points)
    problems += _sizes(photos)
    return problems


def file_of(capture: Capture, photo: Photo) -> str:
    """Return a picture's path as the capture's folder names it."""
    return os.path.relpath(photo.path, capture.folder).replace(os.sep, "/")


def _looked_at(
    capture: Capture,
    report: Callable[[Event], None],
    cancelled: Callable[[], bool],
    workers: int,
) -> tuple[dict[str, Look], list[Problem]]:
    looks: dict[str, Look] = {}
    problems = []
    total = len(capture.photos)
    with ThreadPoolExecutor(workers, "look-at-picture") as pool:

        def look(photo: Photo) -> Look | CaptureError | None:
            try:
                return None if cancelled() else _look(photo)
            except CaptureError as error:
                return error

        for index, (photo, found) in enumerate(
            zip(capture.photos, pool.map(look, capture.photos), strict=True), 1
        ):
            if isinstance(found, CaptureError):
                problems.append(from_refusal(str(found)))
            elif found is not None:
                looks[photo.name] = found
            report(Progress(TASK, index / (total + 1), f"{index} of {total} pictures"))
    report(Progress(TASK, 1.0))
    return looks, problems


def _look(photo: Photo) -> Look:
    import cv2

    picture = photo.read()
    transparent = 0.0
    has_alpha = picture.shape[2] == 4
    if has_alpha:
        transparent = 1.0 - float(picture[..., 3].mean()) / 255.0
        picture = picture[..., :3] * (picture[..., 3:] > 0)  # a hidden colour says nothing
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    scale = LOOK_SIZE / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    sharpness = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    sketch = cv2.resize(grey, (SKETCH, SKETCH), interpolation=cv2.INTER_AREA)
    small = cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    masked = None if photo.read_weight is None else 1.0 - float(photo.read_weight().mean()) / 255.0
    small, sketch = small.astype(np.float32), sketch.astype(np.float32)
    return Look(sharpness, transparent, has_alpha, masked, small, sketch)


def _note(text: str, remedy: str, file: str = "", value: str = "") -> Problem:
    return Problem(Severity.NOTE, text, remedy, file, value=value)


def _blurred(capture: Capture, photos: Sequence[Photo], looks: Sequence[Look]) -> list[Problem]:
    usual = float(np.median([look.sharpness for look in looks]))
    rows = []
    for photo, look in zip(photos, looks, strict=True):
        if look.sharpness < BLURRED * usual:
            rows.append(
                _note(
                    f"{photo.name} looks blurred: its sharpness is {look.sharpness:.1f}, "
                    f"{look.sharpness / usual:.0%} of the capture's median {usual:.1f}.",
                    "Remove it if it is out of focus or shaken; a bare wall may look like this too.",
                    file_of(capture, photo),
                    f"{look.sharpness:.1f}",
                )
            )
    return rows


def _alike(capture: Capture, photos: Sequence[Photo], looks: Sequence[Look]) -> list[Problem]:
    """Find pictures that are the same though their bytes are not."""
    sketches = np.stack([look.sketch.ravel() for look in looks])  # [C, S]
    rows = []
    for first in range(len(photos) - 1):
        difference = np.sqrt(((sketches[first + 1 :] - sketches[first]) ** 2).mean(1))
        for second in first + 1 + np.flatnonzero(difference < SAME_SKETCH):
            one, other = photos[first], photos[second]
            text = f"{one.name} and {other.name} show the same picture."
            if one.is_test != other.is_test:
                text += (
                    " One is learnt and the other held out, so the held-out figures are too good."
                )
            rows.append(
                _note(
                    text,
                    f"Remove {other.name}.",
                    file_of(capture, other),
                    f"differ by {difference[second - first - 1]:.2f} of 255",
                )
            )
    return rows


def _exposed(capture: Capture, photos: Sequence[Photo], looks: Sequence[Look]) -> list[Problem]:
    """Compare each picture with those from nearly the same place: only they hide the same points."""
    points = _some(capture.points)
    light = np.full((len(photos), len(points)), np.nan)  # [C, P] log2 of linear light
    for row, photo, look in zip(light, photos, looks, strict=True):
        height, width = look.grey.shape
        pixels, inside = in_picture(points, photo.camera.resized(width, height))
        columns, rows = pixels[inside].astype(np.int64).T
        row[inside] = 2.2 * np.log2(np.maximum(look.grey[rows, columns], 4.0) / 255.0)
    found = []
    for photo, row, near in zip(photos, light, _neighbours(photos), strict=True):
        common = np.isfinite(row) & np.isfinite(light[near]).all(0)
        if common.sum() < LEAST_COMMON:
            continue
        offset = float(np.median(row[common] - np.median(light[near][:, common], axis=0)))
        if abs(offset) > EXPOSED:
            found.append(
                _note(
                    f"{photo.name} is {abs(offset):.1f} stops {'brighter' if offset > 0 else 'darker'} "
                    "than the pictures taken beside it.",
                    "Lock exposure and white balance, or correct this picture to match the others.",
                    file_of(capture, photo),
                    f"{offset:+.1f} stops",
                )
            )
    return found


def _neighbours(photos: Sequence[Photo]) -> np.ndarray:
    """Return for each picture the indices [C, K] of those from the nearest places in like directions."""
    from scipy.spatial import cKDTree

    centers = np.stack([photo.camera.center for photo in photos])
    forwards = np.stack([photo.camera.forward for photo in photos])
    # in scene units the cameras' extent is about 1, as is the change between directions 60 degrees apart
    place = np.concatenate([centers, forwards], axis=1)  # [C, 6]
    count = min(NEIGHBOURS, len(photos) - 1)
    nearest = cKDTree(place).query(place, count + 1)[
        1
    ]  # each is its own nearest, or as near as one
    others = [[n for n in row if n != index][:count] for index, row in enumerate(nearest)]
    return np.array(others)


def _transparent(capture: Capture, photos: Sequence[Photo], looks: Sequence[Look]) -> list[Problem]:
    masked = [look.transparent for look in looks if look.has_alpha and look.transparent > 0]
    if not masked:
        return []
    rows = [
        _note(
            f"{len(masked)} of {len(looks)} pictures have transparent parts, {np.mean(masked):.0%} "
            "of their pixels on average; they are trained as white.",
            "Set masks.transparency to black where an object was cut out (it is learnt sooner), "
            "to mask where parts are hidden.",
            value=f"{np.mean(masked):.0%}",
        )
    ]
    for photo, look in zip(photos, looks, strict=True):
        if look.transparent > EMPTY:
            rows.append(
                _note(
                    f"{photo.name} is transparent on {look.transparent:.1%} of its pixels.",
                    "Remove it, or check its mask: there is next to nothing to learn from it.",
                    file_of(capture, photo),
                    f"{look.transparent:.1%}",
                )
            )
    return rows


def _masked(capture: Capture, photos: Sequence[Photo], looks: Sequence[Look]) -> list[Problem]:
    shares = {
        p: look.masked for p, look in zip(photos, looks, strict=True) if look.masked is not None
    }
    if not shares:
        return []
    share = float(np.mean(list(shares.values())))
    rows = [
        _note(
            f"{len(shares)} of {len(looks)} pictures have a mask that hides {share:.0%} of their pixels "
            "on average; these are neither learnt nor measured.",
            "Set masks.is_inverted to true where the masks show what is to be hidden.",
            value=f"{share:.0%}",
        )
    ]
    return rows + [
        _note(
            f"{photo.name} is masked on {masked:.1%} of its pixels.",
            "Check its mask: there is next to nothing to learn from this picture.",
            file_of(capture, photo),
            f"{masked:.1%}",
        )
        for photo, masked in shares.items()
        if masked > EMPTY
    ]


def _stray_cameras(capture: Capture, photos: Sequence[Photo]) -> list[Problem]:
    """Find cameras far away from the others, and those that look where no other looks."""
    centers = np.stack([photo.camera.center for photo in photos])  # [C, 3]
    forwards = np.stack([photo.camera.forward for photo in photos])
    distances = np.linalg.norm(centers - np.median(centers, axis=0), axis=1)
    usual = float(np.median(distances))
    cosines = np.clip(forwards @ forwards.T, -1, 1)
    np.fill_diagonal(cosines, -1)
    apart = np.degrees(np.arccos(cosines.max(1)))  # to the camera that looks most alike
    toward = common_point([photo.camera for photo in photos]) - centers
    looks_away = (toward * forwards).sum(1) < 0
    rows = []
    for index, photo in enumerate(photos):
        told = []
        if usual > 0 and distances[index] > FAR * usual:
            told.append(
                f"stands {distances[index] / usual:.1f} times as far from the middle of the "
                "cameras as the median camera"
            )
        if apart[index] > APART_DEGREES and apart[index] > FAR * np.median(apart):
            told.append(f"looks {apart[index]:.0f} degrees away from every other camera")
        elif looks_away[index] and looks_away.mean() < 0.1:
            told.append("looks away from the point that the others look at")
        if told:
            rows.append(
                _note(
                    f"{photo.name} {' and '.join(told)}.",
                    "Check its pose; remove the picture if it belongs to another place.",
                    file_of(capture, photo),
                    f"{distances[index] / max(usual, 1e-12):.1f} x, {apart[index]:.0f} degrees",
                )
            )
    return rows


def _same_places(capture: Capture, photos: Sequence[Photo]) -> list[Problem]:
    rows = []
    centers = np.stack([photo.camera.center for photo in photos])
    rotations = np.stack([photo.camera.camera_to_world[:3, :3] for photo in photos])
    for first in range(len(photos) - 1):
        near = np.linalg.norm(centers[first + 1 :] - centers[first], axis=1) < SAME_PLACE
        for second in first + 1 + np.flatnonzero(near):
            # |A - B| of two rotations is 2 sqrt(2) sin(half the angle between them)
            chord = np.linalg.norm(rotations[first] - rotations[second]) / np.sqrt(8)
            degrees = float(np.degrees(2 * np.arcsin(min(1.0, chord))))
            if degrees < SAME_DEGREES:
                rows.append(
                    _note(
                        f"{photos[first].name} and {photos[second].name} have the same pose "
                        f"(within {SAME_PLACE:g} of the cameras' extent and {SAME_DEGREES:g} degrees).",
                        "Check that each picture has its own pose; of true repeats one is enough.",
                        file_of(capture, photos[second]),
                        f"{degrees:.3f} degrees apart",
                    )
                )
    return rows


def _seed_points(capture: Capture, photos: Sequence[Photo], has_own_points: bool) -> list[Problem]:
    if not has_own_points:
        return [
            _note(
                "The capture brings no seed points, or fewer than "
                f"{OWN_POINTS}; they are triangulated from the pictures before training.",
                "Nothing to do; it takes a while once. Random points are used where it fails.",
                value="no seed points",
            )
        ]
    points = _some(capture.points)
    shares = np.array([in_picture(points, photo.camera)[1].mean() for photo in photos])
    usual = float(np.median(shares))
    return [
        _note(
            f"{photo.name} sees {share:.1%} of the {len(capture.points):,} seed points; "
            f"the median picture sees {usual:.0%}.",
            "Check its pose: it may look away from the scene.",
            file_of(capture, photo),
            f"{share:.1%}",
        )
        for photo, share in zip(photos, shares, strict=True)
        if share < LEAST_SEEN * usual
    ]


def _sizes(photos: Sequence[Photo]) -> list[Problem]:
    sizes = Counter((photo.camera.width, photo.camera.height) for photo in photos)
    rows = []
    if len(sizes) > 1:
        told = ", ".join(f"{count} of {w}x{h}" for (w, h), count in sizes.most_common(5))
        rows.append(
            _note(
                f"The pictures have {len(sizes)} different sizes: {told}.",
                "Nothing to do: every picture has its own camera.",
                value=f"{len(sizes)} sizes",
            )
        )
    crops = np.array([photo.crop for photo in photos])
    if crops.max() > CROPPED:
        most = photos[int(crops.argmax())]
        rows.append(
            _note(
                f"Undistorting crops {np.median(crops):.1%} of the pixels of the median picture, "
                f"at most {crops.max():.1%} ({most.name}).",
                "Nothing to do: the edge of the pictures is not learnt.",
                value=f"{crops.max():.1%}",
            )
        )
    return rows


def _some(points: np.ndarray) -> np.ndarray:
    """Return at most MOST_POINTS of the points [P, 3], evenly taken."""
    return points[:: max(1, len(points) // MOST_POINTS)]
