"""Distorted lenses: what comes out is the picture a pinhole camera takes, without black borders."""

import cv2
import numpy as np
import pytest
from captures import SmallCapture, real

from core.base.errors import CaptureError
from core.capture.frames import fitted_lens
from core.capture.lens import Lens
from core.capture.opening import open_capture
from core.capture.pictures import decode

FOX = (0.0578421, -0.0805099, -0.000980296, 0.00015575)
LENSES = {
    "OPENCV": FOX,
    "SIMPLE_RADIAL": (0.1,),
    "RADIAL": (-0.12, 0.02),
    "FULL_OPENCV": (0.1, -0.05, 0.001, 0.001, 0.01, 0.02, 0.01, 0.0),
    "OPENCV_FISHEYE": (0.02, -0.01, 0.003, 0.0),
    "SIMPLE_RADIAL_FISHEYE": (0.02,),
    "FOV": (0.7,),
    "THIN_PRISM_FISHEYE": (0.02, -0.01, 0.001, 0.001, 0.0, 0.0, 0.001, 0.001),
    "RADIAL_FISHEYE": (0.02, -0.01),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "SIMPLE_DIVISION": (-0.1,),
    "DIVISION": (-0.1,),
    "EUCM": (0.6, 1.1),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        *(0.02, -0.01, 0.003, 0.0, 0.0, 0.0),
        *(0.001, -0.001, 0.001, 0.0, -0.001, 0.0),
    ),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))


def lens_of(model: str) -> Lens:
    return Lens(160, 120, 120.0, 120.0, 82.0, 57.0, model, LENSES[model])


def test_every_model_of_colmap_is_among_them():
    import pycolmap

    known = set(pycolmap.CameraModelId.__members__) - {"INVALID"}
    # the first two need nothing undone; a panorama is refused
    assert known - set(LENSES) <= {"SIMPLE_PINHOLE", "PINHOLE", "EQUIRECTANGULAR"}


def known_to_colmap(model: str) -> None:
    import pycolmap

    if model not in pycolmap.CameraModelId.__members__:
        pytest.skip(f"this release of COLMAP does not know {model}")


@pytest.mark.parametrize("model", LENSES)
def test_every_model_gives_the_picture_of_its_pinhole_camera(model):
    known_to_colmap(model)
    lens = lens_of(model)
    camera = lens.camera(np.eye(4))
    # the file's picture shows, at each pixel, a smooth function of its ray
    picture = _scene_through(lens)
    columns, rows = np.meshgrid(np.arange(160) + 0.5, np.arange(120) + 0.5)
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy], axis=-1)
    wanted = _scene(rays)
    got = lens.undistort(picture).astype(float)
    # 8-bit steps, interpolation, and half a pixel at the very edge
    assert np.abs(got - wanted)[2:-2, 2:-2].max() < 4


@pytest.mark.parametrize("model", LENSES)
def test_no_pixel_of_the_result_lies_outside_the_file(model):
    known_to_colmap(model)
    lens = lens_of(model)
    white = np.full((120, 160, 3), 255, np.uint8)
    assert (lens.undistort(white) == 255).all()
    camera = lens.camera(np.eye(4))
    corners = np.array([[0.5, 0.5], [159.5, 0.5], [0.5, 119.5], [159.5, 119.5]])
    pixels = lens.project((corners - [camera.cx, camera.cy]) / [camera.fx, camera.fy])
    assert (pixels >= 0).all()
    assert (pixels <= [160, 120]).all()
    assert (camera.cx, camera.cy, camera.width, camera.height) == (82.0, 57.0, 160, 120)
    assert camera.fx >= lens.fx


def test_the_distortion_agrees_with_opencv():
    lens = lens_of("OPENCV")
    rays = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2))
    K = np.array([[120.0, 0, 82.0], [0, 120.0, 57.0], [0, 0, 1]])
    points = np.column_stack([rays, np.ones(50)])
    wanted, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(FOX))
    np.testing.assert_allclose(lens.project(rays), wanted[:, 0], atol=1e-9)


def test_a_lens_without_distortion_leaves_the_picture_alone():
    lens = Lens(160, 120, 120.0, 120.0, 80.0, 60.0, "OPENCV", (0.0,) * 4)
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert lens.undistort(picture) is picture
    assert lens.camera(np.eye(4)).fx == 120.0


def test_a_lens_that_folds_the_picture_is_refused():
    with pytest.raises(CaptureError, match="leaves no usable part"):
        Lens(160, 120, 120.0, 120.0, 80.0, 60.0, "RADIAL", (200.0, 500.0)).camera(np.eye(4))


@pytest.mark.parametrize(
    ("size", "fits"),
    [((160, 120), True), ((80, 60), True), ((53, 40), True), ((320, 240), True),
     ((120, 160), False), ((160, 110), False)],
)  # fmt: skip
def test_a_lens_fits_pictures_of_its_shape_only(size, fits):
    assert (fitted_lens(lens_of("OPENCV"), *size) is not None) is fits


def test_distortion_in_transforms_json_is_undone_on_read(tmp_path):
    small = SmallCapture(tmp_path / "c", 4)
    small.values |= dict(zip(("k1", "k2", "p1", "p2"), FOX, strict=True))
    photo = small.open().photos[0]
    stored = decode(photo.path.read_bytes())
    assert photo.image().shape == stored.shape
    assert np.abs(photo.image().astype(int) - stored).mean() > 0.5
    assert photo.camera.fx >= 250.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR is not supported"),
        ({"k1": 0.1, "k4": 0.2}, "k4 = 0.2 has no agreed meaning"),
        ({"k1": "x"}, "k1 is 'x'"),
    ],
)
def test_lenses_that_cannot_be_modelled_are_refused(tmp_path, change, reason):
    small = SmallCapture(tmp_path / "c", 4)
    small.values |= change
    with pytest.raises(CaptureError, match=reason):
        small.open()


def test_a_fisheye_lens_in_transforms_json_is_known_by_its_model(tmp_path):
    small = SmallCapture(tmp_path / "c", 4)
    small.values |= {"camera_model": "OPENCV_FISHEYE", "k1": 0.0}
    photo = small.open().photos[0]
    # an ideal fisheye spreads its edge outwards, so even zero parameters change the picture
    assert np.abs(photo.image().astype(int) - decode(photo.path.read_bytes())).mean() > 1


def test_the_cameras_of_fox_fit_matches_between_its_undistorted_pictures():
    capture = open_capture(real("fox"), seeds="random")
    assert capture.photos[0].camera.cx == pytest.approx(277.279)
    distances = np.concatenate(
        [_epipolar(capture.photos[i], capture.photos[i + 3]) for i in (8, 16, 24, 30, 36, 42)]
    )
    assert len(distances) > 500
    # measured on these pairs: 0.24 as it should be, 0.33 with distortion ignored, 0.63 with the
    # principal point in the middle; a wrong axis or focal length leaves hardly any match
    assert np.median(distances) < 0.28


def _scene(rays: np.ndarray) -> np.ndarray:
    """Return a smooth picture [H, W, 3] as a function of the ray."""
    x, y = rays[..., 0], rays[..., 1]
    waves = [np.sin(6 * x), np.cos(5 * y), np.sin(4 * x + 3 * y)]
    return 127.5 + 120 * np.stack(waves, axis=-1)


def _scene_through(lens: Lens) -> np.ndarray:
    """Return the picture in the file: its pixels' rays found by inverting the lens."""
    import pycolmap

    camera = pycolmap.Camera.create_from_model_name(1, lens.model, lens.fx, lens.width, lens.height)
    focal = (lens.fx, lens.fy)[: len(camera.focal_length_idxs())]
    camera.params = [*focal, lens.cx, lens.cy, *lens.distortion]
    columns, rows = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    rays = camera.cam_from_img(np.column_stack([columns.ravel(), rows.ravel()]))
    return np.rint(_scene(np.asarray(rays)[:, :2].reshape(lens.height, lens.width, 2))).astype(
        np.uint8
    )


def _epipolar(first, second) -> np.ndarray:
    """Return the Sampson distances in pixels of the SIFT matches between two photos."""
    sift = cv2.SIFT_create(3000)
    keys, descriptors = zip(
        *(sift.detectAndCompute(photo.image(), None) for photo in (first, second)), strict=True
    )
    pairs = cv2.BFMatcher(crossCheck=True).match(*descriptors)
    pairs = sorted(pairs, key=lambda pair: pair.distance)[: len(pairs) // 2]
    a = np.array([keys[0][pair.queryIdx].pt for pair in pairs]) + 0.5
    b = np.array([keys[1][pair.trainIdx].pt for pair in pairs]) + 0.5
    motion = second.camera.world_to_camera @ first.camera.camera_to_world
    x, y, z = motion[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    inverse = [np.linalg.inv(photo.camera.K) for photo in (first, second)]
    fundamental = inverse[1].T @ cross @ motion[:3, :3] @ inverse[0]
    a, b = np.column_stack([a, np.ones(len(a))]), np.column_stack([b, np.ones(len(b))])
    lines_b, lines_a = a @ fundamental.T, b @ fundamental
    scale = (lines_a[:, :2] ** 2).sum(1) + (lines_b[:, :2] ** 2).sum(1)
    distances = np.abs((b * lines_b).sum(1)) / np.sqrt(scale)
    # the best matches hold a few wrong ones; verified matches are those within 4 pixels
    return distances[distances < 4]
