"""What opens above the window: file dialogs, questions and the sheet of keys. One at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dearpygui.dearpygui as dpg

from app.desktop.kit import Item, Kit
from app.panels.help import SHORTCUTS


class Dialogs:
    """Opens dialogs; `is_open` while one takes keys and mouse."""

    def __init__(self) -> None:
        self.kit: Kit | None = None
        self._item: Item = 0
        self._is_help = False

    @property
    def is_open(self) -> bool:
        """Whether a dialog is on the screen."""
        return (
            bool(self._item) and dpg.does_item_exist(self._item) and dpg.is_item_shown(self._item)
        )

    @property
    def is_help(self) -> bool:
        """Whether the sheet of keys is what is open."""
        return self._is_help

    def close(self) -> None:
        """Close what is open."""
        if self._item and dpg.does_item_exist(self._item):
            dpg.delete_item(self._item)
        self._item, self._is_help = 0, False

    def ask_path(
        self,
        mode: str,
        suffixes: tuple[str, ...],
        start: str,
        picked: Callable[[str], None],
    ) -> None:
        """Let the user choose a path; `mode` is open_folder, open_file or save_file."""
        self.close()
        folder, name = _start_of(start, mode)
        titles = {"open_folder": "Open folder", "open_file": "Open file", "save_file": "Save as"}

        def done(_: object, answer: dict[str, object]) -> None:
            path = str(answer.get("file_path_name", ""))
            self.close()
            if mode == "save_file":
                self.ask_before_replacing(_with_suffix(path, suffixes), picked)
            elif path:
                picked(path)

        width, height = dpg.get_viewport_client_width(), dpg.get_viewport_client_height()
        with dpg.file_dialog(
            label=titles[mode],
            directory_selector=mode == "open_folder",
            default_path=folder,
            default_filename=name,
            width=min(820, width - 60),
            height=min(520, height - 60),
            modal=True,
            callback=done,
            cancel_callback=lambda: self.close(),
        ) as self._item:
            if mode != "open_folder":
                for suffix in suffixes or (".*",):
                    dpg.add_file_extension(suffix)

    def ask_before_replacing(self, path: str, picked: Callable[[str], None]) -> None:
        """Hand on a path to write to, after a question where a file is there already."""
        if not Path(path).expanduser().exists():
            picked(path)
            return
        question = f"{Path(path).name} exists already. Replacing it cannot be undone."
        self.confirm(question, "Replace file", lambda: picked(path))

    def confirm(self, question: str, verb: str, run: Callable[[], None]) -> None:
        """Ask before something that cannot be undone."""
        self.close()
        kit = self._kit()

        def agreed() -> None:
            self.close()
            run()

        width = kit.theme.px(420)
        with self._sheet("Please confirm", width, kit.theme.px(150)):
            kit.text(question, wrap=width - kit.theme.px(40))
            dpg.add_spacer(height=kit.theme.px(8))
            with dpg.group(horizontal=True):
                go = dpg.add_button(label=verb, width=kit.theme.px(130), callback=agreed)
                dpg.bind_item_theme(go, kit.theme.button("primary"))
                dpg.add_button(
                    label="Cancel", width=kit.theme.px(100), callback=lambda: self.close()
                )

    def toggle_help(self) -> None:
        """Show the sheet of keys, or put it away."""
        was_help = self._is_help and self.is_open
        self.close()
        if was_help:
            return
        kit, px = self._kit(), self._kit().theme.px
        row = px(27)
        height = row * len(SHORTCUTS) + px(76)
        with (
            self._sheet("Keys and mouse", px(560), height),
            dpg.table(header_row=False, policy=dpg.mvTable_SizingFixedFit) as table,
        ):
            dpg.bind_item_theme(table, kit.theme.sheet())
            dpg.add_table_column(width_fixed=True, init_width_or_weight=px(230))
            dpg.add_table_column(width_fixed=True, init_width_or_weight=px(290))
            for keys, meaning in SHORTCUTS:
                with dpg.table_row():
                    kit.text(keys, "action", "caption")
                    kit.text(meaning, "text", "caption")
        self._is_help = True

    @contextmanager
    def _sheet(self, title: str, width: int, height: int) -> Iterator[None]:
        """Open an empty window in the middle."""
        wide, high = dpg.get_viewport_client_width(), dpg.get_viewport_client_height()
        width, height = min(width, wide - 40), min(height, high - 40)
        with dpg.window(
            label=title,
            modal=True,
            no_collapse=True,
            no_resize=True,
            width=width,
            height=height,
            pos=((wide - width) // 2, (high - height) // 2),
            on_close=lambda: self.close(),
        ) as self._item:
            yield

    def _kit(self) -> Kit:
        assert self.kit is not None
        return self.kit


def _start_of(start: str, mode: str) -> tuple[str, str]:
    """Return the folder a dialog opens in and the file name it proposes."""
    path = Path(start).expanduser() if start else Path.cwd()
    folder = path if path.is_dir() else path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    name = path.stem if mode == "save_file" and not path.is_dir() else "."
    return str(folder.resolve()), name


def _with_suffix(path: str, suffixes: tuple[str, ...]) -> str:
    if path and suffixes and not path.lower().endswith(suffixes):
        return path.removesuffix(".*").rstrip(".") + suffixes[0]
    return path
