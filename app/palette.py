"""Colours by role, dark and light, the same in both front ends.

Amber stands for explicit Gaussians and violet for the neural part, everywhere and for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

RGB = tuple[int, int, int]

GROUNDS = ("window", "panel", "raised")
INKS = ("text", "secondary", "action", "gaussians", "neural", "good", "warning", "error")
"""Roles that text is written in; each is readable on every ground (contrast 4.5 or more)."""

_HEX = {
    # role: (dark, light)
    "window": ("#111315", "#F4F5F7"),
    "panel": ("#1A1D21", "#FFFFFF"),
    "raised": ("#23272D", "#ECEEF1"),
    "line": ("#30353C", "#D5D9DE"),
    "text": ("#E6E8EB", "#1B1F24"),
    "secondary": ("#A3AAB3", "#57606A"),
    "disabled": ("#6A717A", "#98A1AB"),
    "action": ("#4CC2FF", "#0860C4"),
    "on_action": ("#111315", "#FFFFFF"),
    "gaussians": ("#FFB454", "#965A00"),
    "neural": ("#C77DFF", "#7A3FB5"),
    "good": ("#5BD68A", "#18743A"),
    "warning": ("#F2E85C", "#6E6200"),
    "error": ("#FF6B6B", "#CF222E"),
}


def _rgb(code: str) -> RGB:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


DARK: Mapping[str, RGB] = {role: _rgb(pair[0]) for role, pair in _HEX.items()}
LIGHT: Mapping[str, RGB] = {role: _rgb(pair[1]) for role, pair in _HEX.items()}
THEMES: Mapping[str, Mapping[str, RGB]] = {"dark": DARK, "light": LIGHT}


def contrast(one: RGB, other: RGB) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one: RGB, other: RGB, share: float) -> RGB:
    """Return `one` with a share 0..1 of `other`, for hovered and pressed states."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(color: RGB) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
