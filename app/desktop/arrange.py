"""Where everything stands: pure arithmetic from the window's size to rectangles in pixels.

+---------------- top ----------------+
| left |          view        | right |     left, view and right reach down to the strip;
+----------------strip---------------+      below 1100 pixels right shares left's place
+---------------status---------------+
"""

from __future__ import annotations

from dataclasses import dataclass

FOLDS_BELOW = 1100
GAP = 1
LOW_STRIP = 120  # pixels: a title and three lines


@dataclass(frozen=True)
class Area:
    """A rectangle of the window in pixels."""

    left: int = 0
    top: int = 0
    width: int = 1
    height: int = 1


@dataclass(frozen=True)
class Arrangement:
    """The rectangles of the scene page; None where a part is not shown."""

    view: Area
    top: Area | None = None
    left: Area | None = None
    right: Area | None = None
    strip: Area | None = None
    status: Area | None = None
    is_folded: bool = False


def arrange(
    width: int, height: int, scale: float = 1.0, *, has_chrome: bool = True, has_curves: bool = True
) -> Arrangement:
    """Return the rectangles for a window of this size; `scale` is the font scale.

    The strip is low where nothing is trained and no curve will be drawn in it.
    """
    if not has_chrome:
        return Arrangement(Area(0, 0, max(width, 1), max(height, 1)))
    is_folded = width < FOLDS_BELOW * scale
    column = round(min(max(0.195 * width, 252 * scale), 320 * scale))
    top_height, status_height = round(48 * scale), round(28 * scale)
    tall = min(max(0.26 * height, 196 * scale), 280 * scale)
    strip_height = round(tall if has_curves else LOW_STRIP * scale)
    # A very low window keeps its picture rather than its curves.
    strip_height = min(strip_height, max(height - top_height - status_height - 160, 0))
    body_top = top_height + GAP
    body_height = max(height - body_top - strip_height - status_height - 2 * GAP, 1)
    num_columns = 1 if is_folded else 2
    view_width = max(width - num_columns * (column + GAP), 1)
    strip_top = body_top + body_height + GAP
    return Arrangement(
        view=Area(column + GAP, body_top, view_width, body_height),
        top=Area(0, 0, width, top_height),
        left=Area(0, body_top, column, body_height),
        right=Area(0 if is_folded else width - column, body_top, column, body_height),
        strip=Area(0, strip_top, width, max(strip_height, 1)) if strip_height > 0 else None,
        status=Area(0, height - status_height, width, status_height),
        is_folded=is_folded,
    )
