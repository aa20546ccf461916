"""Open a folder of photographs with cameras as a `Capture` in scene units.

    folder or video -> reader -> Listing -> checks (every picture decodes, every pose is rigid) -> split
           -> scene units (see placement.py) -> seed points -> Capture

Split: pictures that exist, decode and have a pose, sorted by name as byte strings; every 8th,
starting with the first, is held out. Files that carry their own split keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from core.base.errors import CaptureError
from core.base.events import Event, Notice
from core.capture.camera import Camera
from core.capture.camera_list import read_camera_list, read_llff
from core.capture.capture import TEST_EVERY, Capture, Photo
from core.capture.colmap import find_model, read_colmap
from core.capture.frames import (
    Frame,
    Listing,
    Mask,
    counted,
    fitted_lens,
    listed,
    usable_poses,
    without_repeats,
)
from core.capture.lens import Lens
from core.capture.masks import read_weight, with_masks
from core.capture.pictures import SUFFIXES, Picture
from core.capture.pixels import decode
from core.capture.placement import UP, common_bounds, scene_to_original
from core.capture.polycam import find_polycam, read_polycam
from core.capture.seeds import Opening, find_seeds
from core.capture.survey import find_survey, read_survey
from core.capture.transforms import SPLIT_FILES, read_transforms
from core.capture.undistorted import undistorted
from core.capture.unposed import photographs_in, read_unposed
from core.capture.usable import relative, usable_pictures
from core.capture.video_files import VIDEO_SUFFIXES, is_video, videos_in
from core.capture.video_frames import frames_of


def open_capture(
    path: str | Path,
    *,
    seeds: str = "auto",
    report: Callable[[Event], None] = lambda _event: None,
    cancelled: Callable[[], bool] = lambda: False,
    is_strict: bool = False,
) -> Capture:
    """Open a capture folder (or the JSON file in it), a folder of photographs alone, or a video.

    The cameras of photographs alone are estimated from them, in minutes the first time.

    seeds      auto: the capture's own points, else triangulated, else random; capture: its own or
               refuse; random: never anything else
    is_strict  refuse what would otherwise be left out with a notice
    """
    if seeds not in ("auto", "random", "capture"):
        raise CaptureError(f"seeds must be auto, random or capture, not '{seeds}'.")
    how = Opening(seeds, report, cancelled, is_strict)
    opened = Path(path)
    if not opened.exists():
        raise CaptureError(f"{opened}: there is no such folder or video.")
    if opened.is_file() and not is_video(opened):
        opened = opened.parent
    listing, folder = _listed(opened, how)
    frames, pictures, notices = _usable(listing, folder, how)
    if how.is_strict and notices:
        raise CaptureError(f"{opened.name}: {notices[0]}")
    capture = _assemble(folder, listing, frames, notices)
    name = opened.stem if opened.is_file() else opened.resolve().name
    capture = replace(capture, name=name, folder=opened, poses=listing.poses)
    capture = find_seeds(capture, pictures_key(frames, pictures), how)
    cameras = [photo.camera for photo in capture.photos]
    capture = replace(capture, bounds=common_bounds(cameras, capture.points))
    for text in capture.notices:
        report(Notice(text, "warning"))
    return capture


def _listed(opened: Path, how: Opening) -> tuple[Listing, Path]:
    """Return what a folder or a video holds, and the folder its pictures lie below."""
    if opened.is_dir():
        listing = read_cameras(opened)
        if listing is not None:
            return listing, opened
        photographs = photographs_in(opened)
        if photographs:
            return read_unposed(opened.resolve().name, opened, photographs, how), opened
    videos = videos_in(opened) if opened.is_dir() else [opened]
    if len(videos) == 1:
        files = frames_of(videos[0], how)
        return read_unposed(videos[0].name, files[0].parent, files, how), files[0].parent
    if videos:
        raise CaptureError(
            f"{opened.name} holds {len(videos)} videos ({listed(path.name for path in videos)}). "
            "Open one of them by its name."
        )
    raise CaptureError(
        f"{opened} is not a capture. Looked for transforms.json, transforms_train.json, a COLMAP model "
        "(sparse/0, sparse or cameras.bin, cameras.txt), cameras.json, poses_bounds.npy, keyframes of Polycam, "
        f"a CSV of RealityCapture, an XML of Metashape, pictures ({' '.join(SUFFIXES)}) and videos "
        f"({' '.join(VIDEO_SUFFIXES)})."
    )


def read_cameras(folder: Path) -> Listing | None:
    """Read the camera files of whatever layout the folder has; None where it has none."""
    if any((folder / name).is_file() for name in ("transforms.json", *SPLIT_FILES)):
        return read_transforms(folder)
    if find_model(folder) is not None:
        return read_colmap(folder)
    if (folder / "cameras.json").is_file():
        return read_camera_list(folder)
    if (folder / "poses_bounds.npy").is_file():
        return read_llff(folder)
    if find_polycam(folder) is not None:
        return read_polycam(folder)
    survey = find_survey(folder)
    return None if survey is None else read_survey(survey)


def _usable(
    listing: Listing, folder: Path, how: Opening
) -> tuple[list[Frame], dict[Path, Picture], list[str]]:
    """Return the frames that can be used, what their pictures are, and sentences about the rest."""
    notices = list(listing.notices)
    total = len(listing.frames)
    missing = [frame.name for frame in listing.frames if frame.path is None]
    if len(missing) == total:
        searched = ", ".join(str(place) for place in listing.searched)
        raise CaptureError(
            f"{folder.name}: none of the {total} frames in {listing.source} has a picture. Searched {searched} "
            f"for {' '.join(SUFFIXES)}."
        )
    if missing:
        notices.append(f"{counted(missing, total)} have no picture: {listed(missing)}.")
    frames = [frame for frame in listing.frames if frame.path is not None]
    for step in (without_repeats, usable_poses):
        frames, said = step(frames, listing.source)
        notices += said
    frames, pictures, said = usable_pictures(frames, folder, how, listing.checked)
    notices += said
    frames, said = _sized(frames, pictures, listing.source)
    notices += said
    frames, said = with_masks(frames, pictures, folder)
    notices += said
    if len(frames) < 2:
        raise CaptureError(
            f"{folder.name}: {len(frames)} of {total} pictures can be used, at least 2 are needed. "
            + " ".join(notices[:3])
        )
    return frames, pictures, notices


def _sized(
    frames: Sequence[Frame], pictures: dict[Path, Picture], source: str
) -> tuple[list[Frame], list[str]]:
    """Fit every lens to its picture's size: rescaled with a notice, refused when the shape is another."""
    fitted, scaled, turned, as_stored = [], [], [], []
    for frame in frames:
        picture, lens = pictures[frame.path], frame.lens
        own = fitted_lens(lens, picture.width, picture.height)
        is_turned = frame.is_turned or (own is None and picture.is_sideways)
        if is_turned and picture.is_sideways:
            own = fitted_lens(lens, picture.height, picture.width)
        if own is None:
            raise CaptureError(
                f"{source}: {frame.name} is {picture.width}x{picture.height} pixels, but its camera is "
                f"declared for {lens.width}x{lens.height}. Use the picture the cameras were estimated from."
            )
        if is_turned and not frame.is_turned:
            turned.append(frame.name)
        elif picture.orientation != 1 and not is_turned:
            as_stored.append(frame.name)
        if own is not lens:
            scaled.append(f"{frame.name} ({picture.width}x{picture.height})")
        fitted.append(replace(frame, lens=own, is_turned=is_turned))
    notices = []
    if scaled:
        size = f"{frames[0].lens.width}x{frames[0].lens.height}"
        notices.append(
            f"{counted(scaled, len(frames))} have another size than declared ({size}); their focal "
            f"lengths were scaled: {listed(scaled)}."
        )
    if turned:
        notices.append(
            f"{counted(turned, len(frames))} were turned by their orientation tag: {listed(turned)}."
        )
    if as_stored:
        notices.append(
            f"{counted(as_stored, len(frames))} have an orientation tag and cameras that fit the stored "
            f"pixels, so they are not turned: {listed(as_stored)}."
        )
    return fitted, notices


def _assemble(
    folder: Path, listing: Listing, frames: Sequence[Frame], notices: Sequence[str]
) -> Capture:
    """Split, name and place the frames."""
    cameras = [frame.lens.camera(frame.camera_to_world) for frame in frames]
    to_original = scene_to_original(cameras)
    to_scene = to_original.inverse()
    names = _names(frames, folder)
    photos = tuple(
        _photo(frame, to_scene.apply_camera(camera), name, _is_test(frame, index))
        for index, (frame, camera, name) in enumerate(zip(frames, cameras, names, strict=True))
    )
    if all(photo.is_test for photo in photos):
        raise CaptureError(f"{folder.name}: every picture is held out, none is left to learn from.")
    is_finite = np.isfinite(listing.points).all(1)
    points = to_scene.apply(listing.points[is_finite]).astype(np.float32)
    if not is_finite.all():
        notices = [*notices, f"{(~is_finite).sum():,} seed points are not finite and left out."]
    return Capture(
        name=folder.resolve().name,
        folder=folder,
        photos=photos,
        points=points,
        point_colors=listing.point_colors[is_finite],
        bounds=np.zeros((2, 3)),
        up=UP.copy(),
        to_original=to_original,
        seeds=f"{len(points):,} points from the capture ({listing.source})" if len(points) else "",
        notices=tuple(notices),
    )


def _is_test(frame: Frame, index: int) -> bool:
    return index % TEST_EVERY == 0 if frame.is_test is None else frame.is_test


def _names(frames: Sequence[Frame], folder: Path) -> list[str]:
    """Return the shortest of stem, path without suffix, path that tells all frames apart."""
    paths = [PurePosixPath(relative(frame.path, folder)) for frame in frames]
    for names in ([p.stem for p in paths], [p.with_suffix("").as_posix() for p in paths]):
        if len(set(names)) == len(names):
            return names
    return [path.as_posix() for path in paths]


def _photo(frame: Frame, camera: Camera, name: str, is_test: bool) -> Photo:
    read = partial(_read, frame.path, frame.lens, frame.is_turned)
    weight = frame.mask and partial(_read_weight, frame.mask, frame.lens)
    return Photo(name, frame.path, camera, read, is_test, frame.lens.crop(), weight)


def _read(path: Path, lens: Lens, is_turned: bool) -> np.ndarray:
    """Decode one picture as its pinhole camera sees it, [H, W, 3] or [H, W, 4] uint8."""
    with _still_there(path):
        if lens.is_pinhole:
            return decode(path.read_bytes(), is_turned)
        return undistorted(path, lens, is_turned)


def _read_weight(mask: Mask, lens: Lens) -> np.ndarray:
    with _still_there(mask.path):
        return read_weight(mask, lens)


@contextmanager
def _still_there(path: Path) -> Iterator[None]:
    """Name a picture that could be read when the capture was opened and now cannot."""
    try:
        yield
    except (OSError, SyntaxError, ValueError) as error:
        raise CaptureError(
            f"{path.name} cannot be read any more ({error}). Was the folder moved or changed?"
        ) from None


def pictures_key(frames: Sequence[Frame], pictures: dict[Path, Picture]) -> str:
    """Describe pictures, poses and lenses for a cache key: equal text means equal seed points."""
    lines = []
    for frame in frames:
        pose = (frame.camera_to_world + 0.0).tobytes().hex()  # -0.0 becomes 0.0
        lines.append(f"{pictures[frame.path].digest} {frame.is_turned} {frame.lens} {pose}")
    return "\n".join(lines)
