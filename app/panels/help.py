"""The keys and what the mouse does, for the sheet of the desktop window."""

from __future__ import annotations

# Sentence case and the words of the menus; a test compares the keys with those that the window knows.
SHORTCUTS: tuple[tuple[str, str], ...] = (
    ("Left drag", "Turn around the middle of the scene"),
    ("Click", "See which Gaussians made the pixel"),
    ("Middle drag, Shift + left drag", "Shift the picture"),
    ("Wheel", "Come closer, go away"),
    ("Double click", "Frame the scene"),
    ("Right drag + W A S D Q E", "Look and fly"),
    ("V", "Fly without holding a button, and back"),
    ("Shift, Alt", "Fly fast, fly slowly"),
    ("F", "Frame the scene"),
    ("R", "Reset the view"),
    ("[ and ]", "Previous and next photograph"),
    ("1, 2, 3", "Show both, Gaussians, background"),
    ("C", "Next mode: RGB, depth, alpha"),
    ("Space", "Pause or resume training"),
    ("Ctrl+O, Ctrl+Shift+O", "Open a capture, open a scene"),
    ("Ctrl+S, Ctrl+Shift+S", "Save the scene, save it as another file"),
    ("Ctrl+E", "Export"),
    ("Arrows", "From control to control; Space or Enter uses one"),
    ("Ctrl+click, Ctrl+wheel", "On a slider: type a value, move it a little"),
    ("Double click on a slider", "Back to its default"),
    ("Tab", "Hide or show the panels"),
    ("F11", "Full screen"),
    ("H or F1", "This sheet"),
    ("Esc", "Stop flying, leave the controls, close this sheet"),
    ("Ctrl+Q", "Quit"),
)
