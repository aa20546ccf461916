"""Deliberate errors. Their text is shown to the user word for word.

    HybridError
    +-- CaptureError     a folder of photographs cannot be used as it is
    +-- FormatError      a scene file is damaged, hostile or of an unknown kind
    +-- ConfigError      a setting is unknown or out of range
    +-- RenderError      a backend cannot draw, or was asked for something it cannot do
    +-- RunError         a run folder or checkpoint cannot be read or written

Every message names the file, says what is wrong with the numbers, and what to do next.
"""


class HybridError(Exception):
    """Base of every error that is meant for the user; exit code 2."""


class CaptureError(HybridError):
    """A capture cannot be opened."""


class FormatError(HybridError):
    """A scene file cannot be read or written."""


class ConfigError(HybridError):
    """A setting does not exist or does not accept the value."""


class RenderError(HybridError):
    """A frame cannot be drawn."""


class RunError(HybridError):
    """A run folder or a checkpoint cannot be used."""
