"""Which class puts a scene together again, by the kind its file names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from core.base.errors import FormatError, HybridError
from core.radiance.parts import SceneParts

if TYPE_CHECKING:
    from core.radiance.field import Snapshot

KINDS = {
    "hyrf": "core.radiance.hybrid:HybridScene",
    "splats": "core.radiance.sh_splats:SplatScene",
}
FREE_ENTRIES = 1 << 24  # tables up to 64 MiB are allocated without asking


def assemble(scene: SceneParts, device: str = "cpu") -> Snapshot:
    """Put a scene together on a device; parts that do not fit each other are an error, not a crash."""
    if scene.kind not in KINDS:
        raise FormatError(
            f"The scene is of the kind '{scene.kind}'; this program knows: {', '.join(KINDS)}. "
            "Update the program to open it."
        )
    module, _, name = KINDS[scene.kind].partition(":")
    try:
        if scene.kind == "hyrf":
            _expect_tables(scene)
        found: Any = getattr(importlib.import_module(module), name)
        return found.from_parts(scene, device)
    except HybridError as error:
        raise FormatError(f"The scene's settings are not valid: {error}") from None
    except KeyError as error:
        raise FormatError(f"The scene lacks {error}.") from None
    except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise FormatError(f"The scene's parts do not fit together ({first_line}).") from None


def _expect_tables(scene: SceneParts) -> None:
    """Refuse settings that ask for larger tables than the file holds, before any is allocated."""
    config = scene.settings["config"]
    fields = config["fields"]
    if config.get("has_fields", True) and fields.get("kind", "hash") != "hash":
        return  # only shapes are made before the file's own arrays take their places
    held = scene.parts["radiance_grid"].values.size if config.get("has_fields", True) else 0
    rows = 2 ** min(int(fields["log2_table"]), 40)
    asked = int(fields["levels"]) * int(fields["features"]) * rows
    if asked > max(held, FREE_ENTRIES):
        raise ValueError(f"the settings ask for {asked} table entries, the file holds {held}")
