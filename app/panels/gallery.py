"""The gallery: studies of other papers by family, with what is known of their claims."""

from __future__ import annotations

from app.actions import OpenStudy
from app.panels.widgets import Button, Group, Picture, Row, Text
from app.panels.words import named, shortened
from app.store import Store

FEW = 12  # studies; with more than these the families are folded
THUMBNAIL_HIGH = 48


def panel(store: Store) -> Group:
    """Describe every family with its studies."""
    families = store.get("gallery.families", ())
    if not families:
        return Group("Studies", (Text(tint="secondary", text="The studies are being read."),))
    is_open = sum(len(rows) for _, rows in families) <= FEW
    return Group(
        "Studies",
        tuple(
            Group(
                named(family),
                tuple(widget for row in rows for widget in _study(*row)),
                is_open=is_open,
            )
            for family, rows in families
        ),
    )


def _study(name: str, title: str, paper: str, claims: str) -> tuple[Row | Text, ...]:
    action = OpenStudy(name)
    short = title.partition(":")[0]
    opener = Button(
        label=shortened(short), tooltip=f"Open and train it. {title} {paper}", action=action
    )
    picture = Picture(
        key=f"gallery.{name}", tooltip=f"Open {short}", height=THUMBNAIL_HIGH, action=action
    )
    known = f"{claims[:1].upper()}{claims[1:]}. {paper}"
    return Row((picture, opener)), Text(tint="secondary", text=known)
