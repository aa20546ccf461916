"""What a scene file says of itself, checked field by field; shared by the versions of the format."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.capture.camera import Similarity
from core.formats.archive import Archive
from core.formats.codings import RAW_DTYPES
from core.radiance.parts import Coding

Number = Annotated[float, Field(allow_inf_nan=False)]
Vector = Annotated[list[Number], Field(min_length=3, max_length=3)]


class Frame(BaseModel):
    """A similarity transform."""

    scale: Number = Field(gt=0)
    rotation: Annotated[list[Vector], Field(min_length=3, max_length=3)]
    translation: Vector


class Entry(BaseModel):
    """One array."""

    component: str = Field(max_length=80)
    coding: Coding
    shape: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(max_length=4)
    dtype: Literal[RAW_DTYPES]  # type: ignore[valid-type]
    per_gaussian: bool
    crc32: int
    packed_bytes: int = Field(ge=0)

    @property
    def size(self) -> int:
        """Values of the array."""
        return math.prod(self.shape)


class Meta(BaseModel):
    """The scene but for its arrays."""

    model_config = ConfigDict(extra="ignore")

    format: Literal["hyrf"]
    version: tuple[int, int]
    kind: str = Field(max_length=80)
    step: int = Field(ge=0)
    num_gaussians: int = Field(ge=0, lt=2**31)
    bounds: Annotated[list[Vector], Field(min_length=2, max_length=2)]
    up: Vector
    to_original: Frame
    settings: dict[str, Any] = {}


def parsed(archive: Archive, kind: type[Meta], values: dict[str, Any]) -> Any:
    """Return a description of one kind."""
    try:
        return kind.model_validate(values)
    except (ValidationError, RecursionError) as error:
        raise archive.damaged(f"has an invalid description ({_first_problem(error)})") from None


def check_entry(archive: Archive, name: str, entry: Entry, num_gaussians: int) -> None:
    """Refuse an array whose shape, type and coding do not go together."""
    shape = entry.shape
    if not shape and entry.coding is not Coding.RAW and entry.coding is not Coding.FLOAT16:
        raise archive.damaged(f"declares '{name}' without a shape")
    if entry.coding is Coding.POSITION16 and (len(shape) != 2 or shape[1] != 3):
        raise archive.damaged(f"declares positions '{name}' of shape {shape}")
    if entry.coding is not Coding.RAW and entry.dtype != "<f4":
        raise archive.damaged(f"declares '{name}' as {entry.dtype}, which its coding cannot hold")
    if entry.per_gaussian and (not shape or shape[0] != num_gaussians):
        raise archive.damaged(f"declares {num_gaussians} Gaussians, but '{name}' has shape {shape}")


def similarity(archive: Archive, frame: Frame) -> Similarity:
    """Return the transform a file declares."""
    rotation = np.array(frame.rotation)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
        raise archive.damaged("has a coordinate frame whose rotation is none")
    return Similarity(frame.scale, rotation, np.array(frame.translation))


def to_json(values: Mapping[str, Any], digits: int | None = None) -> bytes:
    """Return compact JSON; numbers that are not whole are rounded to significant digits where asked."""
    return json.dumps(_plain(values, digits), separators=(",", ":"), allow_nan=False).encode()


def from_json(archive: Archive, name: str, content: bytes) -> dict[str, Any]:
    """Return the object that a member holds."""
    try:
        values = json.loads(content, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise archive.damaged(f"has a '{name}' that cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise archive.damaged(f"has a '{name}' that is no description")
    return values


def _plain(value: Any, digits: int | None) -> Any:
    """Return JSON values; a number that is not finite (an undefined metric) becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, digits) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, digits) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist(), digits)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(key) for key in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
