"""A checkpoint is whole or it is not taken; what was saved comes back to the last bit."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from core.base.errors import RunError
from core.base.events import Notice
from core.engine.checkpoints import HEADER, CheckpointStore, load_checkpoint
from core.engine.locks import FolderLock

STATE = {
    "float32": torch.randn(3, 4),
    "float64": torch.randn(5, dtype=torch.float64),
    "half": torch.randn(5).to(torch.bfloat16),
    "int64": torch.tensor([2**62, -1]),
    "bool": torch.tensor([True, False]),
    "bytes": torch.arange(256, dtype=torch.uint8),
    "none": None,
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 3),
    "view": torch.arange(12.0).reshape(3, 4).T[1:],
    "array": np.arange(6, dtype=np.uint32).reshape(2, 3),
    "big endian": np.arange(3, dtype=">f8"),
    "numbers": [0.1, 1e-320, math.pi, math.inf, -0.0, 2**200, -(2**65), 10**5000, 7, True],
    "nested": [{"a": [[], {}, ()]}, ("x", 1, (2.5, None))],
    "keys": {0: "a", "1": "b", (1, 2): "c", "$tensor": "d"},
    "text": 'ünï "quoted"\n',
}


def assert_same(one, other, where="state"):
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert one.shape == other.shape, where
        assert torch.equal(one, other), where
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype.newbyteorder("="), where
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for left, right in zip(one, other, strict=True):
            assert_same(left, right, where)
    elif isinstance(one, float):
        assert one.hex() == other.hex(), where
    else:
        assert one == other, where


def filled(folder, steps=(10, 20, 30), report=lambda event: None):
    store = CheckpointStore(folder, keep=3, report=report)
    for step in steps:
        store.save(step, {"step": step, "weights": torch.full((50,), float(step))})
    return store


def test_every_kind_of_value_comes_back_exactly(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(7, STATE)
    step, state = store.latest()
    assert step == 7
    assert_same(state, STATE)


def test_random_states_of_torch_and_numpy_continue_where_they_were(tmp_path):
    generator, order = torch.Generator().manual_seed(3), np.random.default_rng(3)
    old = np.random.RandomState(3)
    torch.rand(5, generator=generator), order.random(5), old.rand(5)
    saved = [generator.get_state(), order.bit_generator.state, old.get_state()]
    CheckpointStore(tmp_path).save(1, {"random": saved})
    expected = torch.rand(4, generator=generator), order.random(4), old.rand(4)
    torch_state, numpy_state, old_state = CheckpointStore(tmp_path).latest()[1]["random"]
    generator.set_state(torch_state)
    order.bit_generator.state = numpy_state
    old.set_state(old_state)
    assert torch.equal(torch.rand(4, generator=generator), expected[0])
    np.testing.assert_array_equal(order.random(4), expected[1])
    np.testing.assert_array_equal(old.rand(4), expected[2])


def test_tensors_that_share_memory_are_stored_apart(tmp_path):
    weights = torch.arange(6.0)
    CheckpointStore(tmp_path).save(1, {"whole": weights, "part": weights[:3]})
    state = CheckpointStore(tmp_path).latest()[1]
    state["part"] += 1
    assert torch.equal(state["whole"], weights)


def test_only_the_newest_generations_are_kept(tmp_path):
    store = filled(tmp_path, (10, 20, 30, 40, 50))
    assert [step for step, _ in store.generations()] == [50, 40, 30]
    assert store.latest()[0] == 50


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert CheckpointStore(tmp_path / "missing").latest() is None


def damaged(path, how):
    content = bytearray(path.read_bytes())
    if how == "empty":
        content = bytearray()
    elif how == "cut in the header":
        content = content[:20]
    elif how == "cut in the payload":
        content = content[:-1]
    elif how == "longer":
        content += b"x"
    elif how == "wrong magic":
        content[:4] = b"PK\x03\x04"
    elif how == "wrong version":
        content[8] = 99
    elif how == "huge length":
        content[12:20] = b"\xff" * 8
    elif how == "not safetensors":
        import hashlib

        payload = b"\xff" * 64
        content = HEADER.pack(b"HYRFCKPT", 1, 64, hashlib.sha256(payload).digest()) + payload
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "cut in the header",
        "cut in the payload",
        "longer",
        "wrong magic",
        "wrong version",
        "huge length",
        "not safetensors",
    ],
)
def test_a_damaged_newest_generation_is_named_and_the_one_before_is_taken(tmp_path, how):
    events = []
    store = filled(tmp_path, report=events.append)
    damaged(store.generations()[0][1], how)
    step, state = store.latest()
    assert (step, state["step"]) == (20, 20)
    assert len(events) == 1
    assert isinstance(events[0], Notice)
    assert "step-000000030.ckpt" in events[0].text


def test_every_flipped_bit_is_noticed(tmp_path):
    path = filled(tmp_path, (30,)).generations()[0][1]
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [*range(HEADER.size), *rng.integers(0, len(good), 100)]:
        content = bytearray(good)
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
        with pytest.raises(RunError, match=r"step-000000030\.ckpt"):
            load_checkpoint(path)


def test_a_generation_under_another_step_s_name_is_refused(tmp_path):
    path = filled(tmp_path, (30,)).generations()[0][1]
    other = path.rename(path.with_name("step-000000031.ckpt"))
    with pytest.raises(RunError, match="holds step 30"):
        load_checkpoint(other)


def test_when_every_generation_is_damaged_training_does_not_start_over_silently(tmp_path):
    store = filled(tmp_path)
    for _, path in store.generations():
        damaged(path, "empty")
    with pytest.raises(RunError, match="none of its 3 checkpoint files"):
        store.latest()


def test_a_damaged_generation_goes_once_training_has_saved_again(tmp_path):
    store = filled(tmp_path)
    damaged(store.generations()[0][1], "wrong magic")
    store.save(25, {"step": 25})
    assert [step for step, _ in store.generations()] == [25, 20, 10]


def test_an_unfinished_write_is_ignored_and_cleared_away(tmp_path):
    store = filled(tmp_path)
    leftover = tmp_path / "step-000000040.ckpt.tmp"
    leftover.write_bytes(b"half")
    assert store.latest()[0] == 30
    store.save(50, {})
    assert not leftover.exists()


def test_a_failed_write_keeps_the_generations_and_says_why(tmp_path, monkeypatch):
    store = filled(tmp_path)

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        store.save(40, {"weights": torch.zeros(9)})
    assert [path.name for _, path in store.generations()] == sorted(
        (path.name for path in tmp_path.iterdir()), reverse=True
    )
    assert store.latest()[0] == 30


def test_what_is_read_back_wrong_never_replaces_anything(tmp_path, monkeypatch):
    store = filled(tmp_path)
    monkeypatch.setattr("core.engine.checkpoints._digest_of", lambda path: b"something else")
    with pytest.raises(RunError, match="read back"):
        store.save(40, {"weights": torch.zeros(9)})
    monkeypatch.undo()
    assert [step for step, _ in store.generations()] == [30, 20, 10]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"raw", np.array(["a"]), 1j])
def test_a_state_that_cannot_be_stored_exactly_is_refused_by_name(tmp_path, value):
    with pytest.raises(RunError, match=r"state\.model\.thing"):
        CheckpointStore(tmp_path).save(1, {"model": {"thing": value}})
    assert CheckpointStore(tmp_path).latest() is None


def test_a_second_writer_in_this_process_is_refused_with_the_pid(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(RunError, match=f"pid {os.getpid()}"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_the_lock_of_a_killed_process_is_free_again(tmp_path):
    script = (
        "import sys; from pathlib import Path; from core.engine.locks import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1])); lock.acquire()\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"pid {child.pid}"):
        FolderLock(tmp_path).acquire()
    child.kill()
    child.communicate()
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release()
