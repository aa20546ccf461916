"""Problems of a capture as rows: where, what, how bad, and what to do.

Readers and `open_capture` speak in sentences, "FILE: what is wrong with numbers. What to do."; a
notice is turned into a row by the form it has, a refusal by that order of its sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Severity(str, Enum):
    """How much a problem matters; the order is that of the rows."""

    STOPS = "stops"
    LEFT_OUT = "left out"
    NOTE = "worth knowing"


ORDER = tuple(Severity)


@dataclass(frozen=True)
class Problem:
    """One row. `where` is a line, byte or frame of `file`; `value` is what was found there."""

    severity: Severity
    text: str
    remedy: str
    file: str = ""
    where: str = ""
    value: str = ""

    @property
    def placed(self) -> str:
        """The text, led by the file where it does not name it."""
        names = self.file.split("/")[-1].rsplit(".", 1)[0]
        return self.text if names in self.text else f"{self.file}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "severity": self.severity.value}


def worst_first(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by severity, each row once; within a severity the order stays."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda row: ORDER.index(row.severity)))


SUFFIX = (
    r"\.(?:json|bin|txt|csv|xml|npy|ply|jpe?g|png|tiff?|webp|bmp|exr|hei[cf]|mp4|mov|mkv|avi|webm)"
)
FILE = re.compile(rf"[^\s:,;()'\"]+{SUFFIX}\b", re.IGNORECASE)
LEADING_FILE = re.compile(rf"^[^:]+?{SUFFIX}(?=[:, ])", re.IGNORECASE)
WHERE = re.compile(
    r"\b(?:(?:line|byte|frame) \d+|(?:camera|sensor) '[^']*')(?:, column \d+)?"
    r"|\bline (?P<line>\d+) column (?P<column>\d+)"
)
LOSS = re.compile(r"\b(?:left out|dropped|skipped|ignored|not aligned)\b")
ADVICE = re.compile(
    r"^(?:Add|Align|Check|Choose|Convert|Copy|Correct|Estimate|Export|Give|Install|Make|Open|Optimise|Put"
    r"|Remove|Rename|Run|Save|Set|Take|Undistort|Use|Was|Write)\b"
)
SENTENCE_END = re.compile(r"(?<=[.?])\s+(?=[A-Z])")
VALUES = tuple(
    re.compile(pattern)
    for pattern in (
        r"is (?P<value>\d+x\d+) pixels",
        r"focal length (?P<value>\([^)]*\))",
        r"k4 = (?P<value>\S+)",
        r": \w+ is (?P<value>.+?), not a number",
        r"camera model (?P<value>\S+) is not",
        r"in (?P<value>'.*?') not all",
        r"promises (?P<value>\d[\d,]*)",
        r"has shape (?P<value>\[.*?\])",
        r"determinant (?P<value>\S+ 0)\)",
        r"(?P<value>\d[\d,]* (?:of \d+ )?(?:frames|pictures|cameras|bytes|points))\b",
        r"not (?P<value>'[^']*')",
    )
)

FORMS = tuple(
    (re.compile(pattern), severity, remedy)
    for pattern, severity, remedy in (
        (
            r"^(?P<value>\d+ of \d+ frames) have no picture: (?P<file>.+)\.$",
            Severity.LEFT_OUT,
            "Put the pictures where the camera file names them, or remove their entries.",
        ),
        (
            r"^\d+ of \d+ frames left out, pose (?P<value>.+): (?P<file>.+)\.$",
            Severity.LEFT_OUT,
            "Estimate the cameras of these pictures again.",
        ),
        (
            r"^(?P<value>\d+ of \d+ frames) listed twice, kept once: (?P<file>.+)\.$",
            Severity.NOTE,
            "Nothing is lost; remove the repeated entries.",
        ),
        (
            r"^(?P<file>.+?) (?P<value>(?:is not a picture|does not decode|cannot be read|is a Git LFS).*);"
            r" it is left out\.$",
            Severity.LEFT_OUT,
            "Copy the picture again from its source.",
        ),
        (
            r"^(?P<value>\d+ of \d+ frames) are copies and left out: (?P<file>.+)\.$",
            Severity.LEFT_OUT,
            "One of each is used; remove the copies.",
        ),
        (
            r"^\d+ of \d+ frames have another size than declared \((?P<value>.+?)\).*: (?P<file>.+)\.$",
            Severity.NOTE,
            "If the result is blurred, estimate the cameras from the pictures as they are now.",
        ),
        (
            r"^(?P<value>\d+ of \d+ frames) were turned by their orientation tag: (?P<file>.+)\.$",
            Severity.NOTE,
            "Nothing to do where they look upright; else save them upright and without the tag.",
        ),
        (
            r"^(?P<value>\d+ of \d+ frames) have an orientation tag .*: (?P<file>.+)\.$",
            Severity.NOTE,
            "Nothing to do where the result looks right; else estimate the cameras from the pictures anew.",
        ),
        (
            r"^(?P<file>.+?) cannot be read without (?P<value>the package .+); it is left out\.$",
            Severity.LEFT_OUT,
            "Install it (pip install 'hyrf-studio[pictures]'), or save the pictures as JPEG or PNG.",
        ),
        (
            r"^(?P<file>.+?) has a mask that (?P<value>.+); it is left out\.$",
            Severity.LEFT_OUT,
            "Make its mask again, or remove the mask to learn all of the picture.",
        ),
        (
            r"^COLMAP left (?P<value>\d+ models) that share .*$",
            Severity.NOTE,
            "Take pictures that lead from one part to the other, and run COLMAP again.",
        ),
        (
            r"^(?P<value>\d+ of \d+ frames) have no mask, .*: (?P<file>.+)\.$",
            Severity.NOTE,
            "Nothing to do where nothing is to be hidden in them.",
        ),
        (
            r"^(?P<value>[\d,]+) seed points are not finite and left out\.$",
            Severity.LEFT_OUT,
            "Export the points again.",
        ),
        (
            r"^(?P<value>\d+ of \d+ cameras) in (?P<file>.+) were not aligned\.$",
            Severity.LEFT_OUT,
            "Align the remaining pictures and export again, if they matter.",
        ),
        (
            r"^\S+ names the points file (?P<file>.+), which does not exist\.$",
            Severity.NOTE,
            "Put the file beside the camera file; else seed points are triangulated.",
        ),
        (
            r"^Cameras estimated from the photographs: (?P<value>\d+ of \d+) placed.*$",
            Severity.NOTE,
            "Nothing to do where all are placed; each of the others has a row of its own.",
        ),
        (
            r"^(?P<file>.+): (?P<value>\d+ of its [\d,]+ frames) were chosen, .*$",
            Severity.NOTE,
            "Nothing to do; frames are chosen once.",
        ),
        (
            r"^Seed points could not be triangulated: (?P<value>.+)\.$",
            Severity.NOTE,
            "Random points are used; check the cameras where the result is poor.",
        ),
    )
)


def from_notice(sentence: str) -> Problem:
    """Return the row for what opening a capture said in passing."""
    for form, severity, remedy in FORMS:
        found = form.match(sentence)
        if found is not None:
            parts = found.groupdict()
            return Problem(
                severity,
                sentence,
                remedy,
                file=parts.get("file") or "",
                where=_where(sentence),
                value=parts.get("value") or "",
            )
    severity = Severity.LEFT_OUT if LOSS.search(sentence) else Severity.NOTE
    text, remedy = _advised(sentence)
    return Problem(severity, text, remedy, _file(sentence), _where(sentence), _value(text))


def from_refusal(sentence: str) -> Problem:
    """Return the row for the sentence with which a capture was refused."""
    text, remedy = _advised(sentence)
    return Problem(Severity.STOPS, text, remedy, _file(sentence), _where(sentence), _value(text))


def _advised(sentence: str) -> tuple[str, str]:
    """Split what is wrong from the advice, which is the last sentence where that asks for something."""
    pieces = SENTENCE_END.split(sentence.strip())
    if len(pieces) > 1 and ADVICE.match(pieces[-1]):
        return " ".join(pieces[:-1]), pieces[-1]
    return sentence, "Check the path and the file, or export the capture again."


def _file(sentence: str) -> str:
    found = LEADING_FILE.match(sentence) or FILE.search(sentence)
    if found is not None:
        return found.group()
    name, colon, _ = sentence.partition(": ")
    return name if colon and len(name) < 80 else ""


def _where(sentence: str) -> str:
    found = WHERE.search(sentence)
    if found is None:
        return ""
    if found["line"]:
        return f"line {found['line']}, column {found['column']}"
    return found.group()


def _value(text: str) -> str:
    found = (pattern.search(text) for pattern in VALUES)
    return next((match["value"] for match in found if match), "")
