"""The desktop window: Dear PyGui's context, the main loop and what the menus do to the window.

One thread does everything here. A loop turn: wait for input, draw a frame (which reads the input),
run callbacks, look at keys and mouse, tick the session, push what changed. A frame costs
milliseconds even when nothing moved, so it is only drawn when something asks for it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dearpygui.dearpygui as dpg

from app.actions import Action, ExportScene, FrameScene, OpenPath, SaveScene
from app.desktop.arrange import arrange
from app.desktop.chrome import BAR_HEIGHT, StatusLine, TopBar
from app.desktop.commands import Commands
from app.desktop.dialogs import Dialogs
from app.desktop.display import InputWaiter, load_triton
from app.desktop.keys import ARROWS, Keys
from app.desktop.kit import VIEW, Kit
from app.desktop.memory import Remembered
from app.desktop.pages import ScenePage, StartPage, StudyPage
from app.desktop.picture import StreamTexture, save_frame
from app.desktop.theme import Theme
from app.desktop.viewport import Viewport
from app.panels.export import chosen_suffix
from app.panels.widgets import Path as PathWidget
from app.panels.widgets import Widget
from app.session import Session
from core.capture.video_files import VIDEO_SUFFIXES
from core.formats.table import suffixes

FASTEST_S = 1 / 60
POLL_S = 0.004  # between two looks for a new picture while a hand moves the camera
DRAWING_SHARE = 0.5  # of the time at most goes into the window itself while a hand moves the camera
ACTIVE_S = 0.5  # after an input frames follow closely: hover, tooltips, carets
CHANGED_S = 1 / 12  # between frames that only show new numbers
BLIND_S = 1 / 30
CALM_S = 1.0  # on the start page with nothing under way: nothing is being opened
IDLE_S = 0.5  # between frames when nothing happens at all


def run(
    session: Session,
    *,
    frames: int | None = None,
    screenshot: Path | None = None,
    size: tuple[int, int] = (1280, 800),
) -> int:
    """Open the window and stay until it closes, or for so many frames; then save a screenshot."""
    dpg.create_context()
    try:
        window = Window(session, size)
        window.turn(is_hurried=True)
        session.start_engine()  # its imports would hold up the first frame
        if screenshot is not None:
            window.wait_for_picture()
        window.loop(frames)
        if screenshot is not None and not window.save_screenshot(screenshot):
            print(f"The screenshot could not be written to {screenshot}.", file=sys.stderr)
            return 1
        window.remember()
        return 0
    finally:
        dpg.destroy_context()


class Window:
    """Everything on the screen, and the loop that keeps it up to date."""

    def __init__(self, session: Session, size: tuple[int, int]) -> None:
        load_triton()
        self.session, self.store = session, session.store
        self.remembered = Remembered.read(session)
        self.has_chrome, self._page, self._placed = True, "", None
        self._active_until = self._drawn_at = 0.0
        self._extra, self._is_quitting, self._is_navigating = 3, False, False
        self._cost_s = 0.0  # of drawing a frame, smoothed
        self._is_stale, self._pushed_at, self._titled = False, 0.0, ""
        self._has_read = False  # a frame was drawn, and with it the input read, in the last turn
        self.dialogs, self.keys = Dialogs(), Keys()
        dpg.configure_app(manual_callback_management=True, keyboard_navigation=True)
        dpg.create_viewport(
            title="HyRF Studio",
            width=size[0],
            height=size[1],
            min_width=640,
            min_height=480,
            vsync=False,
        )
        dpg.setup_dearpygui()
        self.texture = StreamTexture()
        with dpg.handler_registry():
            dpg.add_mouse_wheel_handler(callback=lambda _, notches: self._wheel(notches))
            dpg.add_mouse_double_click_handler(button=0, callback=self._double_click)
        dpg.show_viewport()
        self.waiter = InputWaiter()
        self._build()

    def _build(self) -> None:
        """Create every item in the present theme and font scale."""
        look = self.remembered
        self.theme = Theme(look.theme, look.scale)
        for _ in range(2):
            dpg.render_dearpygui_frame()  # texts can be measured once their fonts were drawn
        dpg.set_viewport_clear_color((*self.theme.color("window"), 255))
        self.kit = Kit(
            self.theme, self.session.post, self._ask_for, self.dialogs.ask_before_replacing
        )
        self.dialogs.kit = self.kit
        self.commands = Commands(self, self.store, self.session.post)
        with dpg.window(no_scrollbar=True, no_scroll_with_mouse=True) as self.root:
            self.top = TopBar(self.kit, self.store, self.commands)
            self.start = StartPage(self.kit, self.store)
            self.viewport = Viewport(self.session, self.kit, self.keys, self.texture)
            self.scene = ScenePage(self.kit, self.store)
            self.study = StudyPage(self.kit, self.store)
            self.status = StatusLine(self.kit, self.store)
        dpg.bind_item_theme(self.root, self.theme.bare())
        dpg.set_primary_window(self.root, True)
        # The display is cleared in this colour already; becoming the primary window undoes this.
        dpg.configure_item(self.root, no_background=True)
        self._placed = None

    # The loop

    def loop(self, frames: int | None = None) -> None:
        """Draw until the window closes or so many frames are drawn."""
        num_drawn = 0
        while dpg.is_dearpygui_running() and not self._is_quitting:
            if frames is not None and num_drawn >= frames:
                return
            num_drawn += self.turn(is_hurried=frames is not None)

    def wait_for_picture(self, limit_s: float = 300.0) -> None:
        """Draw until what is being opened shows its first picture: a screenshot before shows none."""
        until = time.monotonic() + limit_s
        calm_at = time.monotonic()
        while dpg.is_dearpygui_running() and time.monotonic() < until:
            if self.viewport.frame is not None:
                return
            is_busy = self.store.get("engine.state") == "starting" or self.store.get("task.name")
            if is_busy or self.store.get("page") != "start":
                calm_at = time.monotonic()
            elif time.monotonic() - calm_at > CALM_S:
                return  # nothing is being opened, or it could not be
            self.turn(is_hurried=not is_busy)  # frames would take the imports' time

    def turn(self, *, is_hurried: bool = False) -> bool:
        """Wait for something to do and do it; return whether a frame was drawn."""
        has_input = is_hurried or self.waiter.wait(self._rest_s(time.monotonic()))
        now = time.monotonic()
        # Where the display cannot be asked, a frame finds out what the hands did.
        has_input |= not self.waiter.can_tell and now - self._drawn_at >= BLIND_S
        if has_input:
            self._active_until = now + ACTIVE_S
            # Events arrive faster than frames are worth drawing.
            if is_hurried or not self._has_read:
                rest_s = self._drawn_at + self._spacing_s - now
                is_watching = self.viewport.is_moving and not is_hurried
                time.sleep(max(min(rest_s, POLL_S) if is_watching else rest_s, 0.0))
                now = time.monotonic()
        is_asked = False
        # A mistake in the window is told and outlived: training goes on behind it.
        with self._telling():
            self._place(now)
            is_asked = self._update(now)
        self.session.tick()  # carries out what the hand did before the next frame takes its time
        since = now - self._drawn_at
        is_due = (
            is_hurried
            or self._extra > 0
            or ((has_input or now < self._active_until) and since >= self._spacing_s)
            or (is_asked and since >= CHANGED_S)
            or since >= IDLE_S
        )
        self._has_read = is_due
        if is_due:
            self._draw(now)
        return is_due

    @property
    def _spacing_s(self) -> float:
        """Return the time between two frames that only follow the hand.

        Where no graphics card draws, a frame of the window costs the picture its cores.
        """
        if not self.viewport.is_moving:
            return FASTEST_S
        return max(FASTEST_S, self._cost_s / DRAWING_SHARE)

    def _rest_s(self, now: float) -> float:
        """Return how long nothing but an input matters."""
        is_moving = self.viewport.is_moving
        if self._has_read or (self._extra > 0 and is_moving):
            return 0.0  # the last frame read the mouse, or a picture is on its way to the screen
        is_busy = self._extra > 0 or now < self._active_until
        rest_s = self._drawn_at + self._spacing_s - now if is_busy else FASTEST_S
        return min(rest_s, POLL_S) if is_moving else rest_s

    def _update(self, now: float) -> bool:
        """Push what changed in the store; return whether the screen should be drawn again."""
        is_asked = self._is_stale
        if self._page == "scene":
            shown = self.viewport.frame
            is_asked |= self.viewport.update(now)
            if self.viewport.frame is not shown:
                self._extra = max(self._extra, 1)
        if now - self._pushed_at >= (CHANGED_S if self.viewport.is_moving else FASTEST_S):
            self._pushed_at = now
            is_asked |= any([self._shown().update(), self.top.update(), self.status.update()])
            self._title()
        drawers = [column.drawer for column in self._columns() if column.drawer]
        is_asked |= any([drawer.animate(now) for drawer in drawers])
        self._is_stale = is_asked
        return is_asked

    def _draw(self, now: float) -> None:
        self._drawn_at, self._is_stale = now, False
        self._extra = max(self._extra - 1, 0)
        dpg.render_dearpygui_frame()
        self._cost_s += 0.2 * (time.monotonic() - now - self._cost_s)
        for job in dpg.get_callback_queue() or ():
            with self._telling():
                dpg.run_callbacks([job])
        with self._telling():
            self.kit.sweep()
            self._listen()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.session.report(error)

    def _listen(self) -> None:
        drawers = [column.drawer for column in self._columns() if column.drawer]
        self.keys.poll()
        self._note_navigation()
        is_elsewhere = self._is_navigating and not dpg.is_item_focused(self.viewport.canvas)
        if self.dialogs.is_open or is_elsewhere or any(drawer.is_typing() for drawer in drawers):
            self.keys.yield_to_controls()
        if self.dialogs.is_open:
            if self.dialogs.is_help and self.keys.went_down & {"H", "F1", "Esc"}:
                self.dialogs.close()
            return
        if "Esc" in self.keys.pressed():
            self.viewport.is_flying = False
        self.commands.handle(self.keys)

    def _note_navigation(self) -> None:
        """Arrow keys lead from control to control; then Space and the like belong to these."""
        if self.keys.is_any_button_pressed:
            self._is_navigating = False
        elif self.keys.went_down & ARROWS:
            self._is_navigating = True
        elif "Esc" in self.keys.went_down and self._is_navigating and not self.dialogs.is_open:
            self._is_navigating = False
            dpg.focus_item(self.viewport.box)

    def _place(self, now: float) -> None:
        """Arrange the window when its size, the page or the chrome changed."""
        size = (dpg.get_viewport_client_width(), dpg.get_viewport_client_height())
        page = self.store.get("page", "start")
        has_curves = bool(self.store.get("study.name") or self.store.get("train.has_capture"))
        wanted = (size, page, self.has_chrome, has_curves)
        if wanted == self._placed or min(size) <= 0:
            return
        self._placed, self._page, self._extra = wanted, page, 3
        chrome = self.has_chrome or page == "start"
        arrangement = arrange(*size, self.theme.scale, has_chrome=chrome, has_curves=has_curves)
        self.top.place(arrangement.top)
        self.status.place(arrangement.status)
        for other in (self.start, self.scene, self.study):
            if other is not self._shown():
                other.hide()
        if page == "scene":
            self.viewport.place(arrangement.view, now)
            self.scene.place(arrangement)
            return
        self.viewport.hide()
        if page == "study":
            self.study.place(arrangement)
        else:
            assert arrangement.status is not None
            self.start.place(size[0], self.theme.px(BAR_HEIGHT), arrangement.status.top)

    def _shown(self) -> ScenePage | StartPage:
        return {"scene": self.scene, "study": self.study}.get(self._page, self.start)

    def _columns(self) -> list:
        return list(self._shown().columns())

    def _title(self) -> None:
        title = str(self.store.get("title", "")) or "HyRF Studio"
        if title != self._titled:
            self._titled = title
            dpg.set_viewport_title(title)

    def _wheel(self, notches: float) -> None:
        if self.dialogs.is_open:
            return
        if self.keys.is_ctrl:
            for column in self._columns():
                if column.drawer and column.drawer.fine_step(round(notches)):
                    return
        self.viewport.wheel(notches)

    def _double_click(self) -> None:
        if not self.dialogs.is_open and self._page == "scene" and self.viewport.is_hovered():
            self.kit.send(FrameScene(VIEW))

    def quit(self) -> None:
        """Close the window; training writes a checkpoint on the way out."""
        self._is_quitting = True

    def toggle_fly(self) -> None:
        """Fly, or go back to orbiting."""
        self.viewport.toggle_fly()

    def toggle_chrome(self) -> None:
        """Hide or show everything but the picture."""
        self.has_chrome = not self.has_chrome
        # Tab has moved the focus to a field as well: take it back.
        dpg.focus_item(self.viewport.box)

    def toggle_fullscreen(self) -> None:
        """Use the whole screen, or give it back."""
        dpg.toggle_viewport_fullscreen()

    def toggle_help(self) -> None:
        """Show the sheet of keys, or put it away."""
        self.dialogs.toggle_help()

    def toggle_theme(self) -> None:
        """Change between the dark and the light theme."""
        self.remembered.theme = "light" if self.remembered.theme == "dark" else "dark"
        self._rebuild()

    def scale_text(self, factor: float) -> None:
        """Make everything larger or smaller with the text."""
        self.remembered.scale = min(max(self.remembered.scale * factor, 0.8), 2.0)
        self._rebuild()

    def ask_capture(self) -> None:
        """Choose a capture's folder and open it."""
        self._ask("open_folder", (), "start.capture_path", OpenPath())

    def ask_scene(self) -> None:
        """Choose a scene file or a video and open it."""
        self._ask("open_file", (*suffixes(), *VIDEO_SUFFIXES), "start.scene_path", OpenPath())

    def ask_save(self) -> None:
        """Choose where the scene is saved."""
        self._ask("save_file", (".hyrf",), "export.scene_path", SaveScene())

    def ask_export(self) -> None:
        """Choose where the scene is exported."""
        self._ask("save_file", chosen_suffix(self.store), "export.path", ExportScene())

    def _ask(self, mode: str, suffixes: tuple[str, ...], key: str, action: Action) -> None:
        start = str(self.store.get(key, "") or "")
        self.dialogs.ask_path(mode, suffixes, start, lambda path: self.kit.post(action, value=path))

    def _ask_for(self, widget: Widget, picked) -> None:
        assert isinstance(widget, PathWidget)
        start = str(self.store.get(widget.key, "") or "")
        self.dialogs.ask_path(widget.mode, widget.suffixes, start, picked)

    def _rebuild(self) -> None:
        """Draw everything anew, for another theme or text size."""
        for column in [*self.scene.columns(), *self.study.columns(), *self.start.columns()]:
            if column.drawer:
                column.drawer.close()
        dpg.delete_item(self.root)
        before = self.viewport
        self._build()
        self.viewport.take_over(before)

    def save_screenshot(self, path: Path, limit_s: float = 5.0) -> bool:
        """Write what is on the screen to a PNG file; return whether it is there."""
        return save_frame(path, limit_s)

    def remember(self) -> None:
        """Keep the look for the next time."""
        self.remembered.write()
