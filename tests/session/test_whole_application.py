"""The whole application without a window: real capture, real training, real renderer, one thread."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app import actions
from app.camera import OrbitControl
from app.jobs import LEAVING, OPENING
from app.session import Session
from app.training import TrainingPlan
from core.base.discover import studies

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"
SETTINGS = {"steps": 400, "seed_gaussians": 1200, "density.cap": 2000}
SIZE = (160, 120)


def make_session(home, *, starts=True, inline=True, variant="", **settings):
    plan = TrainingPlan(
        preset="quick",
        variant=variant,
        settings={**SETTINGS, **settings},
        max_size=96,
        starts=starts,
    )
    session = Session(inline=inline, device="cpu", home=home, plan=plan)
    session.post(actions.ResizeView("a", *SIZE))
    return session


def ticks(session, is_done, most_s=20.0):
    """Tick until something holds; fail with the notices when it never does."""
    ends_s = time.monotonic() + most_s
    while time.monotonic() < ends_s:
        if is_done(session):
            return
        session.tick()
    texts = [row[2] + "\n" + row[3] for row in session.store.get("notices")]
    pytest.fail("\n".join(["It did not happen.", *texts]))


def has_frame(session):
    return session.frame("a") is not None


def state_is(state):
    return lambda session: session.store.get("train.state") == state


def at_step(step):
    return lambda session: session.store.get("train.step", 0) >= step


def is_sharp(session):
    frame = session.frame("a")
    return frame is not None and frame.is_full


def paused(session):
    """Pause and let the picture catch up with the training."""
    session.post(actions.PauseTraining())
    ticks(session, state_is("paused"))
    ticks(session, lambda s: is_sharp(s) and s.frame("a").step == s.store.get("train.step"))


def errors(session):
    return [row for row in session.store.get("notices") if row[1] == "error"]


@pytest.fixture
def session(tmp_path):
    session = make_session(tmp_path)
    session.post(actions.OpenDemo())
    ticks(session, lambda s: has_frame(s) and at_step(3)(s))
    yield session
    session.close()


def test_the_demo_opens_trains_and_shows_itself(session):
    store = session.store
    assert store.get("page") == "scene"
    assert store.get("train.state") == "running"
    assert store.get("engine.state") == "ready"
    assert session.frame("a").image.shape == (SIZE[1], SIZE[0], 3) or not session.frame("a").is_full
    assert session.frame("a").image.std() > 5  # a picture, not one colour
    assert store.get("cameras.count") == len(store.get("cameras.gallery")) > 20
    assert store.get("curves.loss")["Loss, averaged"][0][-1] == store.get("train.step")
    assert store.get("train.progress")[1].endswith("of 400")
    assert any("frame" in text or text.endswith("120") for text in store.get("status"))
    ticks(session, lambda s: s.store.get("scene.shares"))
    roles = {role for _, _, role in store.get("scene.shares")}
    assert roles == {"gaussians", "neural"}
    assert not errors(session)


def test_orbiting_shows_another_picture_from_the_camera_that_was_asked_for(session):
    paused(session)
    before = session.frame("a").image
    control = OrbitControl(
        session.store.get("camera.a"),
        session.store.get("scene.center"),
        session.store.get("scene.up"),
        session.store.get("scene.radius"),
    )
    control.orbit(120, 10)
    camera = control.camera(*SIZE)
    session.post(actions.MoveCamera("a", camera, is_moving=True))
    ticks(session, lambda s: s.frame("a").view.camera is camera)
    assert session.frame("a").image.shape != before.shape or (
        np.abs(session.frame("a").image.astype(int) - before.astype(int)).mean() > 1
    )


def test_switching_layers_draws_nothing_anew(session):
    paused(session)
    renders = session._scene.service.renders
    both = session.frame("a").image
    pictures = {}
    for blend in (0.0, 1.0, 0.5):
        session.post(actions.SetBlend(blend))
        ticks(session, lambda s, blend=blend: s.frame("a").view.blend == blend)
        pictures[blend] = session.frame("a").image
    assert session._scene.service.renders == renders
    np.testing.assert_array_equal(pictures[0.5], both)
    assert np.abs(pictures[0.0].astype(int) - pictures[1.0]).mean() > 5


def test_every_view_has_its_own_camera_and_size(session):
    paused(session)
    session.post(actions.ResizeView("b", 100, 60))
    session.post(actions.SnapToPhoto("b", 5))
    ticks(session, lambda s: s.frame("b") is not None)
    asked = session.frame("b").view.camera
    assert (asked.width, asked.height) == (100, 60)
    assert not np.allclose(asked.camera_to_world, session.frame("a").view.camera.camera_to_world)
    session.post(actions.CloseView("b"))
    session.tick()
    assert session.frame("b") is None


def test_training_pauses_steps_once_resumes_and_stops(session):
    paused(session)
    step = session.store.get("train.step")
    session.post(actions.StepOnce())
    for _ in range(5):
        session.tick()
    assert session.store.get("train.step") == step + 1
    session.post(actions.TogglePause())
    ticks(session, at_step(step + 4))
    session.post(actions.StopTraining())
    ticks(session, state_is("done"))
    assert session.frame("a") is not None


def test_a_live_setting_takes_effect_and_a_wrong_one_is_refused_with_a_sentence(session):
    session.post(actions.SetKnob("ssim_weight", 0.4))
    session.tick()
    session.tick()
    assert session.store.get("knob.ssim_weight") == 0.4
    assert not session.store.get("train.needs_restart")
    session.post(actions.SetKnob("ssim_weight", 7.0))
    session.tick()
    assert session.store.get("knob.ssim_weight") == 0.4
    assert "ssim_weight" in errors(session)[0][2]


def test_a_setting_of_the_next_training_waits_for_the_restart(session):
    step = session.store.get("train.step")
    session.post(actions.SetKnob("steps", 90))
    session.tick()
    assert session.store.get("train.needs_restart")
    assert session.store.get("train.progress")[1].endswith("of 400")
    session.post(actions.StartTraining())
    ticks(session, lambda s: s.store.get("train.progress")[1].endswith("of 90"))
    assert session.store.get("train.step") <= step
    assert not session.store.get("train.needs_restart")


def test_another_model_trains_after_a_restart(session):
    session.post(actions.ChooseStudy("splats_3dgs"))
    session.post(actions.ChoosePreset("quick"))
    session.post(actions.SetKnob("steps", 60))
    session.post(actions.StartTraining())
    ticks(session, lambda s: s.store.get("train.progress")[1].endswith("of 60"))
    ticks(session, has_frame)
    ticks(session, lambda s: not s.store.get("scene.has_background"))
    roles = {role for _, _, role in session.store.get("scene.shares")}
    assert "gaussians" in roles
    assert "neural" not in roles
    assert not errors(session)


def test_evaluating_fills_the_table(session):
    session.post(actions.Evaluate())
    ticks(session, lambda s: s.store.get("evaluation.rows"))
    rows = session.store.get("evaluation.rows")
    assert rows[0][0] == "Mean"
    assert 5 < float(rows[0][1]) < 50
    assert len(rows) > 3


def test_a_saved_scene_opens_again_and_looks_the_same(session, tmp_path):
    paused(session)
    camera = session.frame("a").view.camera
    before = session.frame("a").image.astype(float)
    file = tmp_path / "saved"
    session.post(actions.SaveScene(str(file)))
    ticks(session, lambda s: any(row[1] == "good" for row in s.store.get("notices")))
    scene = file.with_name("saved.hyrf")
    assert scene.exists()
    session.post(actions.OpenPath(str(scene)))
    ticks(session, lambda s: s.store.get("title", "").startswith("saved") and has_frame(s))
    assert not session.store.get("train.has_capture")
    assert session.store.get("cameras.count") > 20
    session.post(actions.MoveCamera("a", camera, is_moving=False))
    ticks(session, lambda s: s.frame("a").view.camera is camera and is_sharp(s))
    error = np.mean((session.frame("a").image - before) ** 2)
    assert 10 * np.log10(255**2 / error) > 30  # quantisation costs little
    names = [row[0] for row in session.store.get("recent")]
    assert names[0] == "saved"


def test_an_export_says_what_it_wrote_and_opens(session, tmp_path):
    paused(session)
    session.post(actions.ExportScene(str(tmp_path / "out.ply")))
    ticks(session, lambda s: (tmp_path / "out.ply").exists())
    ticks(session, lambda s: any(row[1] == "good" for row in s.store.get("notices")))
    session.post(actions.OpenPath(str(tmp_path / "out.ply")))
    ticks(session, lambda s: s.store.get("title", "").startswith("out") and has_frame(s))
    assert not errors(session)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing", None),
        ("letter.txt", b"hello"),
        ("broken.hyrf", b"PK\x03\x04 no"),
        ("x.ply", b"ply"),
    ],
)
def test_a_path_that_cannot_be_opened_is_a_notice_and_the_scene_stays(
    session, tmp_path, name, content
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    session.post(actions.OpenPath(str(tmp_path / name)))
    ticks(session, errors)
    ((notice, _, text, details),) = errors(session)
    assert name in text
    assert "\n" not in text
    assert "Error" in details  # the traceback unfolds
    step = session.store.get("train.step")
    ticks(session, at_step(step + 2))
    session.post(actions.DismissNotice(notice))
    session.tick()
    assert not errors(session)


def test_an_empty_folder_says_what_was_looked_for(session, tmp_path):
    (tmp_path / "empty").mkdir()
    session.post(actions.OpenPath(str(tmp_path / "empty")))
    ticks(session, errors)
    assert "transforms.json" in errors(session)[0][2]


def test_without_training_the_seed_points_are_shown_until_it_starts(tmp_path):
    session = make_session(tmp_path, starts=False)
    session.post(actions.OpenDemo())
    ticks(session, has_frame)
    for _ in range(10):
        session.tick()
    assert session.store.get("train.state") == "idle"
    assert session.store.get("train.step") == 0
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True
    session.post(actions.TogglePause())
    ticks(session, at_step(2))
    assert session.store.get("train.state") == "running"
    session.close()


def test_closing_writes_a_checkpoint_and_the_run_folder_goes_on_there(session, tmp_path):
    ticks(session, at_step(8))
    session.close()
    (run,) = (tmp_path / "runs").iterdir()
    assert list((run / "checkpoints").glob("*.ckpt"))
    other = make_session(tmp_path)
    other.post(actions.OpenPath(str(run)))
    ticks(other, lambda s: s.store.get("train.step", 0) > 8)
    assert "Resumed at step" in " ".join(row[2] for row in other.store.get("notices"))
    assert other.store.get("train.study") == "hyrf"
    assert has_frame(other)
    other.close()


def test_a_finished_training_leaves_its_scene_in_the_run_folder(tmp_path):
    session = make_session(tmp_path, steps=6)
    session.post(actions.OpenDemo())
    ticks(session, state_is("done"))
    ticks(session, lambda s: s.store.get("recent")[0][2].count(",") == 2)  # quality, size and day
    (scene,) = (tmp_path / "runs").glob("*/scene.hyrf")
    assert scene.stat().st_size > 1000
    assert "dB" in session.store.get("train.psnr")
    session.close()


def test_a_home_that_cannot_be_written_costs_checkpoints_only(tmp_path):
    home = tmp_path / "home"
    home.write_text("a file where a folder should be")
    session = make_session(home)
    session.post(actions.OpenDemo())
    ticks(session, at_step(2))
    assert any("without checkpoints" in row[2] for row in session.store.get("notices"))
    assert not errors(session)
    session.close()


def test_closing_the_scene_returns_to_the_start_page(session):
    session.post(actions.CloseScene())
    ticks(session, lambda s: s.store.get("page") == "start")
    assert session.frame("a") is None
    assert session.store.get("recent")[0][0] == DEMO.name
    assert session.store.get("curves.loss") == {}


def test_two_scenes_opened_while_a_training_ends_leave_one_open(tmp_path):
    session = make_session(tmp_path, inline=False)
    try:
        session.post(actions.OpenDemo())
        _turns(session, at_step(3))
        for _ in range(2):
            session.post(actions.OpenDemo())
            _turns(session, lambda s: not s._jobs.is_running(OPENING))
        _turns(session, lambda s: not s._jobs.is_running(LEAVING) and at_step(3)(s))
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("training") == names.count("drawing") == 1
    finally:
        session.close()


def _turns(session, is_done, most_s=60.0):
    """Tick a session that has threads of its own."""
    ends_s = time.monotonic() + most_s
    session.tick()
    while not is_done(session):
        assert time.monotonic() < ends_s, session.store.get("notices")
        time.sleep(0.005)
        session.tick()


def test_the_last_of_two_scenes_asked_for_while_another_closes_is_entered(session):
    entered = []
    session._wait_for(lambda: None, lambda: entered.append("first"))
    session._wait_for(lambda: None, lambda: entered.append("second"))
    session.tick()
    assert entered == ["second"]


def test_a_mistake_in_a_tick_is_told_once_and_training_goes_on(session, monkeypatch):
    def break_down(frame):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(session._scene, "show_status", break_down)
    step = session.store.get("train.step")
    ticks(session, at_step(step + 5))
    assert [row[2] for row in errors(session)] == [
        "Something went wrong in the window: ZeroDivisionError: planted"
    ]


def test_the_variant_asked_for_is_what_trains(tmp_path):
    session = make_session(tmp_path, variant="no_fields")
    session.post(actions.OpenDemo())
    ticks(session, at_step(1))
    assert session._training.run.config.variant == "no_fields"
    session.close()


def test_a_run_goes_on_with_pictures_of_the_size_it_began_with(tmp_path):
    session = make_session(tmp_path)
    session.post(actions.OpenDemo())
    ticks(session, at_step(1))
    capture, training = session._scene.capture, session._training
    config = training.run.config.model_copy(update={"max_size": None})
    given = []
    training._install(config, None, _Recording(capture, given), session._scene.snapshots)
    assert given == []
    session.close()


class _Recording:
    """A capture that notes which picture sizes are asked of it."""

    def __init__(self, capture, given):
        self.capture, self.given = capture, given

    def limited(self, size):
        self.given.append(size)
        return self.capture


def test_an_action_nobody_knows_is_a_notice_and_nothing_else(session):
    session.post(actions.Action())
    session.tick()
    assert errors(session)
    step = session.store.get("train.step")
    ticks(session, at_step(step + 2))


def test_the_application_runs_with_its_own_threads_and_stops_in_order(tmp_path):
    session = make_session(tmp_path, inline=False)
    session.post(actions.OpenDemo())
    ends = time.monotonic() + 60
    while time.monotonic() < ends and not (has_frame(session) and at_step(5)(session)):
        session.tick()
        time.sleep(0.01)
    assert has_frame(session), session.store.get("notices")
    assert at_step(5)(session)
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 15
    assert not {"training", "drawing"} & {thread.name for thread in threading.enumerate()}
    (run,) = (tmp_path / "runs").iterdir()
    assert list((run / "checkpoints").glob("*.ckpt"))


def test_the_models_offered_are_those_of_photographs(session):
    offered = {name for name, _ in session.store.get("train.studies")}
    assert offered == {name for name, entry in studies().items() if entry.family == "radiance"}
    assert replace(actions.ChooseStudy(), value="hyrf").value in offered
