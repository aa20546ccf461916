"""Cameras of survey programs: RealityCapture's CSV and Metashape's XML."""

import shutil

import numpy as np
import pytest

from assets import DEMO
from core.base.errors import CaptureError
from core.capture.camera import from_opengl
from core.capture.opening import open_capture, read_cameras
from core.capture.survey import find_survey, read_survey
from core.capture.synthetic import cameras

HEADER = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"
FOCAL = 250.0  # pixels, of the demo's pictures (320 wide)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with six demo pictures."""
    (tmp_path / "images").mkdir()
    for index in range(6):
        shutil.copy(DEMO / "images" / f"{index:03}.jpg", tmp_path / "images")
    return tmp_path


def angles(camera_to_world: np.ndarray) -> tuple[float, float, float]:
    """Return heading, pitch and roll in degrees, from the camera's axes alone."""
    right, up, back = from_opengl(camera_to_world)[:3, :3].T
    pitch = np.arccos(back[2])  # between straight down and where it looks
    heading = np.arctan2(-back[0], -back[1])
    level = np.array([np.cos(heading), -np.sin(heading), 0.0])  # right without roll
    ahead = np.cross(np.cross(level, back), level)  # unused by the roll, kept for its sign
    assert np.isfinite(ahead).all()
    sideways = np.cross(back, level)  # up without roll
    roll = np.arctan2(-(right @ sideways), right @ level)
    assert np.allclose(up, np.cos(roll) * sideways + np.sin(roll) * level, atol=1e-6)
    return tuple(np.degrees((heading, pitch, roll)))


def test_a_camera_at_rest_looks_down_and_turns_as_a_compass_does(folder):
    rows = ["000.jpg,1,2,30,0,0,0,28", "001.jpg,0,0,0,0,90,0,28", "002.jpg,0,0,0,90,90,0,28"]
    text = "\n".join([f"#cameras {len(rows)}", "#name,x,y,alt,heading,pitch,roll,f", *rows])
    (folder / "cameras.csv").write_text(text)
    down, north, east = (f.camera_to_world for f in read_survey(folder / "cameras.csv").frames)
    np.testing.assert_allclose(down[:3, 3], [1, 2, 30])
    # columns: right, down in the picture, where it looks
    np.testing.assert_allclose(down[:3, :3].T, [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-12)
    np.testing.assert_allclose(north[:3, :3].T, [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(east[:3, 2], [1, 0, 0], atol=1e-12)


def test_millimetres_of_a_film_become_pixels_of_the_picture(folder):
    values = "28.125,0.45,-0.9,0.1,-0.02,0.003,0,0.001,0.002"
    (folder / "cameras.csv").write_text(f"{HEADER}\n000.jpg,0,0,0,0,0,0,{values}\n")
    lens = read_survey(folder / "cameras.csv").frames[0].lens
    assert (lens.width, lens.height) == (320, 240)
    assert (lens.fx, lens.fy) == pytest.approx((250.0, 250.0))
    assert (lens.cx, lens.cy) == pytest.approx((164.0, 112.0))
    assert lens.model == "FULL_OPENCV"
    assert lens.distortion == pytest.approx((0.1, -0.02, 0.001, 0.002, 0.003, 0, 0, 0))


def test_a_capture_opens_from_realitycapture_with_the_poses_it_was_taken_from(folder):
    lines = [HEADER]
    for index, camera in enumerate(cameras()[:6]):
        numbers = (*camera.center, *angles(camera.camera_to_world), FOCAL * 36 / 320)
        lines.append(",".join([f"{index:03}.jpg", *map(repr, map(float, numbers))]))
    (folder / "poses.csv").write_text("\ufeff" + "\r\n".join(lines))
    capture = open_capture(folder, seeds="random")
    for photo, camera in zip(capture.photos, cameras(), strict=False):
        back = capture.to_original.apply_camera(photo.camera)
        np.testing.assert_allclose(back.camera_to_world, camera.camera_to_world, atol=1e-6)
        assert back.fx == pytest.approx(FOCAL)


def metashape(transforms, chunk="", calibration="", label="{:03}") -> str:
    listed = "".join(
        f'<camera id="{i}" label="{label.format(i)}" sensor_id="0">'
        + (f"<transform>{' '.join(map(str, t.reshape(-1)))}</transform>" if t is not None else "")
        + "</camera>"
        for i, t in enumerate(transforms)
    )
    return (
        '<?xml version="1.0"?><document version="2.0"><chunk label="1"><sensors>'
        '<sensor id="0" label="phone" type="frame"><resolution width="320" height="240"/>'
        '<calibration type="frame" class="adjusted"><resolution width="320" height="240"/>'
        f"<f>{FOCAL}</f>{calibration}</calibration></sensor></sensors>"
        f"<cameras>{listed}</cameras>{chunk}</chunk></document>"
    )


def test_metashape_cameras_are_moved_by_their_chunk(folder):
    poses = [camera.camera_to_world for camera in cameras()[:4]]
    chunk = (
        "<transform><rotation>0 -1 0 1 0 0 0 0 1</rotation><translation>5 6 7</translation>"
        "<scale>2</scale></transform>"
    )
    (folder / "cameras.xml").write_text(metashape([*poses, None], chunk))
    listing = read_survey(folder / "cameras.xml")
    assert listing.notices == ("1 of 5 cameras in cameras.xml were not aligned.",)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    capture = open_capture(folder, seeds="random")
    for frame, photo, pose in zip(listing.frames, capture.photos, poses, strict=True):
        np.testing.assert_allclose(frame.camera_to_world[:3, 3], 2 * turn @ pose[:3, 3] + [5, 6, 7])
        back = capture.to_original.apply_camera(photo.camera).camera_to_world
        np.testing.assert_allclose(back[:3, :3], turn @ pose[:3, :3], atol=1e-6)


def test_metashape_lenses_have_their_own_order_of_numbers(folder):
    numbers = "<cx>3</cx><cy>-4</cy><b1>1.5</b1><k1>0.1</k1><k2>0.2</k2><k3>0.3</k3>"
    numbers += "<p1>0.01</p1><p2>0.02</p2>"
    (folder / "cameras.xml").write_text(metashape([np.eye(4)], calibration=numbers))
    lens = read_survey(folder / "cameras.xml").frames[0].lens
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == pytest.approx((251.5, 250.0, 163.0, 116.0))
    # COLMAP: k1 k2 p1 p2 k3; Metashape's p1 belongs to x squared, which COLMAP calls p2
    assert lens.distortion[:5] == pytest.approx((0.1, 0.2, 0.02, 0.01, 0.3))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", f"{HEADER}\n000.jpg,0,0,north,0,0,0,28", "line 2: lacks one of"),
        ("a.csv", f"{HEADER}\n000.jpg,0,0", "line 2: lacks one of"),
        ("a.csv", f"{HEADER}\n000.jpg,0,0,0,0,0,0,28,0,0,0,0,0,0.5", "eighth order"),
        ("a.csv", f"{HEADER}\n000.jpg,0,0,0,0,0,0,-28", "focal length"),
        ("a.xml", "<document><chunk><cameras>", "not valid XML"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><document><chunk/></document>', "entities"),
        ("a.xml", metashape([np.eye(4)[:3]]), "16 numbers are expected"),
        ("a.xml", metashape([np.eye(4)], calibration="<b2>3</b2>"), "skew of 3.0 pixels"),
        ("a.xml", metashape([np.eye(4)], calibration="<k4>1</k4>"), "eighth order"),
        ("a.xml", metashape([np.eye(4)]).replace("<f>250.0</f>", ""), "size or focal length"),
        ("a.xml", metashape([np.eye(4)]).replace('"frame"', '"fisheye"'), "type fisheye"),
        (
            "a.xml",
            metashape([np.eye(4)]).replace('sensor_id="0"', 'sensor_id="9"'),
            "no calibration",
        ),
    ],
)
def test_a_camera_file_that_cannot_be_used_gets_one_sentence(folder, name, text, said):
    (folder / name).write_text(text)
    with pytest.raises(CaptureError, match=said) as caught:
        read_survey(folder / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_every_encoding(folder, encoding):
    text = '<!DOCTYPE a [<!ENTITY b "c">]><document><chunk>&b;</chunk></document>'
    (folder / "a.xml").write_bytes(text.encode(encoding))
    with pytest.raises(CaptureError, match="defines entities"):
        read_survey(folder / "a.xml")


def test_other_tables_and_documents_are_no_cameras(folder):
    (folder / "a.csv").write_text("name,age\nfox,3\n")
    (folder / "b.xml").write_text("<html/>")
    assert find_survey(folder) is None
    assert read_cameras(folder) is None


def test_an_angle_without_end_an_unknown_encoding_and_broken_rows_are_told_in_one_line(folder):
    (folder / "cameras.csv").write_text(
        "#name,x,y,alt,heading,pitch,roll,f\n000.jpg,0,0,9,inf,0,0,28\n"
    )
    pose = read_survey(folder / "cameras.csv").frames[0].camera_to_world
    assert not np.isfinite(pose).all()  # opening leaves such a pose out by name
    path = folder / "cameras.xml"
    path.write_bytes(b'<?xml version="1.0" encoding="UTF1e9"?><document/>')
    with pytest.raises(CaptureError, match="not valid XML"):
        read_survey(path)
