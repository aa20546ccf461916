"""The picture in the middle: newest frame in, mouse and keys out as camera actions.

Positions are pixels of the window. While a hand moves the camera each loop turn posts at most one
`MoveCamera`; when it has rested, one more with `is_moving=False` asks for the sharp picture.
"""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np

from app.actions import InspectPixel, MoveCamera, ResizeView
from app.camera import FAST, SLOW, OrbitControl
from app.desktop.arrange import Area
from app.desktop.keys import Keys
from app.desktop.kit import VIEW, Kit
from app.desktop.overlay import Overlay
from app.desktop.picture import StreamTexture
from app.session import Session
from core.capture.camera import Camera

REST_S = 0.15
RESIZE_S = 0.1
CLICK_PX = 4  # a left button that moves the pointer less asks what made the pixel
SEND_S = 1 / 120  # between two cameras sent while flying


class Viewport:
    """Shows the frames of this window's view and moves its camera."""

    def __init__(self, session: Session, kit: Kit, keys: Keys, texture: StreamTexture) -> None:
        self.session, self.kit, self.keys = session, kit, keys
        self.texture = texture
        self.control: OrbitControl | None = None
        self.frame = None
        self.area, self.is_flying = Area(), False
        self._adopted: Camera | None = None
        self._sent_size, self._resized_at = (0, 0), 0.0
        self._mouse, self._held = (0.0, 0.0), -1
        self._pressed_at = (0.0, 0.0)
        self._moved_at, self._is_moving, self._is_dirty = 0.0, False, False
        self._before = 0.0
        with (
            dpg.child_window(
                border=False,
                always_use_window_padding=True,
                no_scrollbar=True,
                no_scroll_with_mouse=True,
            ) as box,
            dpg.drawlist(1, 1) as self.canvas,
        ):
            self.image = dpg.draw_image(self.texture.item, (0, 0), (1, 1), show=False)
            self.overlay = Overlay(kit)
        dpg.bind_item_theme(box, kit.theme.clear())
        self.box = box

    def take_over(self, other: Viewport) -> None:
        """Go on with the camera of a view that was drawn in another theme."""
        self.control, self._adopted = other.control, other._adopted
        self._sent_size, self.is_flying = other._sent_size, other.is_flying

    def place(self, area: Area, now: float) -> None:
        """Stand in this rectangle; the session hears of the size once it has settled."""
        if area == self.area:
            return
        self.area, self._resized_at = area, now
        dpg.configure_item(
            self.box, show=True, pos=(area.left, area.top), width=area.width, height=area.height
        )
        dpg.configure_item(self.canvas, width=area.width, height=area.height)
        self._fit()

    def update(self, now: float) -> bool:
        """Take in the newest frame and camera, send what the hand did; return whether to redraw."""
        self._settle(now)
        self._adopt()
        self._move(now)
        frame = self.session.frame(VIEW)
        is_new = frame is not self.frame
        if frame is None and is_new:  # another scene is on its way
            self.frame = None
            dpg.configure_item(self.image, show=False)
        elif is_new:
            self.frame = frame
            self.texture.show(frame.image)
            self._fit()
        is_overlaid = self.overlay.update(
            self.session.store, self.frame, self.control, self.area, self.is_flying
        )
        return is_new or is_overlaid or self._is_moving

    @property
    def is_moving(self) -> bool:
        """Whether a hand is on the camera."""
        return self._is_moving

    def is_hovered(self) -> bool:
        """Whether the pointer is on the picture with nothing above it."""
        return dpg.is_item_hovered(self.canvas)

    def wheel(self, notches: float) -> None:
        """Zoom."""
        if self.control and self.is_hovered():
            self.control.zoom(notches)
            self.overlay.dismiss_hint()
            self._touch()

    def toggle_fly(self) -> None:
        """Fly without holding a button, or go back to orbiting."""
        self.is_flying = not self.is_flying

    def hide(self) -> None:
        """Leave the screen to another page."""
        dpg.configure_item(self.box, show=False)
        self.area = Area()

    def _settle(self, now: float) -> None:
        """Report the size after the window's edge has come to rest."""
        size = (self.area.width, self.area.height)
        is_first = self._sent_size == (0, 0)
        if size != self._sent_size and (is_first or now - self._resized_at >= RESIZE_S):
            self._sent_size = size
            self.kit.send(ResizeView(VIEW, *size))

    def _adopt(self) -> None:
        """Continue from a camera the session moved this view to."""
        store = self.session.store
        camera = store.get(f"camera.{VIEW}")
        if camera is None or camera is self._adopted:
            return
        self._adopted = camera
        pivot, up = store.get("scene.center"), store.get("scene.up")
        radius = float(store.get("scene.radius", 1.0) or 1.0)
        self.control = OrbitControl(camera, pivot, up, radius)

    def _move(self, now: float) -> None:
        seconds, self._before = now - self._before, now
        mouse = tuple(dpg.get_mouse_pos(local=False))
        dx, dy = mouse[0] - self._mouse[0], mouse[1] - self._mouse[1]
        self._mouse = mouse
        if self.control is None:
            return
        self._grip()
        if self._held >= 0 and (dx or dy):
            self._drag(dx, dy)
        elif self.is_flying and self.is_hovered() and (dx or dy):
            self.control.look(dx, dy)
            self._touch()
        self._fly(seconds)
        self._send(now)

    def _grip(self) -> None:
        """Note which button holds the picture: pressed on it, not yet released."""
        if self._held >= 0:
            if not self.keys.is_button_down(self._held):
                self._click(self._held)
                self._held = -1
            return
        for button in (0, 1, 2):
            if self.keys.is_button_pressed(button) and self.is_hovered():
                self._held, self._pressed_at = button, self._mouse
                self.overlay.dismiss_hint()

    def _click(self, button: int) -> None:
        """Ask what made the pixel under a left button that was pressed and let go in one place."""
        moved = np.abs(np.subtract(self._mouse, self._pressed_at)).max()
        if button != 0 or moved > CLICK_PX or self.frame is None or self.is_flying:
            return
        corner, size = self._fitted()
        place = (np.array(self._mouse) - (self.area.left, self.area.top) - corner) / size
        if (place >= 0).all() and (place < 1).all():
            self.kit.send(InspectPixel(VIEW, float(place[0]), float(place[1])))

    def _drag(self, dx: float, dy: float) -> None:
        is_pan = self._held == 2 or (self._held == 0 and self.keys.is_shift)
        if is_pan:
            self.control.pan(dx, dy, self.area.height)
        elif self._held == 0 and not self.is_flying:
            self.control.orbit(dx, dy)
        else:
            self.control.look(dx, dy)
        self._touch()

    def _fly(self, seconds: float) -> None:
        if not (self._held == 1 or self.is_flying) or self.keys.is_ctrl:
            return
        down = self.keys.is_down
        move = (
            float(down("D") - down("A")),
            float(down("E") - down("Q")),
            float(down("W") - down("S")),
        )
        if any(move):
            speed = FAST if self.keys.is_shift else SLOW if self.keys.is_alt else 1.0
            self.control.fly(move, (0.0, 0.0), seconds, speed)
            self._touch()

    def _touch(self) -> None:
        self._is_moving = self._is_dirty = True

    def _send(self, now: float) -> None:
        if self._is_dirty and now - self._moved_at >= SEND_S:
            self._is_dirty, self._moved_at = False, now
            self._post(is_moving=True)
        elif self._is_moving and self._held < 0 and now - self._moved_at >= REST_S:
            self._is_moving = False
            self._post(is_moving=False)

    def _post(self, *, is_moving: bool) -> None:
        camera = self.control.camera(self.area.width, self.area.height)
        self.kit.send(MoveCamera(VIEW, camera, is_moving))

    def _fit(self) -> None:
        """Draw the frame as large as its shape allows, centred."""
        if self.frame is None:
            return
        corner, size = self._fitted()
        dpg.configure_item(
            self.image,
            pmin=corner.tolist(),
            pmax=(corner + size).tolist(),
            texture_tag=self.texture.item,
            uv_min=self.texture.uv_min,
            uv_max=self.texture.uv_max,
            show=True,
        )

    def _fitted(self) -> tuple[np.ndarray, np.ndarray]:
        """Return corner and size of the picture inside the area, [2] pixels each."""
        assert self.frame is not None
        camera, area = self.frame.view.camera, self.area
        scale = min(area.width / camera.width, area.height / camera.height)
        size = np.array([camera.width, camera.height]) * scale
        return (np.array([area.width, area.height]) - size) / 2, size
