"""Read the cameras that survey programs export: RealityCapture's CSV and Metashape's XML.

RealityCapture  one line per picture: name, x y alt (z up), heading pitch roll in degrees, focal length and
                principal point in millimetres of a 36 mm frame, k1 .. k4, t1 t2. At 0 0 0 a camera looks
                straight down with north upwards in the picture.
Metashape       sensors with focal length and principal point (from the middle) in pixels, cameras with a
                camera-to-chunk matrix (OpenCV axes), and the chunk's or component's own transform.

Distortion of both is Brown's polynomial, as COLMAP's FULL_OPENCV with its denominator one.
"""

from __future__ import annotations

import csv
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.parsers import expat

import numpy as np

from core.base.errors import CaptureError
from core.capture.camera import from_opengl
from core.capture.camera_list import PICTURE_PLACES, points_beside
from core.capture.frames import Frame, Listing, matrix
from core.capture.lens import Lens, check_lens
from core.capture.pictures import PictureFolder, header_size

MOST_BYTES = 256 << 20
FRAME_MM = 36.0  # the film width that RealityCapture's focal lengths refer to
_PLACE = ("x", "y", "alt")
_TURN = ("heading", "pitch", "roll")
_NEEDED = ("name", *_PLACE, *_TURN, "f")


def find_survey(folder: Path) -> Path | None:
    """Return the camera file of a survey program in a folder, or None."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".csv" and _columns(_start(path)) is not None:
            return path
        if path.suffix.lower() == ".xml" and "<chunk" in _start(path):
            return path
    return None


def read_survey(path: Path) -> Listing:
    """Read the file that `find_survey` found."""
    if path.stat().st_size > MOST_BYTES:
        raise CaptureError(
            f"{path.name}: has more than {MOST_BYTES >> 20} MB; is it a camera file?"
        )
    searched = tuple(path.parent / place for place in PICTURE_PLACES)
    pictures = PictureFolder(*searched)
    read = _read_csv if path.suffix.lower() == ".csv" else _read_xml
    frames, notices = read(path, pictures)
    points, colors = points_beside(path.parent)
    return Listing(path.name, tuple(frames), searched, points, colors, tuple(notices))


def _start(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8-sig", "replace")
    except OSError:
        return ""


# ---- RealityCapture ---------------------------------------------------------------------


def _columns(text: str) -> list[str] | None:
    """Return the names of the columns, if these are lines of cameras."""
    for line in text.splitlines():
        names = [name.strip().lower() for name in line.lstrip("#").split(",")]
        if all(name in names for name in _NEEDED):
            return names
        if not line.startswith("#"):
            return None
    return None


def _read_csv(path: Path, pictures: PictureFolder) -> tuple[list[Frame], list[str]]:
    lines = path.read_text("utf-8-sig", "replace").splitlines()
    names = _columns("\n".join(lines[:8])) or []
    frames = []
    for number, cells in enumerate(csv.reader(lines), start=1):
        if not cells or cells[0].startswith("#") or cells[0].strip().lower() == "name":
            continue
        where = f"{path.name}, line {number}"
        entry = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
        try:
            values = {name: float(cell) for name, cell in entry.items() if name != "name" and cell}
            place, turn = [values[k] for k in _PLACE], [values[k] for k in _TURN]
            focal = values["f"]
        except (KeyError, ValueError) as error:
            raise CaptureError(
                f"{where}: lacks one of {', '.join(_NEEDED)}, or it is no number ({error}). Export it again."
            ) from None
        name = entry["name"]
        found = pictures.find(name)
        width, height = (header_size(found) if found else None) or (
            1,
            1,
        )  # checked with the picture
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = _rotation(*turn), place
        pixels = max(width, height) / FRAME_MM
        lens = Lens(
            width,
            height,
            focal * pixels,
            focal * pixels,
            values.get("px", 0.0) * pixels + width / 2,
            values.get("py", 0.0) * pixels + height / 2,
            *_brown(values, "t1", "t2", where),
        )
        frames.append(Frame(name, found, from_opengl(pose), check_lens(lens, where)))
    return frames, []


def _rotation(heading: float, pitch: float, roll: float) -> np.ndarray:
    """Return the camera's axes [3, 3] (x right, y up, looking along -z) in a world with z up."""

    def turn(first: int, second: int, degrees: float) -> np.ndarray:
        # a pose that is not finite is left out later, by name
        rotation, angle = np.eye(3), math.radians(degrees if math.isfinite(degrees) else math.nan)
        rotation[first, first] = rotation[second, second] = math.cos(angle)
        rotation[first, second], rotation[second, first] = -math.sin(angle), math.sin(angle)
        return rotation

    return turn(0, 1, -heading) @ turn(1, 2, pitch) @ turn(2, 0, roll)


# ---- Metashape --------------------------------------------------------------------------


def _read_xml(path: Path, pictures: PictureFolder) -> tuple[list[Frame], list[str]]:
    content = path.read_bytes()

    def refuse(*_declared: object) -> None:
        raise CaptureError(f"{path.name}: defines entities, which no camera file needs; refused.")

    try:
        scan = expat.ParserCreate()  # knows the encoding, so that nothing hides in another one
        scan.StartDoctypeDeclHandler = refuse
        scan.Parse(content, True)
        chunk = ElementTree.fromstring(content).find(".//chunk")
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise CaptureError(f"{path.name} is not valid XML ({error}). Export it again.") from None
    if chunk is None:
        raise CaptureError(f"{path.name}: holds no chunk of cameras. Export the cameras again.")
    lenses = {sensor.get("id"): _sensor(sensor, path.name) for sensor in chunk.iter("sensor")}
    placed = {part.get("id"): _transform(part, path.name) for part in chunk.iter("component")}
    whole = _transform(chunk, path.name)
    frames, unplaced = [], 0
    for camera in chunk.iter("camera"):
        name = camera.get("label", "")
        text = camera.findtext("transform")
        where = f"{path.name}, camera '{name}'"
        if text is None:
            unplaced += 1
            continue
        to_chunk = matrix(_numbers(text, 16, where).reshape(4, 4), where)
        lens = lenses.get(camera.get("sensor_id"))
        if lens is None:
            raise CaptureError(f"{where}: its sensor has no calibration. Export the cameras again.")
        with np.errstate(invalid="ignore", over="ignore"):  # such poses are left out later, by name
            to_world = placed.get(camera.get("component_id"), whole) @ to_chunk
        frames.append(Frame(name, pictures.find(name), to_world, lens))
    told = f"{unplaced} of {len(frames) + unplaced} cameras in {path.name} were not aligned."
    return frames, [told] if unplaced else []


def _sensor(sensor: ElementTree.Element, source: str) -> Lens | None:
    """Return the lens of a sensor, None where it was not calibrated."""
    found = sensor.findall("calibration")
    if not found:
        return None
    adjusted = [entry for entry in found if entry.get("class") == "adjusted"]
    calibration = (adjusted or found)[-1]
    where = f"{source}, sensor '{sensor.get('label', sensor.get('id'))}'"
    kind = calibration.get("type", sensor.get("type", "frame"))
    if kind != "frame":
        raise CaptureError(
            f"{where}: is of type {kind}; only frame cameras are read. Undistort its pictures first."
        )
    size = calibration.find("resolution")
    size = sensor.find("resolution") if size is None else size
    try:
        assert size is not None
        width, height = int(size.get("width", "")), int(size.get("height", ""))
        values = {e.tag: float(e.text or "") for e in calibration if e.tag != "resolution"}
        focal = values["f"]
    except (AssertionError, KeyError, ValueError, OverflowError) as error:
        raise CaptureError(f"{where}: lacks its size or focal length ({error}).") from None
    if abs(values.get("b2", 0.0)) > 0.5:
        raise CaptureError(
            f"{where}: has a skew of {values['b2']:.1f} pixels. Optimise the cameras without B2."
        )
    lens = Lens(
        width,
        height,
        focal + values.get("b1", 0.0),
        focal,
        width / 2 + values.get("cx", 0.0),
        height / 2 + values.get("cy", 0.0),
        *_brown(values, "p2", "p1", where),  # Metashape counts them the other way round
    )
    return check_lens(lens, where)


def _transform(element: ElementTree.Element, source: str) -> np.ndarray:
    """Return the element's own similarity [4, 4], the identity without one."""
    whole, transform = np.eye(4), element.find("transform")
    if transform is None:
        return whole
    scale = transform.findtext("scale")
    rotation, translation = transform.findtext("rotation"), transform.findtext("translation")
    if rotation is not None:
        whole[:3, :3] = _numbers(rotation, 9, source).reshape(3, 3)
    if translation is not None:
        whole[:3, 3] = _numbers(translation, 3, source)
    whole[:3, :3] *= 1.0 if scale is None else float(_numbers(scale, 1, source)[0])
    return whole


def _numbers(text: str, count: int, where: str) -> np.ndarray:
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count:
        found = " ".join(text.split())[:40]
        raise CaptureError(f"{where}: {count} numbers are expected, not '{found}'.")
    return values


def _brown(values: dict[str, float], p1: str, p2: str, where: str) -> tuple[str, tuple[float, ...]]:
    """Return COLMAP's model and its distortion."""
    k1, k2, k3, k4 = (values.get(f"k{order}", 0.0) for order in (1, 2, 3, 4))
    if k4:
        raise CaptureError(
            f"{where}: has a distortion of the eighth order (k4); export without it."
        )
    distortion = (k1, k2, values.get(p1, 0.0), values.get(p2, 0.0), k3, 0.0, 0.0, 0.0)
    return ("FULL_OPENCV", distortion) if any(distortion) else ("PINHOLE", ())
