"""What stands over the picture: axes, legend of depths, what is happening, the first hint."""

from __future__ import annotations

from typing import Any

import dearpygui.dearpygui as dpg
import numpy as np

from app.desktop.kit import Kit, inside
from app.store import Store
from core.render.view import Channel

HINT = "Drag to orbit    Shift+drag to pan    Wheel to zoom    Right drag + W A S D to fly    H for all keys"
# Nine evenly spaced colours of viridis, the map that depth is drawn in.
VIRIDIS = (
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
)
GREYS = ((0, 0, 0), (255, 255, 255))
CIRCLED = 0.1  # of the largest weight: weaker Gaussians of a pixel are dots alone
AXES = (("X", (255, 107, 107)), ("Y", (91, 214, 138)), ("Z", (76, 194, 255)))


class Overlay:
    """Drawn again only when something in it changed."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.layer = dpg.add_draw_layer()
        self._is_hinting = True
        self._shown: Any = None

    def dismiss_hint(self) -> None:
        """Take the first hint away: somebody has found the mouse."""
        self._is_hinting = False

    def update(self, store: Store, frame: Any, control: Any, area: Any, is_flying: bool) -> bool:
        """Bring the overlay up to date; return whether it changed."""
        sentence = _sentence(store, frame, is_flying)
        corner = _corner(store, frame)
        legend = frame.legend if frame is not None else {}
        axes = None if control is None or frame is None else control.camera(64, 64)
        pose = None if axes is None else np.round(axes.world_to_camera[:3, :3], 3).tobytes()
        is_hinting = self._is_hinting and frame is not None
        size = (area.width, area.height)
        marks = store.get("pixel.marks") if frame is not None else None
        where = None if marks is None or axes is None else axes.world_to_camera.tobytes()
        state = (sentence, corner, tuple(sorted(legend.items())), pose, is_hinting, size)
        state = (*state, id(marks), where)
        if state == self._shown:
            return False
        self._shown = state
        dpg.delete_item(self.layer, children_only=True)
        with inside(self.layer):
            if frame is None:
                self._message(sentence, area)
            else:
                self._pill(corner, 12, 12)
                if sentence:
                    self._pill(sentence, 12, 46)
                if is_hinting:
                    width = self.kit.theme.text_width(HINT, "caption")
                    self._pill(
                        HINT,
                        (area.width - width) / 2 - 12,
                        area.height - (110 if "low" in legend else 44),
                    )
            if marks is not None and control is not None:
                self._marks(marks, control.camera(area.width, area.height))
            if axes is not None:
                self._gizmo(axes.world_to_camera[:3, :3], area)
            if "low" in legend:
                self._legend(legend, area, is_grey=frame.view.channel is Channel.ALPHA)
        return True

    def _message(self, sentence: str, area: Any) -> None:
        theme = self.kit.theme
        width = theme.text_width(sentence)
        place = ((area.width - width) / 2, area.height / 2 - theme.px(10))
        self._write(place, sentence, theme.color("secondary"), 17)

    def _pill(self, text: str, left: float, top: float) -> None:
        if not text:
            return
        theme = self.kit.theme
        px, window = theme.px, theme.color("window")
        width = theme.text_width(text, "caption") + px(20)
        dpg.draw_rectangle(
            (left, top),
            (left + width, top + px(28)),
            color=(*window, 0),
            fill=(*window, 190),
            rounding=px(6),
        )
        self._write((left + px(10), top + px(6)), text, theme.color("text"), 15)

    def _write(self, place: tuple[float, float], text: str, color: Any, size: int) -> None:
        place = (round(place[0]), round(place[1]))
        dpg.draw_text(place, text, color=(*color, 255), size=self.kit.theme.px(size))

    def _marks(self, marks: Any, camera: Any) -> None:
        """Dot the Gaussians that made a pixel and circle those that count, stronger ones brighter."""
        px, amber = self.kit.theme.px, self.kit.theme.color("gaussians")
        places, weights, sizes = marks
        seen = places @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        strongest = max(float(weights.max()), 1e-9)
        for (x, y, z), weight, size in zip(seen, weights, sizes, strict=True):
            if z <= 0:
                continue
            share = float(weight) / strongest
            middle = (camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy)
            color = (*amber, round(70 + 185 * share))
            dpg.draw_circle(middle, px(2), color=color, fill=color)
            if share >= CIRCLED:
                radius = min(max(camera.fx * size / z, px(4)), px(200))
                dpg.draw_circle(middle, radius, color=color, thickness=px(1.5))

    def _gizmo(self, rotation: np.ndarray, area: Any) -> None:
        """Draw the world's axes as the camera sees them, the farthest first."""
        px = self.kit.theme.px
        middle = np.array([area.width - px(48), area.height - px(48)], dtype=float)
        arrows = sorted(zip(rotation.T, AXES, strict=True), key=lambda arrow: -arrow[0][2])
        dpg.draw_circle(
            middle.tolist(),
            px(38),
            color=(0, 0, 0, 0),
            fill=(*self.kit.theme.color("window"), 130),
        )
        for direction, (name, color) in arrows:
            # An axis that points away is dimmer.
            alpha = 255 if direction[2] <= 0.2 else 140
            tip = middle + direction[:2] * px(25)
            dpg.draw_line(middle.tolist(), tip.tolist(), color=(*color, alpha), thickness=px(2))
            dpg.draw_circle(
                tip.tolist(), px(8), color=(*color, alpha), fill=(*color, alpha), segments=20
            )
            letter = (tip - [px(4), px(7)]).tolist()
            self._write((letter[0], letter[1]), name, self.kit.theme.palette["on_action"], 13)

    def _legend(self, legend: dict[str, Any], area: Any, *, is_grey: bool) -> None:
        """Draw the scale of a map of numbers: colours, smallest and largest value, unit."""
        theme, px = self.kit.theme, self.kit.theme.px
        unit = str(legend.get("unit", ""))
        low, high = f"{legend['low']:.3g}", f"{legend['high']:.3g} {unit}".strip()
        ends = theme.text_width(low, "caption") + theme.text_width(high, "caption")
        width, height = max(px(180), ends + px(24)), px(10)
        left, top = px(16), area.height - px(44)
        window = theme.color("window")
        dpg.draw_rectangle(
            (left - px(8), top - px(8)),
            (left + width + px(8), top + px(36)),
            color=(*window, 0),
            fill=(*window, 190),
            rounding=px(6),
        )
        scale = np.array(GREYS if is_grey else VIRIDIS, dtype=float)  # [steps, 3]
        parts, steps = np.linspace(0, len(scale) - 1, width // 2), np.arange(len(scale))
        colors = np.stack([np.interp(parts, steps, band) for band in scale.T], axis=1)
        for at, color in enumerate(colors.round().astype(int).tolist()):
            dpg.draw_rectangle(
                (left + 2 * at, top), (left + 2 * at + 2, top + height), color=color, fill=color
            )
        ink = theme.color("text")
        self._write((left, top + px(14)), low, ink, 15)
        room = theme.text_width(high, "caption")
        self._write((left + width - room, top + px(14)), high, ink, 15)


def _sentence(store: Store, frame: Any, is_flying: bool) -> str:
    if frame is not None:
        return "Flying: W A S D Q E to move, V to leave" if is_flying else ""
    task = store.get("task.name", "")
    if task:
        return f"{task}…"
    if store.get("engine.state", "ready") != "ready":
        return "Starting the engine…"
    return "The first picture appears in a moment…"


def _corner(store: Store, frame: Any) -> str:
    if frame is None:
        return ""
    state = store.get("train.state", "idle")
    if state == "running":
        return f"Training…  view of step {frame.step:,}".replace(",", " ")
    if state == "paused":
        return f"Paused  view of step {frame.step:,}".replace(",", " ")
    return ""
