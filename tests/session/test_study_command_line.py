"""The command `study`, as people type it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from app.commands import run
from app.study_report import standing
from app.thumbnails import thumbnail

KEYS = {"name", "family", "title", "paper", "variants", "claims"}


def printed(capsys, *words):
    assert run(["study", *words]) == 0
    return capsys.readouterr().out


def test_every_study_is_listed_with_its_claims(capsys):
    listed = json.loads(printed(capsys, "list", "--json"))
    assert all(set(row) == KEYS for row in listed)
    rows = {row["name"]: row for row in listed}
    assert {"hyrf", "splats_3dgs", "hopfield"} <= set(rows)
    assert rows["hopfield"]["claims"][:2] == ["storage", "faces"]
    assert "memory/hopfield" in printed(capsys, "list")


def test_listing_studies_imports_no_torch():
    code = "import sys; from app.commands import run; run(['study', 'list']); sys.exit('torch' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert child.returncode == 0


def test_a_study_says_what_it_claims_and_which_settings_are_live(capsys):
    shown = json.loads(printed(capsys, "show", "hopfield", "--json"))
    assert shown["claims"][0]["name"] == "storage"
    live = {row["key"] for row in shown["settings"] if row["live"]}
    assert "memory.beta" in live
    assert "Claim storage (5 seeds)" in printed(capsys, "show", "hopfield")


def test_a_study_runs_measures_itself_and_leaves_a_thumbnail(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path))
    words = ("run", "hopfield", "--variant", "classical", "--steps", "2", "--json")
    result = json.loads(printed(capsys, *words))
    assert result["steps"] == 2
    assert result["variant"] == "classical"
    assert 0 <= result["evaluation"]["recalled"] <= 1
    assert thumbnail("hopfield").std() > 10
    assert (tmp_path / "thumbnails" / "hopfield.png").exists()
    assert "held out: recalled" in printed(capsys, "run", "hopfield", "--steps", "1")


def test_a_run_in_a_folder_goes_on_where_it_stopped_with_the_same_numbers(capsys, tmp_path):
    words = ("run", "axial", "--seed", "3", "--set", "pictures=60", "--json")
    whole = json.loads(printed(capsys, *words, "--steps", "12"))
    out = ("--out", str(tmp_path / "run"))
    stopped = json.loads(printed(capsys, *words, "--steps", "6", *out))
    assert stopped["steps"] == 6
    folder = tmp_path / "run"
    config = json.loads((folder / "config.json").read_text())
    assert (config["study"], config["variant"], config["seed"]) == ("axial", "axial", 3)
    (folder / "config.json").write_text(json.dumps(config | {"steps": 12}))
    resumed = json.loads(printed(capsys, "run", "axial", *out, "--resume", "--json"))
    assert resumed["steps"] == 12
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["evaluation"] == whole["evaluation"]
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "test"] == [6, 12]
    assert any((folder / "checkpoints").iterdir())


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_the_run_of_a_field_is_exported_as_a_mesh_from_its_checkpoint(capsys, tmp_path, suffix):
    import trimesh

    folder, path = tmp_path / "run", tmp_path / f"field{suffix}"
    printed(capsys, "run", "robot_fields", "--steps", "4", "--out", str(folder))
    assert run(["export", str(folder), str(path), "--mesh-cells", "32"]) == 0
    assert "triangles" in capsys.readouterr().out
    mesh = trimesh.load_mesh(path)
    assert len(mesh.faces) > 100, "a distance begins as a ball"
    assert 0.5 < np.linalg.norm(mesh.vertices, axis=1).max() < 1.5


def test_a_run_without_anything_to_export_is_refused_in_one_sentence(capsys, tmp_path):
    folder, path = tmp_path / "run", tmp_path / "a.ply"
    printed(capsys, "run", "hopfield", "--steps", "1", "--out", str(folder))
    assert run(["export", str(folder), str(path)]) == 2
    assert "hopfield makes no scene" in capsys.readouterr().err
    (folder / "checkpoints").rename(tmp_path / "elsewhere")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"study": "robot_fields"}))
    assert run(["export", str(folder), str(path)]) == 2
    assert "holds no checkpoint yet" in capsys.readouterr().err
    assert not path.exists()


def test_a_run_refuses_what_would_make_it_another(capsys, tmp_path):
    out = ("--out", str(tmp_path / "run"))
    printed(capsys, "run", "hopfield", "--steps", "1", *out)
    for words, sentence in (
        (("hopfield",), "already holds a run"),
        (("cam", "--resume"), "a run of hopfield, not of cam"),
        (("hopfield", "--resume", "--seed", "5"), "--seed 0 (asked: 5)"),
        (("hopfield", "--resume", "--set", "memory.patterns=7"), "memory.patterns="),
    ):
        assert run(["study", "run", *words, *out]) == 2
        assert sentence in capsys.readouterr().err
    assert run(["study", "run", "hopfield", "--resume"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_claim_prints_and_keeps_its_verdict(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path))
    words = ("claim", "hopfield", "--only", "faces", "--seeds", "2", "--json")
    made = json.loads(printed(capsys, *words))["claims"][0]
    assert made["verdict"] == "reproduced"
    assert made["cases"][0]["case"] == "100 faces"
    kept = json.loads((tmp_path / "claims" / "hopfield.faces.quick.json").read_text())
    assert kept == made


def test_the_report_says_what_came_out_of_the_published_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path))
    published, page = tmp_path / "published", tmp_path / "studies.md"
    made = {"study": "hopfield", "claim": "small_tables", "preset": "full"}
    made |= {"verdict": "not reproduced"}
    made |= {"family": "memory", "title": "Hopfield", "says": "It recalls.", "source": "figure 1"}
    made |= {
        "rules": [{"says": "a beats b", "verdict": "undecided"}],
        "seeds": 3,
        "metrics": ["auc"],
        "failures": [],
        "rows": [],
    }
    made |= {"budget": "10 steps", "made": "2026-01-01", "versions": {"torch": "2"}}
    cell = {"mean": 0.5, "spread": 0.1, "difference": 0.0, "p": None}
    made["cases"] = [{"case": "a", "parameters": 12, "seconds": 1.0, "auc": cell}]
    elsewhere = made | {"verdict": "undecided", "capture": "fox"}
    (tmp_path / "claims" / "fox").mkdir(parents=True)
    (tmp_path / "claims" / "hopfield.small_tables.full.json").write_text(json.dumps(made))
    (tmp_path / "claims" / "fox" / "hopfield.small_tables.full.json").write_text(
        json.dumps(elsewhere)
    )
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "hopfield.png").write_bytes(b"what it showed")
    (tmp_path / "thumbnails" / "another.png").write_bytes(b"of no study that there is")
    assert run(["study", "report", "--out", str(page), "--results", str(published)]) == 0
    text = page.read_text()
    assert "### small_tables: not reproduced" in text
    assert "### small_tables, on fox: undecided" in text
    assert text.count("Probable cause: The paper's layer learns its projections") == 1
    assert "0.500 ± 0.100" in text
    assert "- a beats b: undecided" in text
    assert (published / "hopfield.png").read_bytes() == b"what it showed"
    assert json.loads((published / "hopfield.small_tables.full.json").read_text()) == made
    assert json.loads((published / "fox" / "hopfield.small_tables.full.json").read_text()) == (
        elsewhere
    )
    assert not (published / "another.png").exists()
    assert standing([made, elsewhere], "hopfield") == {"small_tables": "not reproduced"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "hopfield", "--variant", "other"), "has no variant 'other'"),
        (("claim", "hopfield", "--only", "other"), "Its claims: storage"),
        (("run", "hopfield", "--set", "memory.nothing=1"), "no setting 'memory.nothing'"),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(capsys, words, sentence):
    assert run(["study", *words]) == 2
    assert sentence in capsys.readouterr().err
