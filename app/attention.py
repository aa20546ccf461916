"""The attention panel's state: what is looked at, what was seen, what is drawn of it.

attention.can        the open study attends somewhere
attention.on         somebody looks
attention.<choice>   the fields of `Choices`, and what is tried out: muted, beta, gate, hidden, shuffled, target
attention.layers     names; heads, methods, samples, queries: of the layer that is shown
attention.sample_picture, map_picture, board_picture     [h, w, 3] uint8
attention.words      formula, layer, head, query, range, step; legend: what the map's colours mean
attention.outputs    rows of (output, now, without the changes)
attention.statistics rows of (head, statistics)
attention.history    {layer: (steps, mean entropy)}
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app import actions
from app.actions import Action
from app.attention_choices import MEAN, ORDERS, TRIED, Choices
from app.panels.words import three_digits
from app.store import Store
from app.training import Training
from core.base.events import EventQueue, Notice
from core.engine.commands import LookAt

if TYPE_CHECKING:
    from core.engine.looking import Look, Wish
    from core.nn.attention import AttentionLayer

OWN = {field.name for field in fields(Choices)}
MOST_OUTPUTS = 10
KEPT = 60  # boards to go back to


class Attention:
    """Looks at the open study while it trains; lives on the app loop."""

    def __init__(self, store: Store, training: Training, events: EventQueue) -> None:
        self._store, self._training, self._events = store, training, events
        self.leave()

    def enter(self, *, can: bool) -> None:
        """Begin with a study; nobody looks yet."""
        self.leave()
        self._store.set("attention.can", can)

    def leave(self) -> None:
        """Forget everything."""
        self.choices, self.tried, self.is_on = Choices(), dict(TRIED), False
        self.seen: Look | None = None
        self._asked: tuple[Any, Wish | None] = (None, None)
        self._order: list[tuple[int, int]] = []
        self._hovered: int | None = None
        self._history: dict[str, tuple[list[float], list[float]]] = {}
        self._boards: list[tuple[int, np.ndarray]] = []
        self._store.update(
            attention__can=False, attention__on=False, attention__layers=(), attention__past=0
        )
        self._show_choices()

    def do(self, action: Action) -> bool:
        """Carry an action out; return whether it was one of the panel's."""
        match action:
            case actions.WatchAttention(value):
                self.is_on = bool(value)
                self._store.set("attention.on", self.is_on)
                if not self.is_on:
                    self._training.post(LookAt(None))
                    self._asked = (None, None)
            case actions.ChooseAttention(key, value):
                self._choose(key, value)
            case actions.PointAt("sample", x, y, "area", to_x, to_y):
                self._select((x, y), (to_x, to_y))
            case actions.PointAt(picture, x, y, how):
                self._point(picture, (x, y), how)
            case actions.SaveAttention(value):
                self._save(str(value))
            case _:
                return False
        return True

    def tick(self) -> None:
        """Ask for what is wished; take in what was seen."""
        trainer = self._training.trainer
        if not self.is_on or trainer is None:
            return
        wish = self._wish()
        if self._asked != (trainer, wish):
            self._asked = (trainer, wish)
            self._training.post(LookAt(wish))
        seen = trainer.looker.looks.take()
        if seen is not None:
            self._take(seen)

    # ---- choices -----------------------------------------------------------------------

    def _choose(self, key: str, value: Any) -> None:
        if key == "past":
            self._store.set("attention.past", int(value))
        elif key in TRIED:
            kept = TRIED[key]
            self.tried[key] = bool(value) if isinstance(kept, bool) else value
        elif key in OWN:
            if key == "layer":
                self.choices = replace(self.choices, head=MEAN)
            if key == "second" and value is not None and int(value) < 0:
                value = None
            self.choices = replace(self.choices, **{key: value}, **self._with(key))
        else:
            raise KeyError(key)
        self._draw()

    def _with(self, key: str) -> dict[str, Any]:
        """Return what a choice puts back beside itself."""
        return {"region": ()} if key in ("query", "sample") else {}

    def _select(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Look at the mean of the queries in a rectangle."""
        if self.seen is None or not self.seen.layers:
            return
        layer = self._layer(self.seen)
        (top, left), (bottom, right) = _cell(layer, start), _cell(layer, end)
        columns = layer.query_shape[1]
        region = tuple(
            layer.prefix + row * columns + column
            for row in range(min(top, bottom), max(top, bottom) + 1)
            for column in range(min(left, right), max(left, right) + 1)
        )
        method = "row" if self.choices.method == "column" else self.choices.method
        query = layer.prefix + top * columns + left
        chosen = replace(self.choices, query=query, region=region, second=None, method=method)
        if chosen != self.choices:
            self.choices, self._hovered = chosen, None
            self._draw()

    def _point(self, picture: str, place: tuple[float, float], how: str) -> None:
        if self.seen is None or not self.seen.layers:
            return
        layer = self._layer(self.seen)
        if picture == "board":
            from app import attention_pictures

            board = self._store.get("attention.board_picture")
            across = attention_pictures.board_across(len(self._order), layer.num_heads)
            index = attention_pictures.board_index(board.shape[:2], *place, across)
            if how == "click" and index < len(self._order):
                at, head = self._order[index]
                self.choices = replace(self.choices, layer=at, head=head)
                self._draw()
            return
        row, column = _cell(layer, place)
        index = layer.prefix + row * layer.query_shape[1] + column
        if how == "hover":
            if index != self._hovered:
                self._hovered = index
                self._draw(preview=index)
            return
        changed: dict[str, Any] = {"query": index, "region": (), "second": None}
        if how == "second":
            changed = {"second": index}
        elif how == "region":
            changed = {"region": tuple(sorted({*self.choices.region, self.choices.query, index}))}
        elif how == "column":
            changed["method"] = "column"
        elif self.choices.method == "column":
            changed["method"] = "row"
        self._hovered = None
        self.choices = replace(self.choices, **changed)
        self._draw()

    def _layer(self, seen: Look) -> AttentionLayer:
        return seen.layers[min(self.choices.layer, len(seen.layers) - 1)]

    def _wish(self) -> Wish:
        from core.engine.looking import Wish
        from core.nn.attention import Changes

        choices, tried = self.choices, self.tried
        layer = None if self.seen is None or not self.seen.layers else self._layer(self.seen)
        is_gated = layer is not None and layer.gate is not None
        is_scaled = layer is not None and layer.kind not in ("linear", "gradcam")
        muted = tuple(range(layer.num_heads)) if layer is not None and choices.head < 0 else ()
        changes = Changes(
            layer="" if layer is None else layer.name,
            muted=() if not tried["muted"] else (muted or (choices.head,)),
            gate=float(tried["gate"]) if is_gated and tried["gate"] is not None else None,
            beta=float(tried["beta"]) if is_scaled and tried["beta"] else None,  # 0: the model's
            hidden=(choices.query,) if tried["hidden"] else (),
        )
        return Wish(
            sample=int(choices.sample),
            changes=Changes() if changes.is_empty else changes,
            target=int(tried["target"]) if choices.method == "relevance" else None,
            is_shuffled=bool(tried["shuffled"]),
        )

    # ---- what was seen -----------------------------------------------------------------

    def _take(self, seen: Look) -> None:
        from app import attention_maps
        from core.nn import attention_measures as measured

        if seen.layers and (self.seen is None or not self.seen.layers):
            # Grad-CAM says most in the last layer: maps of the first ones hardly depend on the output.
            last = len(seen.layers) - 1 if seen.layers[-1].kind == "gradcam" else 0
            query = attention_maps.middle(seen.layers[last])
            self.choices = replace(self.choices, query=query, layer=last)
        self.seen = seen
        if not seen.wish.is_shuffled and seen.wish.changes.is_empty:
            for layer in (
                seen.layers if seen.layers[:1] and seen.layers[0].kind != "gradcam" else ()
            ):
                steps, values = self._history.setdefault(layer.name, ([], []))
                if not steps or steps[-1] != seen.step:
                    steps.append(float(seen.step))
                    values.append(float(measured.of_heads(layer)["entropy"].nanmean()))
            shown = {name: (tuple(s), tuple(v)) for name, (s, v) in self._history.items()}
            self._store.set("attention.history", shown)
        self._draw(is_new=True)

    def _draw(self, *, preview: int | None = None, is_new: bool = False) -> None:
        seen = self.seen
        self._show_choices()
        if seen is None:
            return
        self._store.update(
            attention__layers=tuple(layer.name for layer in seen.layers),
            attention__samples=seen.attended.samples,
            attention__note=seen.attended.note,
            attention__outputs=_outputs(seen),
            attention__names=seen.attended.names or tuple(map(str, range(len(seen.outputs)))),
        )
        if not seen.layers:
            return
        from app import attention_maps, attention_pictures
        from core.nn import attention_measures as measured

        layer = self._layer(seen)
        if self.choices.query >= layer.num_queries:
            self.choices = replace(self.choices, query=layer.num_queries - 1)
            self._show_choices()
        choices = self.choices
        if preview is not None:
            choices = replace(choices, query=preview, region=(), second=None)
        found = attention_maps.mapped(seen, choices)
        hidden = measured.sinks(layer)
        self._store.update(
            attention__heads=tuple(layer.head_name(head) for head in range(layer.num_heads)),
            attention__methods=attention_maps.methods_of(seen, layer),
            attention__kind=layer.kind,
            attention__queries=layer.num_queries,
            attention__has_prefix=bool(layer.prefix_keys or hidden),
            attention__sinks=len(hidden),
            attention__words=found.words,
            attention__legend=attention_maps.legend(found, choices.scale),
            attention__statistics=_statistics(layer),
            attention__sample_picture=attention_pictures.sample_picture(seen, layer, choices),
            attention__map_picture=attention_pictures.map_picture(seen, found, choices),
        )
        if preview is None:
            self._draw_board(seen, layer, is_new=is_new)

    def _draw_board(self, seen: Look, layer: AttentionLayer, *, is_new: bool) -> None:
        from app import attention_maps, attention_pictures

        choices = self.choices
        self._order, maps = attention_maps.board(seen, choices)
        shown = (choices.layer, choices.head)  # of a mean of heads, all of its layer
        chosen = {
            at
            for at, one in enumerate(self._order)
            if one == shown or (choices.head < 0 and one[0] == choices.layer)
        }
        picture = attention_pictures.board_picture(maps, layer.num_heads, choices.scale, chosen)
        if is_new:
            self._boards = [*self._boards, (seen.step, picture)][-KEPT:]
        back = min(int(self._store.get("attention.past", 0)), len(self._boards) - 1)
        self._store.update(attention__past_steps=tuple(step for step, _ in self._boards))
        if back > 0:
            picture = self._boards[-1 - back][1]
        self._store.set("attention.board_picture", picture)

    def _show_choices(self) -> None:
        values = {
            f"attention.{field.name}": getattr(self.choices, field.name)
            for field in fields(Choices)
        }
        values |= {f"attention.{key}": value for key, value in self.tried.items()}
        for key, value in values.items():
            self._store.set(key, value)

    def _save(self, path: str) -> None:
        if self.seen is None or not self.seen.layers:
            self._events.post(
                Notice("There is no attention to save yet.", "warning", key="attention")
            )
            return
        from app import attention_files

        name = str(self._store.get("study.name", ""))
        told = attention_files.write(Path(path), self.seen, self.choices, name)
        self._events.post(Notice(told, "good", key="attention"))


def _cell(layer: AttentionLayer, place: tuple[float, float]) -> tuple[int, int]:
    """Return row and column of the query at a place 0..1 of the sample's picture."""
    rows, columns = layer.query_shape
    return min(int(place[1] * rows), rows - 1), min(int(place[0] * columns), columns - 1)


def _outputs(seen: Look) -> tuple[tuple[str, str, str], ...]:
    """Return rows of (name, now, without the changes), the largest first."""
    names = seen.attended.names or tuple(f"output {at}" for at in range(len(seen.outputs)))
    order = np.argsort(-seen.unchanged)[:MOST_OUTPUTS]
    return tuple(
        (names[at], three_digits(float(seen.outputs[at])), three_digits(float(seen.unchanged[at])))
        for at in order
    )


def _statistics(layer: AttentionLayer) -> tuple[tuple[str, ...], ...]:
    """Return a row for each head."""
    from core.nn import attention_measures as measured

    found = measured.of_heads(layer)
    columns = [found.get(name) for name in ORDERS[1:]]
    return tuple(
        (
            layer.head_name(head),
            *(
                "-"
                if column is None or not np.isfinite(float(column[head]))
                else three_digits(float(column[head]))
                for column in columns
            ),
        )
        for head in range(layer.num_heads)
    )
