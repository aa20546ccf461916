"""The bar at the top (title, menus, the buttons that matter) and the status line at the bottom."""

from __future__ import annotations

import dearpygui.dearpygui as dpg

from app.actions import ExportScene, PauseTraining, ResumeTraining, SaveScene, StartTraining
from app.desktop.arrange import Area
from app.desktop.commands import Command, Commands, has_scene, is_training
from app.desktop.draw import Bar, PanelDrawer
from app.desktop.kit import Item, Kit, inside
from app.panels.widgets import Button, Group, Row
from app.store import Store

BAR_HEIGHT = 48
BUTTONS_WIDTH = 348


class TopBar:
    """Title, menus and buttons."""

    def __init__(self, kit: Kit, store: Store, commands: Commands) -> None:
        self.kit, self.store = kit, store
        px = kit.theme.px
        self._title_shown = ("", 0)
        self._menus: list[tuple[Item, str, tuple[Command | None, ...]]] = []
        with dpg.child_window(
            border=False,
            always_use_window_padding=True,
            no_scrollbar=True,
            no_scroll_with_mouse=True,
        ) as bar:
            self.box = bar
            self.line = dpg.add_group()
            with inside(self.line):
                self.name = kit.text("", "text", "title")
            dpg.bind_item_theme(self.line, kit.theme.lines())
            for label in commands.menus:
                button = dpg.add_button(label=label, callback=self._open, user_data=label)
                dpg.bind_item_theme(button, kit.theme.button("menu"))
                self._menus.append((button, label, commands.menus[label]))
            self.buttons = dpg.add_group()
        dpg.bind_item_theme(bar, kit.theme.ground("panel", (16, 9)))
        self.drawer = PanelDrawer(self.buttons, (toolbar,), store, kit, px(BUTTONS_WIDTH), Bar)
        self._popup: Item = 0
        self._width = 0

    def place(self, area: Area | None) -> None:
        """Stand in this rectangle, or nowhere."""
        dpg.configure_item(self.box, show=area is not None)
        if area is None or area.width == self._width:
            return
        px, self._width = self.kit.theme.px, area.width
        dpg.configure_item(
            self.box, pos=(area.left, area.top), width=area.width, height=area.height
        )
        dpg.configure_item(self.buttons, pos=(area.width - px(BUTTONS_WIDTH + 16), px(9)))
        self._title_shown = ("", 0)
        self.update()

    def update(self) -> bool:
        """Show the newest title and buttons."""
        is_changed = self.drawer.update()
        is_open = self.store.get("page", "start") != "start"
        title = str(self.store.get("title", "")).removesuffix(" - HyRF Studio") if is_open else ""
        if (title, self._width) != self._title_shown:
            self._title_shown = (title, self._width)
            self._write_title(title)
        return is_changed

    def _write_title(self, title: str) -> None:
        theme, px = self.kit.theme, self.kit.theme.px
        words = [theme.text_width(label) + px(20) for _, label, _ in self._menus]
        room = self._width - px(BUTTONS_WIDTH + 80) - sum(words)
        shown = theme.shortened(title, max(room, px(60)), "title")
        dpg.set_value(self.name, shown)
        dpg.configure_item(self.line, pos=(px(16), px(14)))
        left = px(16) + (theme.text_width(shown, "title") + px(20) if shown else -px(8))
        for (button, _, _), width in zip(self._menus, words, strict=True):
            dpg.configure_item(button, pos=(int(left), px(9)), width=int(width))
            left += width + px(2)

    def _open(self, button: Item, _: object, label: str) -> None:
        """Open a menu below its button."""
        entries = next(entries for _, name, entries in self._menus if name == label)
        if self._popup and dpg.does_item_exist(self._popup):
            dpg.delete_item(self._popup)
        left, bottom = dpg.get_item_rect_min(button)[0], dpg.get_item_rect_max(button)[1]
        with dpg.window(popup=True, pos=(left, bottom + 4), min_size=(60, 20)) as self._popup:
            for entry in entries:
                if entry is None:
                    dpg.add_separator()
                    continue
                dpg.add_menu_item(
                    label=entry.label,
                    shortcut=entry.shortcut,
                    enabled=entry.is_possible(self.store),
                    callback=lambda _, __, run: run(),
                    user_data=entry.run,
                )


def toolbar(store: Store) -> Group:
    """Describe the buttons that matter on the scene page."""
    if store.get("page", "start") != "scene":
        return Group("", ())
    state = store.get("train.state", "idle")
    if state == "running":
        train = Button(label="Pause", tooltip="Pause training (Space)", action=PauseTraining())
    elif state == "paused":
        train = Button(label="Resume", tooltip="Resume training (Space)", action=ResumeTraining())
    else:
        train = Button(
            label="Train",
            tooltip="Train from the beginning",
            is_enabled=bool(store.get("train.has_capture", False))
            and store.get("engine.state", "ready") == "ready"
            and state != "loading",
            action=StartTraining(),
        )
    can_save = has_scene(store)
    save = Button(
        label="Save scene",
        tooltip="Write the scene file (Ctrl+S)",
        is_enabled=can_save,
        is_primary=can_save and not is_training(store),
        action=SaveScene(str(store.get("export.scene_path", ""))),
    )
    export = Button(
        label="Export",
        tooltip="Write a file for other programs (Ctrl+E)",
        is_enabled=can_save,
        action=ExportScene(str(store.get("export.path", ""))),
    )
    return Group("", (Row((train, save, export)),))


class StatusLine:
    """Short texts side by side."""

    def __init__(self, kit: Kit, store: Store) -> None:
        self.kit, self.store = kit, store
        self._shown: object = None
        with dpg.child_window(
            border=False,
            always_use_window_padding=True,
            no_scrollbar=True,
            no_scroll_with_mouse=True,
        ) as box:
            self.box = box
            with dpg.group() as line:
                self.words = kit.text("", "secondary", "caption")
            dpg.bind_item_theme(line, kit.theme.lines())
        dpg.bind_item_theme(box, kit.theme.ground("panel", (16, 6)))

    def place(self, area: Area | None) -> None:
        """Stand in this rectangle, or nowhere."""
        dpg.configure_item(self.box, show=area is not None)
        if area is not None:
            dpg.configure_item(
                self.box, pos=(area.left, area.top), width=area.width, height=area.height
            )

    def update(self) -> bool:
        """Show the newest texts."""
        texts = tuple(self.store.get("status", ()))
        if texts == self._shown:
            return False
        self._shown = texts
        dpg.set_value(self.words, "   ·   ".join(str(text) for text in texts))
        return True
