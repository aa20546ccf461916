"""The open study of the gallery: its training, its pictures, and what is known of its claims.

gallery.families     tuple of (family, tuple of (name, title, paper, claims in words))
gallery.<name>       thumbnail [h, w, 3] uint8
study.*              name, title, paper, variant, variants, claims of the open one; has_scene: it can be
                     looked at in the viewport
probes.rows, probe.* what app/probes.py makes of the newest probes
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from app import thumbnails
from app.actions import Action, LookAround
from app.attention import Attention
from app.jobs import Jobs, Task
from app.opening import Content
from app.probes import publish
from app.store import Store
from app.study_report import results, standing
from app.training import Training
from core.base import discover
from core.base.errors import ConfigError
from core.base.events import EventQueue
from core.base.latest import Latest
from core.study import Study

if TYPE_CHECKING:
    from app.scene import Scene
    from core.engine.runs import Run
    from core.radiance.field import Snapshot

READING = "Reading the studies"
LOOKING_AWAY = "Leaving the view"
THUMBNAIL_EVERY_S = 5.0


class Studying:
    """Opens one study at a time; everything runs on the app loop but the reading of the gallery."""

    def __init__(
        self, store: Store, training: Training, jobs: Jobs, events: EventQueue, scene: Scene
    ) -> None:
        self._store, self._training, self._jobs, self._scene = store, training, jobs, scene
        self.attention = Attention(store, training, events)
        self.name = ""
        self.snapshots: Latest[Snapshot] = Latest()
        self._scene_model, self._title = "", ""
        self._is_around = False  # the viewport shows the study's scene
        self._pictured_s = 0.0
        store.update(gallery__families=(), study__name="", probes__rows=())

    def show_gallery(self) -> None:
        """Read what there is beside the app loop: titles, verdicts, thumbnails."""
        self._jobs.start(READING, _read_gallery, self._show_gallery)

    def _show_gallery(self, found: thumbnails.GalleryRows) -> None:
        families, pictures = found
        self._store.set("gallery.families", families)
        for name, picture in pictures.items():
            self._store.set(f"gallery.{name}", picture)

    def enter(self, name: str, *, trains: bool = True) -> None:
        """Show a study and train it."""
        self._show(name, "")
        self._training.choose_study(name)
        self._begin()
        if not trains:
            self._training.pause()

    def resume(self, run: Run) -> None:
        """Show the study of a run and go on with it where its last checkpoint stands."""
        self._show(run.config.study, run.config.variant)
        self.snapshots = Latest()
        self._training.go_on(run, None, self.snapshots)
        self._start()

    def _show(self, name: str, variant: str) -> None:
        facts = discover.facts(discover.entry_of(name))
        self.attention.enter(can=discover.load(name).attend is not Study.attend)
        self.name, self._scene_model = name, self._training.study
        self._training.variant = variant
        verdicts = standing(results(), name)
        claims = tuple((claim, verdicts.get(claim, "not run yet")) for claim in facts.claims)
        self._title = f"{facts.title.partition(':')[0]} - HyRF Studio"
        self._is_around = False
        self._store.update(
            page="study",
            title=self._title,
            study__has_scene=False,
            train__has_capture=False,
            study__name=name,
            study__title=facts.title,
            study__paper=facts.paper,
            study__variants=facts.variants,
            study__variant=variant or facts.variants[0],
            study__claims=claims,
            probes__rows=(),
        )

    def do(self, action: Action) -> bool:
        """Carry an action of the open study's panels out; return whether it was one."""
        if isinstance(action, LookAround):
            self.look(is_around=action.value)
            return True
        return self.attention.do(action)

    def choose_variant(self, variant: str) -> None:
        """Choose what the next training of the open study is of."""
        if variant not in self._store.get("study.variants", ()):
            raise ConfigError(f"{self.name} has no variant '{variant}'.")
        self._training.variant = variant
        self._store.update(study__variant=variant, probes__rows=())

    def train(self) -> None:
        """Train the open study from the beginning; what it was before is looked at no more."""
        self.look(is_around=False)
        self._begin()

    def _begin(self) -> None:
        self.snapshots = Latest()
        self._training.begin(None, self.snapshots, is_preview=False)
        self._start()

    def look(self, *, is_around: bool) -> None:
        """Show the study's scene in the viewport while it trains, or its pictures again."""
        if is_around == self._is_around:
            return
        if not is_around:
            self._is_around = False
            close = self._scene.look_away()
            self._jobs.start(LOOKING_AWAY, lambda _task: close())
            self._store.update(page="study", title=self._title)
            return
        shown = self.snapshots.peek()
        if shown is None:
            raise ConfigError(f"{self.name} has no scene to look at yet. Wait for its first step.")
        self._is_around = True
        content = Content(self.name, Path(), scene=shown, snapshots=self.snapshots)
        self._scene.enter(content, trains=False)

    def _start(self) -> None:
        trainer = self._training.trainer
        assert trainer is not None
        if not self._jobs.is_inline:
            trainer.start()

    def tick(self) -> None:
        """Show the newest probes, and what is attended to."""
        self.attention.tick()
        trainer = self._training.trainer
        if not self.name or trainer is None or trainer.probes is None:
            return
        # nobody draws them here, and the next ones are made when the last were taken
        if not self._is_around and self.snapshots.take() is not None:
            self._store.set("study.has_scene", True)
        probed = trainer.probes.take()
        if probed is None:
            return
        picture = publish(self._store, probed.step, probed.probes)
        now = time.monotonic()
        if picture is not None and now - self._pictured_s > THUMBNAIL_EVERY_S:
            self._pictured_s = now
            thumbnails.keep_thumbnail(self.name, picture)
            self._store.set(f"gallery.{self.name}", thumbnails.cut(picture))

    def leave(self) -> None:
        """Forget the open study; scenes get their model back."""
        if not self.name:
            return
        self.name, self._training.variant, self._is_around = "", "", False
        self.attention.leave()
        self._training.choose_study(self._scene_model)
        self._store.update(study__name="", study__has_scene=False, probes__rows=())


def _read_gallery(_task: Task) -> thumbnails.GalleryRows:
    """Return the rows of the gallery by family, and a thumbnail of each study."""
    found = results()
    families: dict[str, list[tuple[str, str, str, str]]] = {}
    pictures = {}
    for entry in discover.studies().values():
        if entry.family == "radiance":  # these open with a capture
            continue
        facts = discover.facts(entry)
        verdicts = list(standing(found, entry.name).values())
        won = verdicts.count("reproduced")
        text = (
            f"{won} of {len(facts.claims)} claims reproduced" if verdicts else "claims not run yet"
        )
        row = (entry.name, facts.title, facts.paper, text)
        families.setdefault(entry.family, []).append(row)
        pictures[entry.name] = thumbnails.thumbnail(entry.name)
    return tuple((family, tuple(rows)) for family, rows in families.items()), pictures
