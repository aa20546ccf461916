"""The real captures that bring poses, and how well their poses fit what is seen in the pictures."""

import shutil
from pathlib import Path

import numpy as np
from captures import real
from PIL import Image

from core.capture.capture import Capture, Photo
from core.capture.opening import open_capture

POSED = ("fox", "chess_king", "can_video", "can_video_llff", "plush", "chair_rgba")


def opened(name: str, folder: Path, **options) -> Capture:
    """Open a real capture; can_video_llff is can_video with only its poses_bounds.npy."""
    if name != "can_video_llff":
        return open_capture(real(name), **options)
    source, place = real("can_video"), folder / name
    place.mkdir()
    (place / "images").symlink_to(source / "images")
    shutil.copy(source / "poses_bounds.npy", place)
    return open_capture(place, **options)


def epipolar_distances(photos: list[Photo], pairs: list[tuple[int, int]], job: Path) -> np.ndarray:
    """Return the Sampson distances in pixels of COLMAP's verified SIFT matches between undistorted photos."""
    import pycolmap

    pycolmap.logging.minloglevel = int(pycolmap.logging.WARNING)
    used = sorted({index for pair in pairs for index in pair})
    pictures = job / "pictures"
    pictures.mkdir()
    for index in used:
        Image.fromarray(photos[index].image()).save(pictures / f"{index:04}.png")
    database = job / "database.db"
    extraction = pycolmap.FeatureExtractionOptions(num_threads=1)
    pycolmap.extract_features(
        database, pictures, extraction_options=extraction, device=pycolmap.Device.cpu
    )
    (job / "pairs.txt").write_text("".join(f"{a:04}.png {b:04}.png\n" for a, b in pairs))
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = str(job / "pairs.txt")
    matching = pycolmap.FeatureMatchingOptions(num_threads=1)
    pycolmap.match_image_pairs(database, matching, pairing, device=pycolmap.Device.cpu)
    with pycolmap.Database.open(database) as table:
        ids = {int(Path(image.name).stem): image.image_id for image in table.read_all_images()}
        points = {index: table.read_keypoints(ids[index])[:, :2] for index in used}
        found = [
            _sampson(
                photos[a],
                photos[b],
                *_matched(table.read_two_view_geometry(ids[a], ids[b]), points[a], points[b]),
            )
            for a, b in pairs
        ]
    return np.concatenate(found)


def neighbours(count: int, groups: int) -> list[tuple[int, int]]:
    """Return pairs of pictures next to each other, in groups of three spread evenly."""
    starts = np.linspace(0, count - 3, groups).astype(int).tolist()
    return [pair for i in dict.fromkeys(starts) for pair in ((i, i + 1), (i + 1, i + 2))]


def _matched(geometry, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matches = np.asarray(geometry.inlier_matches).reshape(-1, 2)
    return first[matches[:, 0]], second[matches[:, 1]]


def _sampson(one: Photo, other: Photo, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    motion = other.camera.world_to_camera @ one.camera.camera_to_world
    x, y, z = motion[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    inverse = [np.linalg.inv(photo.camera.K) for photo in (one, other)]
    fundamental = inverse[1].T @ cross @ motion[:3, :3] @ inverse[0]
    a, b = (np.column_stack([points, np.ones(len(points))]) for points in (a, b))
    lines_b, lines_a = a @ fundamental.T, b @ fundamental
    scale = (lines_a[:, :2] ** 2).sum(1) + (lines_b[:, :2] ** 2).sum(1)
    return np.abs((b * lines_b).sum(1)) / np.sqrt(scale)
