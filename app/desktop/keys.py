"""Which keys and mouse buttons are down, and which went down since the last look."""

from __future__ import annotations

import dearpygui.dearpygui as dpg

NAMED = {
    **{letter: getattr(dpg, f"mvKey_{letter}") for letter in "ACDEFHOQRSVW"},
    **{digit: getattr(dpg, f"mvKey_{digit}") for digit in "123"},
    "Space": dpg.mvKey_Spacebar,
    "Tab": dpg.mvKey_Tab,
    "Esc": dpg.mvKey_Escape,
    "F1": dpg.mvKey_F1,
    "F11": dpg.mvKey_F11,
    "[": dpg.mvKey_Open_Brace,
    "]": dpg.mvKey_Close_Brace,
    "Up": dpg.mvKey_Up,
    "Down": dpg.mvKey_Down,
    "Left": dpg.mvKey_Left,
    "Right": dpg.mvKey_Right,
}
ARROWS = frozenset({"Up", "Down", "Left", "Right"})
CTRL = (dpg.mvKey_LControl, dpg.mvKey_RControl)
SHIFT = (dpg.mvKey_LShift, dpg.mvKey_RShift)
ALT = (dpg.mvKey_LAlt, dpg.mvKey_RAlt)
BUTTONS = (dpg.mvMouseButton_Left, dpg.mvMouseButton_Right, dpg.mvMouseButton_Middle)


class Keys:
    """Polled once per drawn frame; while a control takes the keys, none is down for others."""

    def __init__(self) -> None:
        self._down: frozenset[str] = frozenset()
        self._fresh: frozenset[str] = frozenset()
        self._is_taken = False
        self._buttons = (False, False, False)
        self._clicked = (False, False, False)
        self.is_ctrl = self.is_shift = self.is_alt = False

    def poll(self) -> None:
        """Look at the keyboard and the mouse; every key is free until `yield_to_controls`."""
        down = frozenset(name for name, code in NAMED.items() if dpg.is_key_down(code))
        self._fresh, self._down, self._is_taken = down - self._down, down, False
        buttons = tuple(dpg.is_mouse_button_down(button) for button in BUTTONS)
        self._clicked = tuple(
            now and not before for now, before in zip(buttons, self._buttons, strict=True)
        )
        self._buttons = buttons
        self.is_ctrl, self.is_shift, self.is_alt = (
            any(dpg.is_key_down(code) for code in codes) for codes in (CTRL, SHIFT, ALT)
        )

    def yield_to_controls(self) -> None:
        """Leave the keys of this look to the control that has them."""
        self._is_taken = True

    def is_down(self, name: str) -> bool:
        """Whether a key is held."""
        return name in self._down and not self._is_taken

    @property
    def went_down(self) -> frozenset[str]:
        """The keys that went down at the last look, whoever they belong to."""
        return self._fresh

    def pressed(self) -> frozenset[str]:
        """Return the keys that went down at the last look and belong to no control."""
        return frozenset() if self._is_taken else self._fresh

    @property
    def is_any_button_pressed(self) -> bool:
        """Whether any mouse button went down at the last look."""
        return any(self._clicked)

    def is_button_down(self, button: int) -> bool:
        """Whether a mouse button is held: 0 left, 1 right, 2 middle."""
        return self._buttons[button]

    def is_button_pressed(self, button: int) -> bool:
        """Whether a mouse button went down at the last look."""
        return self._clicked[button]
