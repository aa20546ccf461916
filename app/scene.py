"""The open scene: what was opened, who draws it, what it weighs, and where it is saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app import machine
from app.engine import use_one_core
from app.exporting import (
    Write,
    export_options,
    export_values,
    first_suffix,
    free_path,
    save_as_chosen,
    suffix_of,
    target_of,
)
from app.jobs import EXPORTING, SAVING, SAVING_RUN, Jobs, Task
from app.opening import MOST_THUMBNAILS, Content, thumbnail
from app.panels.words import count, data_size, study_name, three_digits
from app.recent import Recent
from app.store import Store
from app.training import Training
from app.views import Views, place_of
from app.weights import Shares, Weight, shares_of_file, weigh
from core.base.errors import FormatError
from core.base.events import (
    Evaluated,
    Event,
    EventQueue,
    FileWritten,
    Notice,
    StateChanged,
    TrainerState,
)
from core.base.latest import Latest
from core.capture.camera import Camera
from core.render.view import Frame

if TYPE_CHECKING:
    from app.engine import Engine
    from core.capture.capture import Capture
    from core.engine.render_service import RenderService
    from core.radiance.field import Snapshot

WEIGH_EVERY_S = 4.0
BATCH = 12  # thumbnails shown at once
WEIGHING = "Measuring the size of the scene"


class Scene:
    """Holds at most one open scene with its drawing thread; every method runs on the app loop."""

    def __init__(
        self,
        store: Store,
        events: EventQueue,
        jobs: Jobs,
        training: Training,
        views: Views,
        home: Path,
    ) -> None:
        self._store, self._events, self._jobs = store, events, jobs
        self._training, self._views, self._home = training, views, home
        self.recent = Recent(home / "recent.json")
        self.engine: Engine | None = None
        self.service: RenderService | None = None
        self.capture: Capture | None = None
        self._content: Content | None = None
        self.snapshots: Latest[Snapshot] = Latest()
        self._weighed: Snapshot | None = None
        self._weighed_s = self._used_s = 0.0
        self._frame: Frame | None = None

    # ---- entering and leaving ------------------------------------------------------------

    def enter(self, content: Content, *, trains: bool) -> Iterable[Mapping[str, Any]]:
        """Show what was opened and start its training; return the metric lines of an earlier part."""
        assert self.engine is not None
        from core.engine.render_service import RenderService

        self._content, self.capture = content, content.capture
        self.snapshots = content.snapshots or Latest()
        self.service = RenderService(
            self.engine.renderer, self.snapshots, self._events, self._drawing_cores()
        )
        if not self._jobs.is_inline:
            self.service.start()
        self._weighed, self._frame = None, None
        self._publish(content)
        if content.scene is not None:
            self.snapshots.put(content.scene)
        earlier: list[dict[str, Any]] = []
        if content.run is not None and content.capture is not None:
            earlier = content.run.metrics()
            self._training.go_on(content.run, content.capture, self.snapshots)
            self._start_trainer()
        elif content.capture is not None:
            self.train(is_preview=not trains)
        if content.snapshots is None:  # a study in training has no place to come back to
            self.recent.add(content.source, content.name)
            self._store.set("recent", self.recent.rows())
        return earlier

    def train(self, *, is_preview: bool) -> None:
        """Train the open capture from the beginning, or show its seed points."""
        if self.capture is None:
            return
        self._training.begin(self.capture, self.snapshots, is_preview=is_preview)
        self._start_trainer()
        first = self.capture.photos[0].camera
        limit = self._training.max_size
        if max(first.width, first.height) > limit:
            small = self.capture.limited(limit).photos[0].camera
            text = (
                f"Photographs are used at {small.width} x {small.height} pixels "
                f"instead of {first.width} x {first.height}."
            )
            self._events.post(Notice(text, key="picture size"))

    def leave(self) -> Callable[[], None]:
        """Let go of everything at once; the returned function waits for the threads to end."""
        wait, close = self._training.detach(), self.look_away()

        def finish() -> None:
            close()
            wait()

        return finish

    def look_away(self) -> Callable[[], None]:
        """Draw no more while the training goes on; the returned function waits for the drawing thread."""
        service = self.service
        self.service, self.capture, self._content = None, None, None
        self.snapshots, self._frame, self._weighed = Latest(), None, None
        self._views.enter(None)

        def finish() -> None:
            if service is not None:
                service.close()

        return finish

    def _start_trainer(self) -> None:
        trainer = self._training.trainer
        assert trainer is not None
        trainer.has_viewers = len(self._views) > 0
        if not self._jobs.is_inline:
            trainer.start()

    def _publish(self, content: Content) -> None:
        capture, scene = content.capture, content.scene
        if capture is not None:
            cameras = tuple(photo.camera for photo in capture.photos)
            place = place_of(capture.bounds, capture.up, cameras)
        else:
            assert scene is not None
            cameras = _cameras_of(scene)
            place = place_of(scene.bounds, scene.up, cameras)
        files, suffix = self._home / "scenes", first_suffix(self._store, scene)
        self._store.update(
            page="scene",
            title=f"{content.name} - HyRF Studio",
            scene__name=content.name,
            scene__gaussians="" if scene is None else count(scene.num_gaussians),
            scene__model="",
            scene__steps="" if scene is None else f"{scene.step} steps",
            scene__visible="",
            pixel__text="",
            pixel__marks=None,
            scene__size="",
            scene__shares=(),
            scene__has_background=True,
            train__has_capture=capture is not None,
            cameras__count=len(cameras),
            cameras__text=_cameras_text(capture, len(cameras)),
            cameras__has_pictures=False,
            cameras__gallery=(),
            export__scene_path=str(free_path(files / f"{content.name}.hyrf")),
            export__path=str(free_path(files / f"{content.name}{suffix}")),
            export__format=suffix,
            **export_values(self._store),
        )
        self._views.enter(place)
        if capture is not None:
            self._jobs.start("Thumbnails", lambda task: self._thumbnails(capture, task))

    # ---- every tick ----------------------------------------------------------------------

    def tick(self, *, is_inline: bool) -> None:
        """Pass on who looks and moves; weigh the scene now and then; inline, train and draw one unit."""
        trainer, service = self._training.trainer, self.service
        if trainer is not None:
            # without a scene a study from the gallery is looked at
            trainer.has_viewers = len(self._views) > 0 or self._content is None
            trainer.makes_way = bool(self._store.get("train.yields")) and self._views.is_moving
            if is_inline:
                trainer.tick()
        if service is not None:
            service.cores = self._drawing_cores()
            if is_inline:
                service.tick()
        snapshot = self.snapshots.peek()
        is_time = time.monotonic() - self._weighed_s > WEIGH_EVERY_S or self._weighed is None
        if snapshot is not None and snapshot is not self._weighed and is_time:
            self._weighed, self._weighed_s = snapshot, time.monotonic()
            self._store.set("scene.gaussians", count(snapshot.num_gaussians))
            source = self._content.source if self._content is not None else None
            is_file = source is not None and trainer is None and source.is_file()
            file = source if is_file else None
            if not self._jobs.is_running(WEIGHING):
                self._jobs.start(WEIGHING, lambda _task: weigh(snapshot, file), self._weighed_up)

    def _drawing_cores(self) -> int:
        """Return how many threads draw: all where nothing trains."""
        if self.engine is None:
            return 1
        is_shared = self._store.get("train.state") in ("loading", "running")
        return self.engine.render_cores if is_shared else self.engine.cores

    def note(self, event: Event) -> None:
        """Remember what an event says about the scene."""
        if self._content is None:
            return
        if isinstance(event, Evaluated) and "psnr" in event.metrics:
            self.recent.measured(self._content.source, psnr=float(event.metrics["psnr"]))
            self._store.set("recent", self.recent.rows())
        if isinstance(event, StateChanged) and event.state is TrainerState.DONE:
            self._save_run()

    def show_status(self, frame: Frame | None) -> None:
        """Write the status line and what the newest frame says."""
        if frame is not None and frame is not self._frame:
            self._frame = frame
            legend = frame.legend
            self._store.update(
                scene__visible=f"{count(frame.num_visible)} Gaussians",
                layers__legend=(
                    f"{three_digits(legend['low'])} to {three_digits(legend['high'])} {legend['unit']}"
                    if legend
                    else ""
                ),
            )
        device = self.engine.device if self.engine is not None else "cpu"
        cores = machine.cores_text(int(self._store.get("machine.cores", 1)))
        texts = [f"{'CUDA' if device == 'cuda' else 'CPU'}, {cores}"]
        if frame is not None:
            height, width = frame.image.shape[:2]
            asked = frame.view.camera
            size = f"{width}x{height}"
            if (width, height) != (asked.width, asked.height):
                size += f" of {asked.width}x{asked.height}"
            texts.append(f"{frame.render_ms:.0f} ms frame, {size}")
            if 0 <= frame.step < int(self._store.get("train.step", 0)):
                texts.append(f"view of step {frame.step}")
        now = time.monotonic()
        if now - self._used_s > 1.0:
            self._used_s = now
            self._store.set("machine.used", machine.memory_text())
        texts.append(str(self._store.get("machine.used", "")))
        self._store.set("status", tuple(text for text in texts if text))

    # ---- beside the app loop -------------------------------------------------------------

    def save(self, text: str) -> None:
        """Write the scene to a .hyrf file."""
        renderer = self.engine.renderer if self.engine is not None else None
        path = target_of(text or str(self._store.get("export.scene_path", "")), ".hyrf")
        self._write(SAVING, path, save_as_chosen(self._store, renderer))

    def export(self, text: str) -> None:
        """Write the scene in the format the suffix names."""
        from core.formats import export_scene

        renderer = self.engine.renderer if self.engine is not None else None
        path = target_of(text or str(self._store.get("export.path", "")), suffix_of(self._store))

        def write(snapshot: Snapshot, path: Path, task: Task) -> str:
            options = export_options(self._store, task.progress)
            return export_scene(snapshot, path, renderer=renderer, options=options)

        self._write(EXPORTING, path, write)

    def choose_format(self, suffix: str) -> None:
        """Give the file to export to another suffix."""
        path = Path(str(self._store.get("export.path", "")))
        stem = path.name.removesuffix(suffix_of(self._store))
        self._store.update(
            export__path=str(free_path(path.with_name(stem + suffix))),
            export__format=suffix,
        )

    def _write(self, name: str, path: Path, write: Write) -> None:
        if self._jobs.is_running(name):
            raise FormatError(f"{name} is under way already. Wait for it to end.")
        take = self._snapshot_soon()

        def work(task: Task) -> Shares:
            use_one_core()
            task.progress(None, path.name)
            snapshot = take()
            if snapshot is None:
                raise FormatError("There is no scene to write yet. Wait for its first picture.")
            path.parent.mkdir(parents=True, exist_ok=True)
            summary = write(snapshot, path, task)
            task.report(FileWritten(path, f"{path.name}: {summary}"))
            return shares_of_file(path) if path.suffix == ".hyrf" else ()

        self._jobs.start(name, work, self._written)

    def _written(self, shares: Shares) -> None:
        if self._content is not None and shares:
            total = sum(amount for _, amount, _ in shares)
            self.recent.measured(self._content.source, num_bytes=round(total))
            self._store.set("recent", self.recent.rows())
            self._store.update(scene__shares=shares, scene__size=data_size(total))

    def _snapshot_soon(self) -> Callable[[], Snapshot | None]:
        """Ask for the scene as it is now; the returned function waits for it."""
        trainer, snapshots = self._training.trainer, self.snapshots
        if trainer is None or not self._training.can_answer:
            return snapshots.peek
        from core.engine.commands import WantSnapshot

        reply: Latest[Any] = Latest()
        trainer.post(WantSnapshot(reply))
        if self._jobs.is_inline:
            trainer.tick()
        return lambda: reply.take(timeout_s=20.0) or snapshots.peek()

    def _save_run(self) -> None:
        """Put the finished scene into its run folder, so that the run opens without its photographs."""
        from core.formats import is_saved, save_scene

        run, snapshots = self._training.run, self.snapshots
        if run is None or not is_saved(snapshots.peek()):  # a field is kept in its checkpoint
            return
        path = run.scene_path

        def work(task: Task) -> Shares:
            use_one_core()
            snapshot = snapshots.peek()
            if snapshot is None:
                raise FormatError("There is no scene to write yet.")
            task.progress(None, "into its run folder")
            save_scene(snapshot, path)
            return shares_of_file(path) if path.suffix == ".hyrf" else ()

        self._jobs.start(SAVING_RUN, work, self._written)

    def _thumbnails(self, capture: Capture, task: Task) -> None:
        """Make small pictures in batches, so that the first ones show early."""
        pictures: list[tuple[str, np.ndarray]] = []
        photos = capture.photos[:MOST_THUMBNAILS]
        for index, photo in enumerate(photos, 1):
            if task.cancelled() or self.capture is not capture:
                return
            pictures.append(thumbnail(photo))
            if index % BATCH == 0 or index == len(photos):
                self._jobs.deliver(partial(self._show, capture, tuple(pictures)))

    def _show(self, capture: Capture, pictures: tuple[tuple[str, np.ndarray], ...]) -> None:
        if self.capture is capture:
            self._store.update(cameras__gallery=pictures, cameras__has_pictures=True)

    def _weighed_up(self, weight: Weight) -> None:
        if self._content is None:
            return
        shares = weight.shares
        size = data_size(sum(amount for _, amount, _ in shares))
        study = self._training.running_study
        is_neural = any(role == "neural" for _, _, role in shares)
        model = study_name(study or "hyrf") if study or is_neural else "Gaussians only"
        self._store.update(
            scene__shares=shares,
            scene__size=size if weight.is_exact else f"about {size}",
            scene__has_background=weight.has_background,
            scene__model=model,
        )


def _cameras_of(scene: Snapshot) -> tuple[Camera, ...]:
    """Return the cameras a scene file remembers of its capture."""
    summary = scene.parts().summary
    return tuple(Camera.from_json(values) for values in summary.get("cameras", ()))


def _cameras_text(capture: Capture | None, num_cameras: int) -> str:
    if capture is None:
        return f"{num_cameras} remembered views"
    return f"{len(capture.train)} to learn from, {len(capture.test)} held out"
