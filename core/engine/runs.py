"""A run folder: what was trained, with which settings, how it went and where it stands.

config.json     RunConfig, fully resolved
metrics.jsonl   one JSON object per line, each with "step"
checkpoints/    generations (core/engine/checkpoints.py)
scene.hyrf      written by whoever saves the scene
writer.lock     held by the process that trains
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field

from core.base.config import Config, validated
from core.base.errors import ConfigError, RunError
from core.base.events import Event
from core.base.json_values import finite
from core.engine.checkpoints import CheckpointStore
from core.engine.locks import LOCK_NAME, FolderLock

CONFIG_NAME = "config.json"
METRICS_NAME = "metrics.jsonl"
SCENE_NAME = "scene.hyrf"
PACKAGES = ("hyrf-studio", "torch", "numba", "numpy", "gsplat", "safetensors")
MAX_CONFIG_BYTES = 4_000_000  # a run's settings are a few kB; anything larger is another file


class RunConfig(Config):
    """Everything that decides the numbers of a run."""

    format: Literal["hyrf-run-1"] = Field("hyrf-run-1", description="Layout of this folder.")
    study: str = Field(description="Name of the model.")
    variant: str = Field("", description="Variant of the model; empty for its first.")
    preset: str | None = Field(None, description="Preset the settings started from.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Resolved settings.")
    seed: int = Field(0, description="Seed of every random number.")
    threads: int = Field(1, ge=1, description="Threads of the trainer; sums change with it.")
    device: str = Field("cpu", description="Where the model lives.")
    capture: str = Field("", description="Folder of the photographs.")
    max_size: int | None = Field(None, ge=1, description="Longer side of the pictures in pixels.")
    ranks: int = Field(1, ge=1, description="Processes that train together; each has a batch.")
    steps: int | None = Field(None, ge=1, description="Steps; None for what the settings say.")
    versions: dict[str, str] = Field(default_factory=dict, description="Versions that trained it.")


class Run:
    """One run folder, made by `create` or `open`; writing needs `acquire` first."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder, self.config = folder, config
        self._lock = FolderLock(folder)
        self._metrics: IO[str] | None = None

    @staticmethod
    def create(folder: Path | str, config: RunConfig) -> Run:
        """Make a new run in an empty or missing folder and lock it for this process."""
        folder = Path(folder)
        Run.check_free(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from None
        run = Run(folder, config.model_copy(update={"versions": config.versions or versions()}))
        run.acquire()
        try:
            text = json.dumps(run.config.model_dump(mode="json"), indent=2)
            _write(folder / CONFIG_NAME, text + "\n")
        except (OSError, ValueError, TypeError) as error:
            run.release()
            raise RunError(f"{folder / CONFIG_NAME}: could not be written ({error}).") from None
        return run

    @staticmethod
    def check_free(folder: Path | str) -> None:
        """Raise a RunError unless `create` could make a run here: ask before long preparations."""
        folder = Path(folder)
        if Run.is_run(folder):
            raise RunError(f"{folder}: already holds a run. Resume it, or choose another folder.")
        try:
            items = list(folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unusable(folder, error) from None
        strangers = [item.name for item in items if not _is_ours(item.name)]
        if strangers:
            raise RunError(
                f"{folder}: holds {len(strangers)} other files (first: {min(strangers)}). "
                "Choose an empty folder for the run."
            )

    @staticmethod
    def open(folder: Path | str) -> Run:
        """Open a run for reading; nothing is locked until `acquire`."""
        folder = Path(folder)
        path = folder / CONFIG_NAME
        if not path.is_file():
            raise RunError(f"{folder}: is not a run folder (it has no {CONFIG_NAME}).")
        try:
            return Run(folder, validated(RunConfig, _read_config(path)))
        except (OSError, ValueError, ConfigError) as error:
            raise RunError(
                f"{path}: damaged or written by another version ({error}). "
                "Restore it from a copy, or start a new run."
            ) from None

    @staticmethod
    def is_run(path: Path | str) -> bool:
        """Whether a folder was made by `create` (its settings may still prove damaged)."""
        try:
            return str(_read_config(Path(path) / CONFIG_NAME).get("format", "")).startswith(
                "hyrf-run"
            )
        except (OSError, ValueError):
            return False

    @property
    def scene_path(self) -> Path:
        """Where the finished scene belongs."""
        return self.folder / SCENE_NAME

    def checkpoints(
        self, keep: int = 3, report: Callable[[Event], None] = lambda _event: None
    ) -> CheckpointStore:
        """Return the store of this run's checkpoints."""
        return CheckpointStore(self.folder / "checkpoints", keep, report)

    def acquire(self) -> None:
        """Become the one writer of this run, or raise a RunError that names the other process."""
        self._lock.acquire()

    @property
    def is_held(self) -> bool:
        """Whether this object may write."""
        return self._lock.is_held

    def release(self) -> None:
        """Stop writing."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        self._lock.release()

    def append_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Add one line; numbers that are not finite become null, since JSON has no word for them."""
        line = json.dumps(finite({"step": step, **values}), allow_nan=False)
        try:
            if self._metrics is None:
                self._metrics = open(self.folder / METRICS_NAME, "a", encoding="utf-8")  # noqa: SIM115
            self._metrics.write(line + "\n")
            self._metrics.flush()
        except OSError as error:
            raise RunError(
                f"{self.folder / METRICS_NAME}: could not be written ({error.strerror}). "
                "Free some space, then resume the run."
            ) from None

    def metrics(self) -> list[dict[str, Any]]:
        """Return every whole line of metrics.jsonl."""
        path = self.folder / METRICS_NAME
        if not path.is_file():
            return []
        return [entry for entry, _ in _lines(path.read_bytes())]

    def cut_metrics(self, step: int) -> None:
        """Drop the lines after `step`, and a line that a kill left half written."""
        path = self.folder / METRICS_NAME
        if not path.is_file():
            return
        end = 0
        for entry, line_end in _lines(path.read_bytes()):
            if entry["step"] > step:
                break
            end = line_end
        with open(path, "r+b") as file:
            file.truncate(end)


def versions() -> dict[str, str]:
    """Return the versions of what computes, without importing any of it."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # gsplat is optional, our own package may run from a checkout
            continue
    return found


def _unusable(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"{folder}: cannot be used as a run folder ({error.strerror}). Choose another one."
    )


def _is_ours(name: str) -> bool:
    """Whether a file may be left over from a creation that was interrupted."""
    return name in (LOCK_NAME, CONFIG_NAME + ".tmp")


def _read_config(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ValueError(f"{path.stat().st_size} bytes are too many for settings")
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    return values


def _write(path: Path, text: str) -> None:
    """Replace a small text file in one step."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _lines(content: bytes) -> list[tuple[dict[str, Any], int]]:
    """Return (entry, byte after its line) up to the first line that is not whole."""
    found, start = [], 0
    while (end := content.find(b"\n", start)) >= 0:
        try:
            entry = json.loads(content[start:end])
            entry["step"] = int(entry["step"])
        except (ValueError, KeyError, TypeError):
            break
        found.append((entry, end + 1))
        start = end + 1
    return found
