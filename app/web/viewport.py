"""One browser's picture: its camera becomes ours, our frames become its background.

viser's cameras look along +z, x right, y down like ours, with a vertical field of view in radians
and the size of the browser's canvas in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from app.actions import Action, CloseView, InspectPixel, MoveCamera, ResizeView, completed
from app.palette import DARK
from app.web import html
from app.web.page import COLUMN_WIDTH, START_WIDTH
from core.base.latest import Latest
from core.capture.camera import Camera
from core.render.view import Frame

if TYPE_CHECKING:
    from app.session import Session

ARRIVAL_S = 2.0  # a browser that is moved from here has arrived by then, or was pulled elsewhere
REST_S = 0.2  # without a new camera for this long, the hand has let go
CAPTION_S = (
    0.25  # between two texts while the picture moves: each makes the browser lay out its page
)
FRAME_S = 1 / 30  # frames are not queued: the newest is sent when this has passed
LARGEST_SIDE = 1280  # pixels of a rendered frame; the browser enlarges it
MARKS, MARK_SHARE = "/pixel", 0.01  # of the scene's radius, the size of a mark
QUALITY_MOVING, QUALITY_AT_REST = 60, 80


@dataclass(frozen=True, eq=False)
class Pose:
    """What a browser reports about its camera."""

    wxyz: tuple[float, ...]
    position: tuple[float, ...]
    fov: float
    width: int
    height: int


def to_camera(pose: Pose) -> Camera:
    """Return our camera for a browser's, with at most `LARGEST_SIDE` pixels."""
    shrink = min(1.0, LARGEST_SIDE / max(pose.width, pose.height, 1))
    width, height = max(1, round(pose.width * shrink)), max(1, round(pose.height * shrink))
    focal = height / (2 * np.tan(pose.fov / 2))
    camera_to_world = np.eye(4)
    camera_to_world[:3, :3] = viser.transforms.SO3(np.asarray(pose.wxyz)).as_matrix()
    camera_to_world[:3, 3] = pose.position
    return Camera(camera_to_world, focal, focal, width / 2, height / 2, width, height)


class Viewport:
    """A browser's view. Made, ticked and closed on the app loop; viser's threads only fill `poses`."""

    def __init__(self, client: viser.ClientHandle, session: Session) -> None:
        self.client, self.session = client, session
        self.view = view_name(client.client_id)
        self.num_sent = 0
        self._poses: Latest[Pose] = Latest()
        self._camera: Camera | None = None  # what the session shows
        self._reported: Camera | None = None  # what the browser said last
        self._left_from: Camera | None = None  # where the browser was when the session moved it
        self._is_moving = False
        self._size = (0, 0)
        self._moved_at = self._sent_at = self._arrives_by = float("-inf")
        self._captioned_at = float("-inf")
        self._version = 0
        self._frame: Frame | None = None
        self._place: tuple[object, ...] = ()
        self._caption = client.gui.add_html("", order=-1.0)

        async def moved(camera: viser.CameraHandle) -> None:
            self._poses.put(_pose(camera))

        async def clicked(event: Any) -> None:
            if session.store.get("page") == "scene":
                x, y = event.screen_pos
                session.post(InspectPixel(self.view, float(x), float(y)))

        client.camera.on_update(moved)
        client.scene.on_click()(clicked)
        self._marks: Any = None
        self._poses.put(_pose(client.camera))

    def tick(self, now: float) -> None:
        """Pass on what the browser did, and send it the newest frame."""
        self._set_up_place()
        self._adopt(now)
        self._pass_on(now)
        self._send(now)
        self._mark()

    def _mark(self) -> None:
        """Put points where the Gaussians lie that made the pixel asked for last."""
        marks = self.session.store.get("pixel.marks")
        if marks is self._marks:
            return
        self._marks = marks
        if marks is None:
            self.client.scene.remove_by_name(MARKS)
            return
        places, weights, _ = marks
        shine = (0.35 + 0.65 * np.asarray(weights) / max(float(np.max(weights)), 1e-6))[:, None]
        self.client.scene.add_point_cloud(
            MARKS,
            points=np.asarray(places, np.float32),
            colors=(np.array(DARK["gaussians"]) * shine).astype(np.uint8),
            point_size=MARK_SHARE * float(self.session.store.get("scene.radius", 1.0) or 1.0),
            point_shape="circle",
            point_shading="flat",
            precision="float32",
        )

    def close(self) -> None:
        """Tell the session that nobody looks any more."""
        self.session.post(CloseView(self.view))

    def _set_up_place(self) -> None:
        """Fit the orbit to the scene, once for each scene."""
        store = self.session.store
        radius = store.get("scene.radius")
        up, center = store.get("scene.up"), store.get("scene.center")
        if not radius or up is None or center is None:
            return
        place = (*np.round(np.concatenate([up, center]), 9).tolist(), float(radius))
        if place == self._place:
            return
        self._place = place
        camera = self.client.camera
        # Widen before narrowing: viser refuses a smallest distance above the largest.
        camera.max_orbit_distance = max(camera.max_orbit_distance, 20.0 * radius)
        camera.min_orbit_distance = 1e-3 * radius
        camera.max_orbit_distance = 20.0 * radius
        camera.near, camera.far = 1e-3 * radius, 100.0 * radius

    def _adopt(self, now: float) -> None:
        """Move the browser to where the session moved this view."""
        store, key = self.session.store, f"camera.{self.view}"
        if key not in store.changed_since(self._version):
            return
        self._version = store.version
        camera = store.get(key)
        if camera is None:
            return
        hand = self.client.camera
        position, forward, up = camera.center, camera.forward, self._up(camera)
        lens = camera.fitted(max(1, hand.image_width), max(1, hand.image_height))
        with self.client.atomic():
            hand.position = position
            hand.look_at = position + forward * self._distance(position, forward)
            hand.up_direction = up
            hand.fov = lens.vertical_fov
        self._camera, self._is_moving = lens, False
        self._left_from, self._arrives_by = self._reported, now + ARRIVAL_S

    def _distance(self, position: np.ndarray, forward: np.ndarray) -> float:
        """Return how far ahead the point lies that the browser orbits: abreast of the scene's centre."""
        store = self.session.store
        center, radius = store.get("scene.center"), store.get("scene.radius") or 1.0
        if center is None:
            return float(radius)
        return float(max((np.asarray(center) - position) @ forward, 0.1 * radius))

    def _up(self, camera: Camera) -> np.ndarray:
        """Return the axis to orbit: the scene's up, tilted as little as the camera's roll demands.

        viser could turn its whole world upright instead, but applies that after the camera it is
        sent together with, which then looks elsewhere.
        """
        own_up, right = -camera.camera_to_world[:3, 1], camera.camera_to_world[:3, 0]
        up = self.session.store.get("scene.up")
        if up is None:
            return own_up
        upright = np.asarray(up) - (np.asarray(up) @ right) * right
        return upright if upright @ own_up > 0.05 else own_up

    def _pass_on(self, now: float) -> None:
        pose = self._poses.take()
        if pose is not None and pose.width > 0 and pose.height > 0:
            camera = to_camera(pose)
            self._reported = camera
            if (camera.width, camera.height) != self._size:
                self._size = (camera.width, camera.height)
                self.session.post(ResizeView(self.view, *self._size))
            # Before the session has chosen the first view, the browser's own is of no interest.
            shown = self._camera
            if shown is not None and self._has_arrived(camera, now) and not _same(shown, camera):
                self._camera, self._is_moving, self._moved_at = camera, True, now
                self.session.post(MoveCamera(self.view, camera, is_moving=True))
                return
        if self._is_moving and self._camera is not None and now - self._moved_at >= REST_S:
            self._is_moving = False
            self.session.post(MoveCamera(self.view, self._camera, is_moving=False))

    def _has_arrived(self, camera: Camera, now: float) -> bool:
        """Whether the browser heard that the session moved it: until then its reports are old."""
        if self._left_from is None or self._camera is None:
            return True
        is_near = _distance(camera, self._camera) < _distance(camera, self._left_from)
        if is_near or _same(camera, self._camera) or now > self._arrives_by:
            self._left_from = None
            return True
        return False

    def _send(self, now: float) -> None:
        page = self.session.store.get("page")
        is_scene = page == "scene"
        frame = self.session.frame(self.view) if is_scene else None
        if frame is None:
            self._caption.content = "" if page == "study" else waiting(is_scene)
        if frame is self._frame or now - self._sent_at < FRAME_S:
            return
        self._frame, self._sent_at = frame, now
        if frame is None:
            self.client.scene.set_background_image(None)
            return
        is_final = frame.is_full and not frame.view.is_moving
        self.client.scene.set_background_image(
            frame.image,
            format="jpeg",
            jpeg_quality=QUALITY_AT_REST if is_final else QUALITY_MOVING,
        )
        self.num_sent += 1
        if is_final or now - self._captioned_at >= CAPTION_S:
            self._captioned_at = now
            self._caption.content = caption(frame)


def view_name(client_id: int) -> str:
    """Return the session's name for a browser's view."""
    return f"web-{client_id}"


def waiting(is_scene: bool) -> str:
    """Return what stands where no picture is yet."""
    if is_scene:
        text = "The first picture appears in a moment."
        return html.over_picture("", text, COLUMN_WIDTH, COLUMN_WIDTH)
    text = "Open a capture or a scene, or try the demo, on the right."
    return html.over_picture("HyRF Studio", text, 0, START_WIDTH)


def caption(frame: Frame) -> str:
    """Return one line about a frame: age, cost, pixels, and the legend of a map of numbers."""
    height, width = frame.image.shape[:2]
    camera = frame.view.camera
    pixels = f"{width}x{height}"
    if (width, height) != (camera.width, camera.height):
        pixels += f" of {camera.width}x{camera.height}"
    text = f"step {frame.step}, {frame.render_ms:.0f} ms, {pixels}"
    legend = frame.legend
    if "low" in legend and "high" in legend:
        unit = str(legend.get("unit", ""))
        text += f", {legend['low']:.3g} to {legend['high']:.3g} {unit}".rstrip()
    return html.readout("View", text)


def _pose(camera: viser.CameraHandle) -> Pose:
    return Pose(
        tuple(map(float, camera.wxyz)),
        tuple(map(float, camera.position)),
        float(camera.fov),
        int(camera.image_width),
        int(camera.image_height),
    )


def _distance(one: Camera, other: Camera) -> float:
    """Return how far apart two views are, turns and shifts of one length counted alike."""
    return float(np.linalg.norm(one.camera_to_world - other.camera_to_world))


def _same(one: Camera, other: Camera) -> bool:
    """Return whether two views differ by no more than a browser's rounding."""
    turn = np.abs(one.camera_to_world[:3, :3] - other.camera_to_world[:3, :3]).max()
    shift = np.linalg.norm(one.center - other.center)
    far_away = 1e-5 * (1.0 + np.linalg.norm(one.center))
    return bool(
        turn < 1e-4 and shift < far_away and abs(one.vertical_fov - other.vertical_fov) < 1e-4
    )


def for_client(action: Action, client_id: int | None) -> Action:
    """Return an action aimed at the browser's own view where it leaves the view open."""
    return action if client_id is None else completed(action, view=view_name(client_id))
