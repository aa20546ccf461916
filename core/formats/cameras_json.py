"""The cameras that a scene remembers, as the list that 3DGS trainers write (cameras.json).

    [{"id", "img_name", "width", "height", "position" [3], "rotation" [3][3], "fx", "fy", "cx", "cy"}, ...]

Position and rotation are camera-to-world, x right, y down, looking along +z, in the coordinates of
the capture; pixels are those of the training pictures, undistorted. cx and cy are an addition that
programs without it ignore.
"""

from __future__ import annotations

import json
from pathlib import Path

from core.base.errors import FormatError
from core.capture.camera import Camera
from core.formats.files import replacing
from core.radiance.parts import SceneParts


def write(scene: SceneParts, path: Path) -> list[str]:
    """Write the cameras; say how many there are."""
    path = Path(path)
    cameras = remembered(scene, path)
    entries = [
        {
            "id": index,
            "img_name": name,
            "width": camera.width,
            "height": camera.height,
            "position": camera.center.tolist(),
            "rotation": camera.camera_to_world[:3, :3].tolist(),
            "fx": camera.fx,
            "fy": camera.fy,
            "cx": camera.cx,
            "cy": camera.cy,
        }
        for index, (name, camera) in enumerate(cameras)
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(entries, indent=1, ensure_ascii=False), "utf-8")
    return [counted(scene, len(cameras))]


def remembered(scene: SceneParts, path: Path) -> list[tuple[str, Camera]]:
    """Return the names of the photographs and their cameras in the coordinates of the capture."""
    entries = scene.summary.get("cameras") or []
    try:
        cameras = [scene.to_original.apply_camera(Camera.from_json(entry)) for entry in entries]
        names = [str(entry.get("name", f"{k:04d}.png")) for k, entry in enumerate(entries)]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise FormatError(
            f"{path.name}: the scene's remembered cameras cannot be understood. "
            "Train it again from its capture to export cameras."
        ) from None
    if not cameras:
        raise FormatError(
            f"{path.name}: the scene remembers no cameras, because its file comes from another "
            "program. Open the capture it was made from and export from there."
        )
    return list(zip(names, cameras, strict=True))


def counted(scene: SceneParts, num_cameras: int) -> str:
    """Say how many cameras were written, and of how many photographs."""
    photographs = scene.summary.get("photographs", num_cameras)
    if isinstance(photographs, int) and photographs > num_cameras:
        return f"{num_cameras} cameras, the first of {photographs}: a scene remembers no more."
    return f"{num_cameras} cameras."
