"""Fonts, colours and spacing of the desktop window, from the shared palette.

Dear PyGui counts a font's size from its highest to its lowest stroke, which for Roboto is 1.17
times the typographer's size; `FONT_SIZES` are in Dear PyGui's pixels at a font scale of 1.
Everything else follows the font scale through `Theme.px`.
"""

from __future__ import annotations

from pathlib import Path

import dearpygui.dearpygui as dpg
import font_roboto

from app.palette import RGB, THEMES, mixed

FONT_SIZES = {"text": 17, "strong": 17, "title": 20, "caption": 15, "display": 40}
FONT_FACES = {
    "text": "Roboto-Regular.ttf",
    "strong": "Roboto-Medium.ttf",
    "title": "Roboto-Medium.ttf",
    "caption": "Roboto-Regular.ttf",
    "display": "Roboto-Light.ttf",
}
SCROLLBAR = 6
# Roboto has no arrows or symbols; these stand in for the ones that sentences use.
PLAINER = str.maketrans({"→": "›", "←": "‹", "−": "–", "✓": "•", "●": "•", "\t": " "})

Styles = dict[int, tuple[float, ...]]
Colors = dict[int, RGB]


class Theme:
    """Fonts and item themes; each theme is made once, on first use."""

    def __init__(self, name: str = "dark", scale: float = 1.0) -> None:
        self.palette = THEMES[name]
        self.scale = min(max(scale, 0.75), 2.5)
        self._made: dict[object, int | str] = {}
        folder = Path(font_roboto.__file__).parent / "files"
        with dpg.font_registry():
            self.fonts = {
                role: dpg.add_font(str(folder / FONT_FACES[role]), self.px(size))
                for role, size in FONT_SIZES.items()
            }
        dpg.bind_font(self.fonts["text"])
        dpg.bind_theme(self._whole_window())

    def px(self, length: float) -> int:
        """Scale a length in pixels with the font."""
        return round(length * self.scale)

    def color(self, role: str) -> RGB:
        """Return the colour of a role; a name that is not a role is written as text."""
        return self.palette.get(role, self.palette["text"])

    def text_width(self, text: str, role: str = "text") -> float:
        """Return how many pixels wide a text is in one of the fonts."""
        size = dpg.get_text_size(text.translate(PLAINER), font=self.fonts[role])
        return float(size[0]) if size else len(text) * FONT_SIZES[role] * self.scale * 0.5

    def shortened(self, text: str, width: float, role: str = "text") -> str:
        """Return the text, its middle replaced by dots where it is wider than `width` pixels."""
        if self.text_width(text, role) <= width:
            return text
        kept = len(text)
        while kept > 2:
            kept -= 1
            head = (kept + 1) // 2
            shorter = text[:head].rstrip() + "…" + text[len(text) - (kept - head) :].lstrip()
            if self.text_width(shorter, role) <= width:
                return shorter
        return "…"

    def tint(self, role: str) -> int | str:
        """Return a theme that writes text in a role's colour."""
        return self._item(("tint", role), dpg.mvAll, {dpg.mvThemeCol_Text: self.color(role)})

    def clear(self) -> int | str:
        """Return a theme for a child window that is filled by what it holds: no ground is painted twice."""
        return self._item(
            "clear",
            dpg.mvChildWindow,
            {dpg.mvThemeCol_ChildBg: (0, 0, 0, 0)},
            {dpg.mvStyleVar_WindowPadding: (0, 0), dpg.mvStyleVar_ChildRounding: (0,)},
        )

    def ground(
        self, role: str, padding: tuple[int, int] = (16, 12), *, is_card: bool = False
    ) -> int | str:
        """Return a theme for a child window with a role's colour as its ground."""
        across, down = (self.px(length) for length in padding)
        return self._item(
            ("ground", role, padding, is_card),
            dpg.mvChildWindow,
            {dpg.mvThemeCol_ChildBg: self.color(role)},
            {
                dpg.mvStyleVar_WindowPadding: (across, down),
                dpg.mvStyleVar_ChildRounding: (self.px(8) if is_card else 0,),
            },
        )

    def button(self, kind: str) -> int | str:
        """Return the theme of a button: primary, plain, quiet, menu, or on:ROLE for a chosen segment."""
        p = self.palette
        if kind == "primary":
            fill, ink = p["action"], p["on_action"]
        elif kind.startswith("on:"):
            role = kind[3:]
            accent = p["action"] if role == "text" else self.color(role)
            fill, ink = mixed(p["raised"], accent, 0.24), accent
        elif kind in ("quiet", "menu"):
            fill, ink = p["panel"], p["secondary"] if kind == "quiet" else p["text"]
        else:
            fill, ink = p["raised"], p["text"]
        colors = {
            dpg.mvThemeCol_Button: fill,
            dpg.mvThemeCol_ButtonHovered: mixed(fill, p["text"], 0.12),
            dpg.mvThemeCol_ButtonActive: mixed(fill, p["window"], 0.2),
            dpg.mvThemeCol_Text: ink,
        }
        return self._item(("button", kind), dpg.mvButton, colors)

    def lines(self) -> int | str:
        """Return a theme for lines of text: as high as the text, not as a control."""
        styles = {
            dpg.mvStyleVar_FramePadding: (self.px(8), 0),
            dpg.mvStyleVar_ItemSpacing: (self.px(8), self.px(5)),
        }
        return self._item("lines", dpg.mvAll, {}, styles)

    def sheet(self) -> int | str:
        """Return the theme of a table of short lines that has the window to itself."""
        styles = {
            dpg.mvStyleVar_FramePadding: (self.px(8), 0),
            dpg.mvStyleVar_CellPadding: (self.px(4), self.px(5)),
        }
        return self._item("sheet", dpg.mvAll, {}, styles)

    def control(self) -> int | str:
        """Return a theme that keeps a control close to its name."""
        spacing = (self.px(8), self.px(5))
        return self._item("control", dpg.mvAll, {}, {dpg.mvStyleVar_ItemSpacing: spacing})

    def contents(self) -> int | str:
        """Return a theme that gives what is below a panel's title the window's own spacing."""
        own = self._styles()
        kept = (dpg.mvStyleVar_FramePadding, dpg.mvStyleVar_ItemSpacing)
        return self._item("contents", dpg.mvAll, {}, {target: own[target] for target in kept})

    def bare(self) -> int | str:
        """Return a theme for a window that children fill to its edges."""
        styles = {
            dpg.mvStyleVar_WindowPadding: (0, 0),
            dpg.mvStyleVar_WindowRounding: (0,),
        }
        return self._item("bare", dpg.mvWindowAppItem, {}, styles)

    def thumbnail(self) -> int | str:
        """Return the theme of a picture to click: no frame, a bright ground while hovered."""
        p = self.palette
        colors = {
            dpg.mvThemeCol_Button: p["panel"],
            dpg.mvThemeCol_ButtonHovered: p["action"],
            dpg.mvThemeCol_ButtonActive: p["action"],
        }
        edge = self.px(2)
        return self._item(
            "thumbnail", dpg.mvImageButton, colors, {dpg.mvStyleVar_FramePadding: (edge, edge)}
        )

    def header(self) -> int | str:
        """Return the theme of a panel's title."""
        p = self.palette
        return self._item(
            "header",
            dpg.mvCollapsingHeader,
            {
                dpg.mvThemeCol_Header: p["panel"],
                dpg.mvThemeCol_HeaderHovered: p["raised"],
                dpg.mvThemeCol_HeaderActive: p["raised"],
            },
            {dpg.mvStyleVar_FramePadding: (self.px(3), self.px(6))},
        )

    def series(self, role: str, *, has_dots: bool = False) -> int | str:
        """Return the theme of a curve in a role's colour, with a dot at each point if there are few."""
        key = ("series", role, has_dots)
        if key not in self._made:
            with dpg.theme() as theme, dpg.theme_component(dpg.mvLineSeries):
                color = (*self.color(role), 255)
                dpg.add_theme_color(dpg.mvPlotCol_Line, color, category=dpg.mvThemeCat_Plots)
                width = 1.8 * self.scale
                dpg.add_theme_style(
                    dpg.mvPlotStyleVar_LineWeight, width, category=dpg.mvThemeCat_Plots
                )
                marker = dpg.mvPlotMarker_Circle if has_dots else dpg.mvPlotMarker_None
                dpg.add_theme_style(
                    dpg.mvPlotStyleVar_Marker, marker, category=dpg.mvThemeCat_Plots
                )
                dpg.add_theme_style(
                    dpg.mvPlotStyleVar_MarkerSize, 2.5 * self.scale, category=dpg.mvThemeCat_Plots
                )
                for target in (dpg.mvPlotCol_MarkerFill, dpg.mvPlotCol_MarkerOutline):
                    dpg.add_theme_color(target, color, category=dpg.mvThemeCat_Plots)
            self._made[key] = theme
        return self._made[key]

    def plot(self) -> int | str:
        """Return the theme of a plot."""
        p, clear = self.palette, (0, 0, 0, 0)
        colors = {
            dpg.mvPlotCol_FrameBg: clear,
            dpg.mvPlotCol_PlotBg: (*p["window"], 255),
            dpg.mvPlotCol_PlotBorder: (*p["line"], 255),
            dpg.mvPlotCol_AxisGrid: (*p["line"], 150),
            dpg.mvPlotCol_AxisText: (*p["secondary"], 255),
            dpg.mvPlotCol_AxisBg: clear,
        }
        styles = {
            dpg.mvPlotStyleVar_PlotPadding: (self.px(2), self.px(4)),
            dpg.mvPlotStyleVar_LabelPadding: (self.px(4), self.px(3)),
        }
        if "plot" not in self._made:
            with dpg.theme() as theme, dpg.theme_component(dpg.mvPlot):
                for target, color in colors.items():
                    dpg.add_theme_color(target, color, category=dpg.mvThemeCat_Plots)
                for target, value in styles.items():
                    dpg.add_theme_style(target, *value, category=dpg.mvThemeCat_Plots)
            self._made["plot"] = theme
        return self._made["plot"]

    def _item(
        self, key: object, kind: int, colors: Colors, styles: Styles | None = None
    ) -> int | str:
        if key not in self._made:
            with dpg.theme() as theme:
                _component(kind, colors, styles or {})
                if kind == dpg.mvButton:
                    _component(kind, self._disabled(), styles or {}, is_enabled=False)
            self._made[key] = theme
        return self._made[key]

    def _disabled(self) -> Colors:
        p = self.palette
        grounds = (
            dpg.mvThemeCol_Button,
            dpg.mvThemeCol_ButtonHovered,
            dpg.mvThemeCol_ButtonActive,
            dpg.mvThemeCol_FrameBg,
            dpg.mvThemeCol_FrameBgHovered,
            dpg.mvThemeCol_FrameBgActive,
        )
        inks = (
            dpg.mvThemeCol_Text,
            dpg.mvThemeCol_CheckMark,
            dpg.mvThemeCol_SliderGrab,
            dpg.mvThemeCol_SliderGrabActive,
        )
        return {
            **dict.fromkeys(grounds, mixed(p["panel"], p["raised"], 0.6)),
            **dict.fromkeys(inks, p["disabled"]),
        }

    def _whole_window(self) -> int | str:
        with dpg.theme() as theme:
            _component(dpg.mvAll, self._colors(), self._styles())
            for kind in (
                dpg.mvButton,
                dpg.mvCheckbox,
                dpg.mvSliderFloat,
                dpg.mvSliderInt,
                dpg.mvInputText,
                dpg.mvInputInt,
                dpg.mvInputDouble,
                dpg.mvCombo,
                dpg.mvMenuItem,
            ):
                _component(kind, self._disabled(), {}, is_enabled=False)
        return theme

    def _colors(self) -> Colors:
        p = self.palette
        hover, press = mixed(p["raised"], p["text"], 0.1), mixed(p["raised"], p["text"], 0.18)
        frame = mixed(p["raised"], p["line"], 0.35)
        return {
            dpg.mvThemeCol_Text: p["text"],
            dpg.mvThemeCol_TextDisabled: p["disabled"],
            dpg.mvThemeCol_TextSelectedBg: mixed(p["raised"], p["action"], 0.45),
            dpg.mvThemeCol_WindowBg: p["window"],
            dpg.mvThemeCol_ChildBg: p["panel"],
            dpg.mvThemeCol_PopupBg: p["raised"],
            dpg.mvThemeCol_MenuBarBg: p["panel"],
            dpg.mvThemeCol_Border: p["line"],
            dpg.mvThemeCol_TitleBg: p["raised"],
            dpg.mvThemeCol_TitleBgActive: p["raised"],
            dpg.mvThemeCol_FrameBg: frame,
            dpg.mvThemeCol_FrameBgHovered: hover,
            dpg.mvThemeCol_FrameBgActive: press,
            dpg.mvThemeCol_Button: p["raised"],
            dpg.mvThemeCol_ButtonHovered: hover,
            dpg.mvThemeCol_ButtonActive: press,
            dpg.mvThemeCol_Header: mixed(p["raised"], p["action"], 0.2),
            dpg.mvThemeCol_HeaderHovered: hover,
            dpg.mvThemeCol_HeaderActive: press,
            dpg.mvThemeCol_CheckMark: p["action"],
            dpg.mvThemeCol_SliderGrab: mixed(p["raised"], p["action"], 0.55),
            dpg.mvThemeCol_SliderGrabActive: mixed(p["raised"], p["action"], 0.7),
            dpg.mvThemeCol_PlotHistogram: p["action"],
            dpg.mvThemeCol_Separator: p["line"],
            dpg.mvThemeCol_ScrollbarBg: p["panel"],
            dpg.mvThemeCol_ScrollbarGrab: p["line"],
            dpg.mvThemeCol_ScrollbarGrabHovered: hover,
            dpg.mvThemeCol_ScrollbarGrabActive: press,
            dpg.mvThemeCol_TableHeaderBg: p["panel"],
            dpg.mvThemeCol_TableBorderLight: p["line"],
            dpg.mvThemeCol_TableBorderStrong: p["line"],
            dpg.mvThemeCol_NavCursor: p["action"],
            dpg.mvThemeCol_NavHighlight: p["action"],
            dpg.mvThemeCol_InputTextCursor: p["text"],
        }

    def _styles(self) -> Styles:
        px = self.px
        # (30 - 17) / 2 above and below a line of text makes controls 30 pixels high.
        inside = (px(30) - px(FONT_SIZES["text"])) / 2
        return {
            dpg.mvStyleVar_WindowPadding: (px(16), px(12)),
            dpg.mvStyleVar_FramePadding: (px(8), inside),
            dpg.mvStyleVar_ItemSpacing: (px(8), px(8)),
            dpg.mvStyleVar_ItemInnerSpacing: (px(8), px(4)),
            dpg.mvStyleVar_CellPadding: (px(4), px(2)),
            dpg.mvStyleVar_FrameRounding: (px(6),),
            dpg.mvStyleVar_GrabRounding: (px(4),),
            dpg.mvStyleVar_GrabMinSize: (px(12),),
            dpg.mvStyleVar_PopupRounding: (px(6),),
            dpg.mvStyleVar_WindowRounding: (px(6),),
            dpg.mvStyleVar_ChildRounding: (px(6),),
            dpg.mvStyleVar_ScrollbarRounding: (px(6),),
            dpg.mvStyleVar_ScrollbarSize: (px(SCROLLBAR),),
            dpg.mvStyleVar_ChildBorderSize: (0,),
            dpg.mvStyleVar_WindowBorderSize: (0,),
            dpg.mvStyleVar_PopupBorderSize: (1,),
            dpg.mvStyleVar_FrameBorderSize: (0,),
            dpg.mvStyleVar_IndentSpacing: (px(12),),
        }


def _component(kind: int, colors: Colors, styles: Styles, *, is_enabled: bool = True) -> None:
    with dpg.theme_component(kind, enabled_state=is_enabled):
        for target, color in colors.items():
            dpg.add_theme_color(target, color, category=dpg.mvThemeCat_Core)
        for target, value in styles.items():
            dpg.add_theme_style(target, *value, category=dpg.mvThemeCat_Core)
