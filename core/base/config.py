"""Configuration: pydantic models are the single description of every setting.

From one model come validation, the JSON beside a run, `--set key=value` and the settings panel.
Order of precedence: defaults, preset, run file, command line, live edits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.base.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration: frozen, unknown options refused, presets by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


ConfigT = TypeVar("ConfigT", bound=Config)


def live(default: Any, **arguments: Any) -> Any:
    """Declare a field that may change while training; arguments as for pydantic's `Field`."""
    return Field(default, json_schema_extra={"live": True}, **arguments)


@dataclass(frozen=True)
class Knob:
    """One setting as a panel shows it. `key` is dotted; `kind` is float, int, bool, choice or text."""

    key: str
    label: str
    help: str
    kind: str
    value: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_live: bool = False


def resolve(
    model: type[ConfigT], preset: str | None = None, settings: Mapping[str, Any] | None = None
) -> ConfigT:
    """Build a configuration from a preset and dotted or nested settings."""
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in model.presets:
            raise ConfigError(
                f"There is no preset '{preset}'. Choose one of: {', '.join(model.presets)}."
            )
        _merge(values, model.presets[preset])
    for key, value in (settings or {}).items():
        _merge(values, _nested(key, value))
    return validated(model, values)


def validated(model: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Validate values, turning pydantic's report into one readable sentence."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_sentence(model, problem) for problem in error.errors())
        ) from None


def edited(config: ConfigT, changes: Mapping[str, Any], *, live_only: bool = False) -> ConfigT:
    """Return the configuration with dotted keys changed, rebuilt through validation."""
    values = config.model_dump()
    allowed = {knob.key: knob for knob in knobs(config)}
    for key, value in changes.items():
        if live_only and key in allowed and not allowed[key].is_live:
            raise ConfigError(
                f"'{key}' cannot change while training; it takes effect on restart of training."
            )
        _merge(values, _nested(key, value))
    return validated(type(config), values)


def parse_settings(words: Sequence[str]) -> dict[str, str]:
    """Split `key=value` words of the command line; the model converts the values."""
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {word}: write it as key=value, for example --set density.cap=20000."
            )
        settings[key.strip()] = value.strip()
    return settings


def knobs(config: Config, prefix: str = "") -> tuple[Knob, ...]:
    """List every setting of a configuration, nested ones with dotted keys."""
    found: list[Knob] = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            found.extend(knobs(value, f"{prefix}{name}."))
        else:
            found.append(_knob(f"{prefix}{name}", field, value))
    return tuple(found)


def _knob(key: str, field: Any, value: Any) -> Knob:
    bounds: dict[str, float] = {}
    for rule in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if hasattr(rule, name):
                bounds["low" if name[0] == "g" else "high"] = float(getattr(rule, name))
    choices: tuple[str, ...] = ()
    if get_origin(field.annotation) is Literal:
        choices = tuple(str(choice) for choice in get_args(field.annotation))
    elif isinstance(field.annotation, type) and issubclass(field.annotation, Enum):
        choices = tuple(str(choice.value) for choice in field.annotation)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    label = field.title or key.rpartition(".")[2].replace("_", " ").capitalize()
    return Knob(
        key=key,
        label=label,
        help=field.description or "",
        kind="choice" if choices else _kind(value),
        value=value,
        low=bounds.get("low"),
        high=bounds.get("high"),
        choices=choices,
        is_live=bool(extra.get("live")),
    )


def _kind(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float")):
        if isinstance(value, kind):
            return name
    return "text"


def _nested(key: str, value: Any) -> dict[str, Any]:
    head, dot, rest = key.partition(".")
    return {head: _nested(rest, value)} if dot else {head: value}


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, Mapping):
            into[key] = {}
            _merge(into[key], value)
        else:
            into[key] = value


def _sentence(model: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or model.__name__
    if problem["type"] == "extra_forbidden":
        return f"There is no setting '{key}'. Known here: {', '.join(model.model_fields)}."
    return f"Setting '{key}': {problem['msg'][0].lower()}{problem['msg'][1:]} (got {problem['input']!r})."
