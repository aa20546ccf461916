"""The export panel offers what concerns the chosen format, and the choices reach the export."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.exporting import export_options, export_values, first_suffix
from app.panels import export
from app.store import Store
from core.formats.table import BACKGROUNDS, FORMATS


def keys(suffix: str) -> set[str]:
    store = Store()
    store.update(scene__gaussians="100", export__format=suffix)
    return {widget.key for widget in export.panel(store).children}


@pytest.mark.parametrize(
    ("suffix", "offered"),
    [
        (".ply", {"export.sh_degree", "export.background"}),
        (".html", {"export.sh_degree", "export.background"}),
        (".points.ply", {"export.sh_degree"}),
        (".mesh.glb", {"export.mesh_cells"}),
        (".cameras.json", set()),
    ],
)
def test_a_format_is_offered_with_the_choices_that_concern_it(suffix, offered):
    choices = {"export.sh_degree", "export.background", "export.mesh_cells"}
    assert keys(suffix) & choices == offered


def test_every_format_that_is_written_can_be_chosen():
    store = Store()
    store.update(scene__gaussians="100")
    offered = next(w for w in export.panel(store).children if w.key == "export.format").options
    others = {entry.suffixes[0] for entry in FORMATS if entry.is_written} - set(offered)
    assert others == {".hyrf"}  # which is saved, not exported


def test_a_network_alone_is_offered_as_a_surface_and_nothing_else():
    store = Store()
    store.update(scene__gaussians="0", export__format=".mesh.ply")
    shown = {widget.key: widget for widget in export.panel(store).children}
    assert shown["export.format"].options == (".mesh.ply", ".mesh.glb", ".mesh.obj")
    assert "export.scene_path" not in shown


def test_a_scene_after_a_network_alone_is_exported_as_gaussians_again():
    store, field, splats = (
        Store(),
        SimpleNamespace(num_gaussians=0),
        SimpleNamespace(num_gaussians=9),
    )
    assert first_suffix(store, field) == ".mesh.ply"
    store.update(scene__gaussians="0", export__format=".mesh.ply")
    assert first_suffix(store, splats) == ".ply"
    store.update(scene__gaussians="9", export__format=".mesh.ply")
    assert first_suffix(store, splats) == ".mesh.ply"  # which somebody has chosen


def test_choices_reach_the_export_and_outlive_a_scene():
    store, told = Store(), []
    assert export_options(store, lambda *_: None).background == "picture"
    store.update(export__background="shell", export__mesh_cells=96, export__sh_degree=1)
    store.update(**export_values(store))
    options = export_options(store, lambda share, text: told.append((share, text)))
    assert (options.background, options.mesh_cells, options.sh_degree) == ("shell", 96, 1)
    assert options.background in BACKGROUNDS
    options.progress(0.5, "half")
    assert told == [(0.5, "half")]
