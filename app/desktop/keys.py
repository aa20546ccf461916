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
}
CTRL = (dpg.mvKey_LControl, dpg.mvKey_RControl)
SHIFT = (dpg.mvKey_LShift, dpg.mvKey_RShift)
ALT = (dpg.mvKey_LAlt, dpg.mvKey_RAlt)
BUTTONS = (dpg.mvMouseButton_Left, dpg.mvMouseButton_Right, dpg.mvMouseButton_Middle)


class Keys:
    """Polled once per drawn frame; while a control takes the keys, none is down for others."""

    def __init__(self) -> None:
        self._down: frozenset[str] = frozenset()
        self._fresh: frozenset[str] = frozenset()
        self._pressed: frozenset[str] = frozenset()
        self._buttons = (False, False, False)
        self._clicked = (False, False, False)
        self.is_ctrl = self.is_shift = self.is_alt = False

    def poll(self, *, is_typing: bool) -> None:
        """Look at the keyboard and the mouse."""
        down = frozenset(name for name, code in NAMED.items() if dpg.is_key_down(code))
        self._fresh = fresh = down - self._down
        self._down = down
        self._pressed = frozenset() if is_typing else fresh
        self._is_typing = is_typing
        buttons = tuple(dpg.is_mouse_button_down(button) for button in BUTTONS)
        self._clicked = tuple(
            now and not before for now, before in zip(buttons, self._buttons, strict=True)
        )
        self._buttons = buttons
        self.is_ctrl, self.is_shift, self.is_alt = (
            any(dpg.is_key_down(code) for code in codes) for codes in (CTRL, SHIFT, ALT)
        )

    _is_typing = False

    def is_down(self, name: str) -> bool:
        """Whether a key is held."""
        return name in self._down and not self._is_typing

    @property
    def went_down(self) -> frozenset[str]:
        """The keys that went down at the last look, whoever they belong to."""
        return self._fresh

    def pressed(self) -> frozenset[str]:
        """Return the keys that went down at the last look."""
        return self._pressed

    def is_button_down(self, button: int) -> bool:
        """Whether a mouse button is held: 0 left, 1 right, 2 middle."""
        return self._buttons[button]

    def is_button_pressed(self, button: int) -> bool:
        """Whether a mouse button went down at the last look."""
        return self._clicked[button]
