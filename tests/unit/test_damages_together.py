"""Damaged captures through the check, alone and together: every damage is told, or one of them stops."""

import shutil
import tempfile
from pathlib import Path

import pytest
from captures import SmallCapture, real
from damages import DAMAGES, PICTURES, STOPS, write
from hypothesis import given, settings
from hypothesis import strategies as st

from core.capture.check import check_capture


def _rows(problems) -> list[tuple[str, str]]:
    return [(row.severity.value, row.text) for row in problems]


@pytest.mark.parametrize("name", DAMAGES)
def test_the_check_tells_every_damage_with_its_severity_and_a_remedy(tmp_path, name):
    damage = DAMAGES[name]
    small = SmallCapture(tmp_path / "capture", PICTURES)
    damage.spoil(small)
    found = check_capture(write(small))
    rows = _rows(found.problems)
    assert all(row.remedy for row in found.problems)
    assert found.stops == (damage.severity == STOPS)
    if damage.said:
        assert (damage.severity, True) in [(kind, damage.said in text) for kind, text in rows]
    else:
        assert found.problems == ()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(list(DAMAGES)), min_size=2, max_size=3, unique=True))
def test_damages_together_are_all_told_or_one_of_them_stops(names):
    chosen = [DAMAGES[name] for name in sorted(names, key=list(DAMAGES).index)]
    with tempfile.TemporaryDirectory() as folder:
        small = SmallCapture(Path(folder) / "capture", PICTURES)
        for damage in chosen:
            damage.spoil(small)
        found = check_capture(write(small))
    rows = _rows(found.problems)
    stopping = [damage for damage in chosen if damage.severity == STOPS]
    assert found.stops == bool(stopping)
    for damage in [] if stopping else chosen:
        assert any(damage.said in text for _, text in rows) or not damage.said
    if stopping:
        assert any(
            damage.said in text for damage in stopping for kind, text in rows if kind == STOPS
        )
    assert all(row.remedy for row in found.problems)


@pytest.mark.parametrize(
    ("name", "keep"), [("cameras.bin", 100), ("images.bin", 0.5), ("points3D.bin", 0.5)]
)
def test_the_check_names_the_file_and_byte_of_a_cut_model(tmp_path, name, keep):
    source = real("chess_king")
    model = next(path.parent for path in source.rglob("cameras.bin"))
    folder = tmp_path / "chess"
    place = folder / model.relative_to(source)
    shutil.copytree(model, place)
    data = (place / name).read_bytes()
    (place / name).write_bytes(data[: keep if keep > 1 else len(data) // 2])
    (row,) = check_capture(folder).problems
    assert (row.severity.value, row.file) == (STOPS, name)
    assert row.where.startswith("byte ")
    (place / name).write_bytes((2**63).to_bytes(8, "little") + data[8:])
    (row,) = check_capture(folder).problems
    assert (row.file, row.value) == (name, str(2**63))


def test_the_check_refuses_what_is_no_capture_in_one_row(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    for folder, said in ((tmp_path, "is not a capture"), (tmp_path / "none", "no such folder")):
        (row,) = check_capture(folder).problems
        assert row.severity.value == STOPS
        assert said in row.text
