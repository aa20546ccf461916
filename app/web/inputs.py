"""Widgets that people change: sliders, numbers, switches, choices, buttons and paths."""

from __future__ import annotations

import math
from typing import Any

import viser

from app.palette import DARK
from app.web import html
from app.web.controls import Control

FINEST_DIGITS = 10  # behind the point of a typed number: learning rates are small


class Input(Control):
    """A viser input with one value; assignments from here cause no callback of a browser."""

    def listen(self) -> None:
        """Post what a browser changes; assignments of our own carry no browser and are not echoed."""
        (handle,) = self.handles

        async def changed(event: Any) -> None:  # on viser's loop: keeps the order of a drag
            if event.client_id is not None:
                self.ask(self._read(handle.value), event.client_id)

        handle.on_update(changed)

    def _read(self, shown: Any) -> Any:
        """Turn the handle's value into the action's."""
        return shown

    def _write(self, value: Any) -> Any:
        """Turn the store's value into the handle's."""
        return value

    def _show(self, value: Any) -> None:
        (handle,) = self.handles
        if value is None:
            return
        shown = self._write(value)
        if isinstance(shown, float) and abs(shown - handle.value) <= 1e-9 * max(1.0, abs(shown)):
            return
        handle.value = shown


class Slider(Input):
    """A bar with a number."""

    def _build(self) -> None:
        widget = self.widget
        start = widget.low if widget.default is None else widget.default
        step = 1 if widget.is_integer else 10.0**-widget.digits
        self.keep(
            self.gui.add_slider(
                min=self._number(widget.low),
                max=self._number(widget.high),
                step=step,
                initial_value=self._write(start),
                **self.common,
            )
        )
        self.listen()

    def _write(self, value: Any) -> Any:
        return self._number(min(max(value, self.widget.low), self.widget.high))

    def _number(self, value: Any) -> Any:
        return round(value) if self.widget.is_integer else float(value)


class Number(Input):
    """A typed number."""

    def _build(self) -> None:
        widget = self.widget
        bounds = {
            name: self._write(bound)
            for name, bound in (("min", widget.low), ("max", widget.high))
            if bound is not None
        }
        start = min(max(0, bounds.get("min", 0)), bounds.get("max", math.inf))
        if widget.is_integer:
            bounds["step"] = 1
        number = self.gui.add_number(initial_value=self._write(start), **bounds, **self.common)
        self.keep(number)
        if not widget.is_integer:
            number.precision = FINEST_DIGITS  # viser allows as many as the first value has
        self.listen()

    def _show(self, value: Any) -> None:
        if value and not self.widget.is_integer:
            self.handles[0].step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
        super()._show(value)

    def _write(self, value: Any) -> Any:
        return round(value) if self.widget.is_integer else float(value)


class Toggle(Input):
    """On or off."""

    def _build(self) -> None:
        self.keep(self.gui.add_checkbox(initial_value=False, **self.common))
        self.listen()

    def _write(self, value: Any) -> Any:
        return bool(value)


class Dropdown(Input):
    """One of several, by name."""

    def _build(self) -> None:
        self.names = tuple(str(n) for n in self.widget.names or self.widget.options) or ("None",)
        self.keep(self.gui.add_dropdown(options=self.names, **self.common))
        self.listen()

    def _read(self, shown: Any) -> Any:
        return self.widget.options[self.names.index(shown)] if self.widget.options else None

    def _show(self, value: Any) -> None:
        if value in self.widget.options:
            self.handles[0].value = self.names[self.widget.options.index(value)]


class Radio(Control):
    """One of several, all in sight: the chosen one is filled with its colour."""

    def _build(self) -> None:
        widget = self.widget
        if widget.label:
            self.keep(self.gui.add_html(html.sentence(widget.label, "secondary"), order=self.order))
        self.buttons = []
        for index, (option, name) in enumerate(zip(widget.options, widget.names, strict=True)):
            button = self.gui.add_button(
                str(name),
                hint=self.hint,
                disabled=not widget.is_enabled,
                color=DARK["raised"],
                icon=viser.Icon.CIRCLE,
                order=self.order + (index + 1) / 100,
            )
            button.on_click(self._asking(option))
            self.buttons.append(self.keep(button))

    def _show(self, value: Any) -> None:
        for index, (option, button) in enumerate(
            zip(self.widget.options, self.buttons, strict=True)
        ):
            tint = self.widget.tints[index] if index < len(self.widget.tints) else "action"
            is_chosen = option == value
            button.color = DARK[tint] if is_chosen else DARK["raised"]
            icon = viser.Icon.CIRCLE_DOT if is_chosen else viser.Icon.CIRCLE
            if button.icon != icon:
                button.icon = icon

    def _asking(self, option: Any) -> Any:
        async def clicked(event: Any) -> None:
            self.ask(option, event.client_id)

        return clicked


class Button(Control):
    """A verb."""

    def _build(self) -> None:
        color = DARK["action"] if self.widget.is_primary else DARK["line"]
        button = self.keep(self.gui.add_button(color=color, **self.common))

        async def clicked(event: Any) -> None:
            self.ask(None, event.client_id)

        button.on_click(clicked)

    def ask(self, value: Any, client_id: int | None) -> None:
        """Post the action as it is described: a button adds no value."""
        if self.widget.action is not None:
            self.post(self.widget.action, client_id)


class Path(Control):
    """A typed path: a browser cannot choose files of the machine that runs the engine."""

    def _build(self) -> None:
        widget = self.widget
        what = "Folder" if widget.mode == "open_folder" else "File"
        endings = f" ({', '.join(widget.suffixes)})" if widget.suffixes else ""
        title = widget.label or widget.button
        caption = f"{title}: a path on the machine that runs HyRF Studio{endings}"
        order = self.order
        self.keep(self.gui.add_html(html.sentence(caption, "secondary"), order=order))
        options = {"hint": self.hint, "disabled": not widget.is_enabled}
        self.text = self.keep(self.gui.add_text(what, "", order=order + 0.01, **options))
        color = DARK["line"]
        button = self.keep(
            self.gui.add_button(widget.button, order=order + 0.02, color=color, **options)
        )

        async def clicked(event: Any) -> None:
            if self.text.value.strip():
                self.ask(self.text.value.strip(), event.client_id)

        button.on_click(clicked)

    def _show(self, value: Any) -> None:
        if value is not None:
            self.text.value = str(value)
