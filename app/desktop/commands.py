"""What the menus offer and the keys do: one table, so that the two never disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app import actions as do
from app.desktop.keys import Keys
from app.desktop.kit import VIEW
from app.store import Store
from core.render.view import BACKGROUND, BOTH, GAUSSIANS, Channel

CHANNELS = tuple(channel.value for channel in Channel)


@dataclass(frozen=True)
class Command:
    """A menu entry: what it is called, its keys, what it does, and whether it can be done now."""

    label: str
    shortcut: str
    run: Callable[[], None]
    is_possible: Callable[[Store], bool] = lambda store: True


def has_scene(store: Store) -> bool:
    """Whether there is something to save."""
    return bool(store.get("scene.gaussians", ""))


def is_training(store: Store) -> bool:
    """Whether training runs or is paused."""
    return store.get("train.state", "idle") in ("running", "paused")


class Commands:
    """Every command, as menus; `window` is what can open dialogs and change itself."""

    def __init__(self, window: object, store: Store, send: Callable[[do.Action], None]) -> None:
        self.store, self.send, self.window = store, send, window
        self.menus = {
            "File": self._file(),
            "View": self._view(),
            "Train": self._train(),
            "Help": self._help(),
        }
        self._by_keys = {
            entry.shortcut: entry
            for menu in self.menus.values()
            for entry in menu
            if entry is not None and entry.shortcut
        }
        self._by_keys["F1"] = self._by_keys["H"]

    def handle(self, keys: Keys) -> bool:
        """Do what the keys that went down ask for; return whether anything was done."""
        done = False
        for name in keys.pressed():
            combination = "Ctrl+" * keys.is_ctrl + "Shift+" * keys.is_shift + name
            command = self._by_keys.get(combination)
            if command is not None and command.is_possible(self.store):
                command.run()
                done = True
        return done

    def _post(self, action: do.Action) -> Callable[[], None]:
        return lambda: self.send(action)

    def _file(self) -> tuple[Command | None, ...]:
        window, post = self.window, self._post
        return (
            Command("Open capture…", "Ctrl+O", window.ask_capture),
            Command("Open scene…", "Ctrl+Shift+O", window.ask_scene),
            Command("Open the demo", "", post(do.OpenDemo())),
            None,
            Command("Save scene", "Ctrl+S", self.save_scene, has_scene),
            Command("Save scene as…", "Ctrl+Shift+S", window.ask_save, has_scene),
            Command("Export…", "Ctrl+E", window.ask_export, has_scene),
            None,
            Command("Close scene", "", post(do.CloseScene()), self._is_on_scene_page),
            Command("Quit", "Ctrl+Q", window.quit),
        )

    def _view(self) -> tuple[Command | None, ...]:
        window, post, open_scene = self.window, self._post, self._is_on_scene_page
        has_background = lambda store: bool(store.get("scene.has_background", True))  # noqa: E731
        has_photos = lambda store: bool(store.get("cameras.count", 0))  # noqa: E731
        return (
            Command("Frame scene", "F", post(do.FrameScene(VIEW)), open_scene),
            Command("Reset view", "R", post(do.ResetView(VIEW)), open_scene),
            Command("Previous photograph", "[", post(do.StepPhoto(VIEW, -1)), has_photos),
            Command("Next photograph", "]", post(do.StepPhoto(VIEW, 1)), has_photos),
            Command("Fly or orbit", "V", window.toggle_fly, open_scene),
            None,
            Command("Show both", "1", post(do.SetBlend(BOTH)), has_background),
            Command("Show Gaussians", "2", post(do.SetBlend(GAUSSIANS)), has_background),
            Command("Show background", "3", post(do.SetBlend(BACKGROUND)), has_background),
            Command("Next mode", "C", self.next_channel, open_scene),
            None,
            Command("Hide or show panels", "Tab", window.toggle_chrome, open_scene),
            Command("Full screen", "F11", window.toggle_fullscreen),
            None,
            Command("Dark or light theme", "", window.toggle_theme),
            Command("Larger text", "", lambda: window.scale_text(1.1)),
            Command("Smaller text", "", lambda: window.scale_text(1 / 1.1)),
        )

    def _train(self) -> tuple[Command | None, ...]:
        post = self._post
        return (
            Command("Start training", "", post(do.StartTraining()), self._can_start),
            Command("Pause or resume", "Space", post(do.TogglePause()), is_training),
            Command("Do one step", "", post(do.StepOnce()), self._is_paused),
            Command("Stop", "", post(do.StopTraining()), is_training),
            None,
            Command("Evaluate now", "", post(do.Evaluate()), self._has_model),
        )

    def _help(self) -> tuple[Command | None, ...]:
        return (Command("Keys and mouse", "H", self.window.toggle_help),)

    def save_scene(self) -> None:
        """Save where the panel says, or ask."""
        path = self.store.get("export.scene_path", "")
        if path:
            self.send(do.SaveScene(path))
        else:
            self.window.ask_save()

    def next_channel(self) -> None:
        """Show the next of colour, depth and opacity."""
        now = self.store.get("layers.channel", CHANNELS[0])
        at = CHANNELS.index(now) if now in CHANNELS else 0
        self.send(do.SetChannel(CHANNELS[(at + 1) % len(CHANNELS)]))

    def _is_on_scene_page(self, store: Store) -> bool:
        return store.get("page", "start") == "scene"

    def _can_start(self, store: Store) -> bool:
        can_train = bool(store.get("train.has_capture", False) or store.get("study.name", ""))
        return can_train and not is_training(store)

    def _is_paused(self, store: Store) -> bool:
        return store.get("train.state", "idle") == "paused"

    def _has_model(self, store: Store) -> bool:
        return store.get("train.state", "idle") in ("running", "paused", "done")
