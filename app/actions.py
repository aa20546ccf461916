"""Everything a user can ask for. A widget posts one of these; the session carries it out.

An action with a `value` field is completed by the widget with its value, one with an empty `view`
by the front end with the view it is posted from (`completed`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from core.capture.camera import Camera


@dataclass(frozen=True)
class Action:
    """Base of every request."""


def completed(action: Action, **values: Any) -> Action:
    """Return the action with those values that it has fields for; a view it names already stays."""
    names = {field.name for field in fields(action)}
    if getattr(action, "view", ""):
        values.pop("view", None)
    return replace(action, **{name: value for name, value in values.items() if name in names})


@dataclass(frozen=True)
class OpenPath(Action):
    """Open a folder of photographs, a video, a scene file or a run folder."""

    value: str = ""


@dataclass(frozen=True)
class OpenDemo(Action):
    """Open the bundled demo capture."""


@dataclass(frozen=True)
class CloseScene(Action):
    """Stop training and return to the start page."""


@dataclass(frozen=True)
class StartTraining(Action):
    """Train the open capture from the beginning with the chosen study, preset and settings."""


@dataclass(frozen=True)
class PauseTraining(Action):
    """Pause after the current step."""


@dataclass(frozen=True)
class ResumeTraining(Action):
    """Go on."""


@dataclass(frozen=True)
class TogglePause(Action):
    """Pause or go on, whichever applies."""


@dataclass(frozen=True)
class StepOnce(Action):
    """Do one training step and stay paused."""


@dataclass(frozen=True)
class StopTraining(Action):
    """End training now; the scene stays open."""


@dataclass(frozen=True)
class Evaluate(Action):
    """Measure the held-out pictures now."""


@dataclass(frozen=True)
class ChooseStudy(Action):
    """Choose the model for the next start of training."""

    value: str = ""


@dataclass(frozen=True)
class OpenStudy(Action):
    """Open a study from the gallery and train it."""

    value: str = ""


@dataclass(frozen=True)
class LookAround(Action):
    """Show the open study's scene in the viewport, or its pictures again."""

    value: bool = True


@dataclass(frozen=True)
class ChooseVariant(Action):
    """Choose the variant of the open study and train it from the beginning."""

    value: str = ""


@dataclass(frozen=True)
class ChoosePreset(Action):
    """Choose the preset for the next start of training."""

    value: str = ""


@dataclass(frozen=True)
class SetKnob(Action):
    """Change one setting: at once if it is live, else on restart of training."""

    key: str
    value: Any = None


@dataclass(frozen=True)
class SetBlend(Action):
    """Fade between Gaussians (0), both (0.5) and neural background (1)."""

    value: float = 0.5


@dataclass(frozen=True)
class SetChannel(Action):
    """Choose what the picture shows: rgb, depth or alpha."""

    value: str = "rgb"


@dataclass(frozen=True)
class SetYield(Action):
    """Choose whether training makes way while the camera moves."""

    value: bool = True


@dataclass(frozen=True, eq=False)
class MoveCamera(Action):
    """Show a view from this camera; `is_moving` while the hand is still on it."""

    view: str
    camera: Camera
    is_moving: bool = True


@dataclass(frozen=True)
class ResizeView(Action):
    """The window that shows a view has another size in pixels."""

    view: str
    width: int
    height: int


@dataclass(frozen=True)
class SnapToPhoto(Action):
    """Look from where a photograph was taken; `value` counts from 0 over all photographs, by name."""

    view: str
    value: int = 0


@dataclass(frozen=True)
class StepPhoto(Action):
    """Look from the photograph `value` places after the one looked from last; -1 is the one before."""

    view: str
    value: int = 1


@dataclass(frozen=True)
class ResetView(Action):
    """Return to the first view of the scene."""

    view: str


@dataclass(frozen=True)
class FrameScene(Action):
    """Move so that the whole scene, or the picked point, fills the view."""

    view: str


@dataclass(frozen=True)
class InspectPixel(Action):
    """Ask what made a pixel; `x` and `y` are shares 0..1 of the picture's width and height."""

    view: str = ""
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True)
class ClosePixel(Action):
    """Take the pixel's marks off the view."""


@dataclass(frozen=True)
class CloseView(Action):
    """A view has gone (its browser tab was closed)."""

    view: str


@dataclass(frozen=True)
class SaveScene(Action):
    """Write the scene to a .hyrf file."""

    value: str = ""


@dataclass(frozen=True)
class ChooseQuality(Action):
    """Keep the scene in its .hyrf file as closely as this (core/formats/quality.py)."""

    value: str = "best"


@dataclass(frozen=True)
class LimitSize(Action):
    """Save a .hyrf file of at most so many MB; 0 for no limit."""

    value: float = 0.0


@dataclass(frozen=True)
class ExportScene(Action):
    """Export the scene; the suffix chooses the format."""

    value: str = ""


@dataclass(frozen=True)
class ChooseFormat(Action):
    """Export in the format of a suffix, .ply for example."""

    value: str = ""


@dataclass(frozen=True)
class ChooseDegree(Action):
    """Bake view-dependent colour to spherical harmonics of this degree, 0 to 3."""

    value: int = 3


@dataclass(frozen=True)
class ChooseBackground(Action):
    """Export a neural background as a picture, as a far shell of Gaussians, or not at all (none)."""

    value: str = "picture"


@dataclass(frozen=True)
class ChooseMeshCells(Action):
    """Find a mesh on a grid of so many cells along its longest side; 0 leaves it to the scene."""

    value: int = 0


@dataclass(frozen=True)
class CancelTask(Action):
    """End the long task that runs now."""


@dataclass(frozen=True)
class DismissNotice(Action):
    """Take one notice off the list."""

    value: int = 0


@dataclass(frozen=True)
class WatchAttention(Action):
    """Look at what the open study attends to, or no longer."""

    value: bool = True


@dataclass(frozen=True)
class ChooseAttention(Action):
    """Set one choice of the attention panel: a field of `Choices`, or of what is tried out."""

    key: str
    value: Any = None


@dataclass(frozen=True)
class PointAt(Action):
    """Point at a place of a picture, 0..1 from its left and top.

    `how` is click, hover, second, region (one query more), column, or area: the rectangle from
    (`x`, `y`) to (`to_x`, `to_y`).
    """

    picture: str
    x: float = 0.0
    y: float = 0.0
    how: str = "click"
    to_x: float = 0.0
    to_y: float = 0.0


@dataclass(frozen=True)
class SaveAttention(Action):
    """Write the shown attention to a file: .png, .npz or .html."""

    value: str = ""
