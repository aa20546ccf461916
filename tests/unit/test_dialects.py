"""What other programs write beside the common ground: instant-ngp, nerfstudio, Polycam, COLMAP's newer models."""

import json
import math
import shutil

import numpy as np
import pytest
from captures import SmallCapture
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import DEMO
from core.base.errors import CaptureError
from core.capture.camera import from_opengl
from core.capture.colmap import find_model, find_models, read_colmap
from core.capture.opening import open_capture
from core.capture.synthetic import cameras


@pytest.fixture
def small(tmp_path):
    return SmallCapture(tmp_path / "capture", 4)


# ---- transforms.json ---------------------------------------------------------------------


def test_instant_ngps_angle_in_degrees_stands_in_for_a_focal_length(small):
    for key in ("fl_x", "fl_y"):
        del small.values[key]
    small.values |= {
        "x_fov": math.degrees(2 * math.atan(160 / 250)),
        "y_fov": math.degrees(2 * math.atan(120 / 260)),
    }
    camera = small.open(seeds="random").photos[0].camera
    assert (camera.fx, camera.fy) == pytest.approx((250, 260))


def test_a_frames_own_angle_replaces_the_common_focal_length(small):
    small.frames[2]["camera_angle_x"] = 2 * math.atan(160 / 300)
    focal = [photo.camera.fx for photo in small.open(seeds="random").photos]
    assert focal == pytest.approx([250, 250, 300, 250])


@pytest.mark.parametrize("key", ["latlong", "equirectangular", "ftheta_p0"])
def test_a_projection_that_is_no_pinhole_is_refused(small, key):
    small.values[key] = 1
    with pytest.raises(CaptureError, match=f"{key} describes a panorama or an f-theta lens"):
        small.open(seeds="random")


def test_the_pose_at_the_start_of_an_exposure_is_used_and_said(small):
    for frame in small.frames:
        frame["transform_matrix_start"] = frame.pop("transform_matrix")
        frame["transform_matrix_end"] = np.eye(4).tolist()
    capture = small.open(seeds="random")
    assert len(capture.photos) == 4
    assert any("rolling shutter" in text for text in capture.notices)


def test_nerfstudios_list_of_distortion_parameters_is_read(small):
    small.frames[1]["distortion_params"] = [0.1, -0.02, 0.0, 0.0, 0.001, 0.002]
    crops = [photo.crop for photo in small.open(seeds="random").photos]
    assert crops[1] > 0.01
    assert crops[0] == 0
    small.frames[1]["distortion_params"] = [0.1]
    with pytest.raises(CaptureError, match=r"frame 1 .*distortion_params is \[0.1\]"):
        small.open(seeds="random")


# ---- Polycam -----------------------------------------------------------------------------


def polycam(folder, kind: str, count: int = 4) -> None:
    """Write the first demo pictures as Polycam's raw data."""
    images, jsons = folder / "keyframes" / f"{kind}images", folder / "keyframes" / f"{kind}cameras"
    images.mkdir(parents=True)
    jsons.mkdir()
    for index, camera in enumerate(cameras()[:count]):
        name = str(1000 + index)
        shutil.copy(DEMO / "images" / f"{index:03}.jpg", images / f"{name}.jpg")
        pose = from_opengl(camera.camera_to_world)  # its own inverse
        values = {f"t_{row}{column}": pose[row, column] for row in range(3) for column in range(4)}
        values |= {"fx": 250.0, "fy": 250.0, "cx": 160.0, "cy": 120.0, "width": 320, "height": 240}
        (jsons / f"{name}.json").write_text(json.dumps(values | {"blur_score": 50.0}))


def relative_poses(photos) -> np.ndarray:
    first = photos[0].camera.world_to_camera
    poses = np.stack([first @ photo.camera.camera_to_world for photo in photos])
    poses[:, :3, 3] /= np.linalg.norm(poses[1, :3, 3])  # the unit of length is free
    return poses


@pytest.mark.parametrize("kind", ["", "corrected_"])
def test_polycams_raw_data_opens_with_its_poses(tmp_path, small, kind):
    polycam(tmp_path / "poly", kind)
    capture = open_capture(tmp_path / "poly", seeds="random")
    wanted = small.open(seeds="random")
    np.testing.assert_allclose(
        relative_poses(capture.photos), relative_poses(wanted.photos), atol=1e-6
    )
    assert capture.photos[0].camera.fx == 250
    assert any("not optimised" in text for text in capture.notices) is (kind == "")


def test_polycams_corrected_poses_go_with_the_corrected_pictures(tmp_path):
    polycam(tmp_path / "poly", "")
    polycam(tmp_path / "poly", "corrected_", 3)
    photos = open_capture(tmp_path / "poly", seeds="random").photos
    assert {photo.path.parent.name for photo in photos} == {"corrected_images"}
    assert len(photos) == 3


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"t_00": "a"}', '{"t_00": 1e999}'])
def test_a_polycam_camera_that_cannot_be_used_is_refused_by_name(tmp_path, content):
    polycam(tmp_path / "poly", "")
    (tmp_path / "poly" / "keyframes" / "cameras" / "1001.json").write_text(content)
    with pytest.raises(CaptureError, match=r"1001\.json"):
        open_capture(tmp_path / "poly", seeds="random")


def test_the_transforms_json_that_polycams_converter_writes_opens(tmp_path, small):
    polycam(tmp_path / "poly", "corrected_")
    for index, frame in enumerate(small.frames):
        frame["file_path"] = f"./keyframes/corrected_images/{1000 + index}.jpg"
        frame["sharpness"] = 50.0
    values = {**small.values, "aabb_scale": 4}
    values.pop("ply_file_path", None)
    (tmp_path / "poly" / "transforms.json").write_text(json.dumps(values))
    capture = open_capture(tmp_path / "poly", seeds="random")
    assert [photo.name for photo in capture.photos] == ["1000", "1001", "1002", "1003"]


# ---- COLMAP ------------------------------------------------------------------------------


def synthesized(folder, frames: int, per_rig: int = 1, is_text: bool = False):
    """Write a made-up COLMAP model and return it."""
    import pycolmap

    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1,
        num_cameras_per_rig=per_rig,
        num_frames_per_rig=frames,
        num_points3D=20,
        camera_width=320,
        camera_height=240,
        camera_params=[250.0, 160.0, 120.0, 0.0],
        sensor_from_rig_translation_stddev=0.2,
        sensor_from_rig_rotation_stddev=5.0,
    )
    pycolmap.set_random_seed(3)
    model = pycolmap.synthesize_dataset(options)
    folder.mkdir(parents=True)
    model.write_text(folder) if is_text else model.write_binary(folder)
    return model


@pytest.mark.parametrize("is_text", [False, True])
def test_every_picture_of_a_rig_has_its_own_pose(tmp_path, is_text):
    model = synthesized(tmp_path / "sparse" / "0", 3, per_rig=2, is_text=is_text)
    assert list((tmp_path / "sparse" / "0").glob("rigs.*"))
    listing = read_colmap(tmp_path)
    assert len(listing.frames) == model.num_images() == 6
    for frame in listing.frames:
        image = model.find_image_with_name(frame.name)
        np.testing.assert_allclose(
            frame.camera_to_world[:3], image.cam_from_world().inverse().matrix(), atol=1e-6
        )


@pytest.mark.parametrize("is_text", [False, True])
def test_of_several_models_the_largest_is_used_and_said(tmp_path, is_text):
    for number, frames in ((0, 2), (1, 5), (2, 3), (10, 4)):
        synthesized(tmp_path / "sparse" / str(number), frames, is_text=is_text)
    assert find_model(tmp_path) == tmp_path / "sparse" / "1"
    assert list(find_models(tmp_path).values()) == [2, 5, 3, 4]
    listing = read_colmap(tmp_path)
    assert len(listing.frames) == 5
    assert listing.notices == (
        "COLMAP left 4 models that share no coordinates, with pictures: 2 in sparse/0, 5 in sparse/1, "
        "3 in sparse/2, 4 in sparse/10. sparse/1 is used.",
    )


def test_the_first_of_equally_large_models_is_used(tmp_path):
    for number in range(3):
        synthesized(tmp_path / "sparse" / str(number), 3)
    assert find_model(tmp_path) == tmp_path / "sparse" / "0"


def test_nerfstudios_place_of_the_model_is_known(tmp_path):
    synthesized(tmp_path / "colmap" / "sparse" / "0", 3)
    assert len(read_colmap(tmp_path).frames) == 3


def test_a_model_that_boasts_is_not_taken_for_the_largest(tmp_path):
    for number in (0, 1):
        synthesized(tmp_path / "sparse" / str(number), 3)
    path = tmp_path / "sparse" / "1" / "images.bin"
    path.write_bytes((2**63).to_bytes(8, "little") + path.read_bytes()[8:100])
    assert find_model(tmp_path) == tmp_path / "sparse" / "0"


# ---- whatever a transforms.json holds -------------------------------------------------------

ODD = st.sampled_from(
    [None, True, "", "a", -1, 0, 1e308, float("nan"), float("inf"), [], [1, 2], {}, "../..", 2**70]
)
KEYS = (
    *("fl_x", "fl_y", "w", "h", "cx", "cy", "k1", "k2", "k3", "k4", "camera_model", "x_fov"),
    *("is_fisheye", "ply_file_path", "distortion_params", "camera_angle_x", "test_filenames"),
)
FRAME_KEYS = (*KEYS, "file_path", "transform_matrix", "mask_path", "transform_matrix_start")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.dictionaries(st.sampled_from(KEYS), ODD, max_size=3),
    st.dictionaries(st.sampled_from(FRAME_KEYS), ODD, max_size=3),
)
def test_odd_values_are_refused_or_dropped_in_words(tmp_path_factory, at_top, in_frame):
    folder = tmp_path_factory.mktemp("odd")
    small = SmallCapture(folder / "capture", 3)
    small.values |= at_top
    small.frames[1] |= in_frame
    try:
        capture = small.open(seeds="random")
    except CaptureError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert told.endswith((".", "?"))
        return
    assert len(capture.photos) >= 2
    for photo in capture.photos:
        assert np.isfinite(photo.camera.camera_to_world).all()
        assert photo.sample().shape[:2] == (photo.camera.height, photo.camera.width)
