"""A session without an engine: real store, real actions, pictures drawn with numpy from the camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app import actions as do
from app.store import Store
from core.base.config import Knob
from core.capture.camera import Camera, look_at
from core.render.view import Channel, Frame, View

UP = np.array([0.0, 0.0, 1.0])


def first_camera(width: int = 960, height: int = 540) -> Camera:
    pose = look_at(np.array([3.0, -3.0, 1.6]), np.zeros(3), UP)
    return Camera(pose, 0.9 * height, 0.9 * height, width / 2, height / 2, width, height)


def picture_of(camera: Camera) -> np.ndarray:
    """A chequered ground under a blue sky, different from every direction."""
    rays = camera.directions()  # [H, W, 3]
    center = camera.center
    up = rays[..., 2]
    is_ground = up < -1e-3
    reach = np.where(is_ground, -center[2] / np.where(is_ground, up, 1.0), 0.0)
    x, y = center[0] + rays[..., 0] * reach, center[1] + rays[..., 1] * reach
    is_dark = (np.floor(x * 2) + np.floor(y * 2)) % 2 == 0
    far = np.clip(reach / 30, 0, 1)
    ground = np.where(is_dark, 60, 170) * (1 - far) + 150 * far
    rgb = np.stack([np.where(is_ground, ground, 90 + 60 * (1 - up))] * 3, axis=-1)
    rgb[..., 2] = np.where(is_ground, rgb[..., 2] * 0.8, 200 + 40 * up)
    return np.clip(rgb, 0, 255).astype(np.uint8)


class DemoSession:
    """Keeps what was posted; carries out the few actions that show."""

    def __init__(self, *, page: str = "scene") -> None:
        self.store = Store()
        self.is_engine_started = False
        self.posted: list[do.Action] = []
        self._waiting: list[do.Action] = []
        self._frame: Frame | None = None
        self._camera: Camera | None = None
        self._size = (960, 540)
        self.num_drawn = 0
        for key, value in (scene_values() if page == "scene" else start_values()).items():
            self.store.set(key, value)
        self.store.set("page", page)

    def start_engine(self) -> None:
        self.is_engine_started = True

    def post(self, action: do.Action) -> None:
        self.posted.append(action)
        self._waiting.append(action)

    def report(self, error: Exception) -> None:
        raise error

    def take(self) -> list[do.Action]:
        """What was posted since the last look."""
        posted, self.posted = self.posted, []
        return posted

    def tick(self) -> None:
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            self._do(action)

    def _do(self, action: do.Action) -> None:
        store = self.store
        if isinstance(action, do.ResizeView):
            self._size = (action.width, action.height)
            base = self._camera or first_camera()
            self._camera = base.fitted(*self._size)
            if store.get("camera.desktop") is None:
                store.set("camera.desktop", self._camera)
            self._draw(is_moving=False)
        elif isinstance(action, do.MoveCamera):
            self._camera = action.camera
            self._draw(is_moving=action.is_moving)
        elif isinstance(action, do.SetBlend):
            store.set("layers.blend", action.value)
            store.set("layers.mode", action.value)
        elif isinstance(action, do.SetChannel):
            store.set("layers.channel", action.value)
            self._draw(is_moving=False)
        elif isinstance(action, do.SetKnob):
            store.set(f"knob.{action.key}", action.value)
        elif isinstance(action, do.TogglePause | do.PauseTraining | do.ResumeTraining):
            is_running = store.get("train.state") == "running"
            store.set("train.state", "paused" if is_running else "running")
        elif isinstance(action, do.DismissNotice):
            notices = store.get("notices", ())
            store.set("notices", tuple(n for n in notices if n[0] != action.value))

    def _draw(self, *, is_moving: bool) -> None:
        camera = self._camera
        small = camera.resized(max(camera.width // 2, 1), max(camera.height // 2, 1))
        image = picture_of(small if is_moving else camera)
        image.setflags(write=False)
        self.num_drawn += 1
        channel = self.store.get("layers.channel", "rgb")
        legend = {
            "depth": {"low": 0.42, "high": 12.7, "unit": "scene units"},
            "alpha": {"low": 0.0, "high": 1.0, "unit": "opacity"},
        }.get(channel, {})
        view = View(camera, Channel(channel), is_moving=is_moving, serial=self.num_drawn)
        self._frame = Frame(image, view, 412, 12.0, not is_moving, 11_800, legend)

    def frame(self, view: str) -> Frame | None:
        assert view == "desktop"
        return self._frame

    def close(self) -> None:
        pass


def knobs() -> tuple[Knob, ...]:
    return (
        Knob(
            "lr_scale",
            "Learning rate",
            "Factor on every rate.",
            "float",
            1.0,
            0.1,
            4.0,
            is_live=True,
        ),
        Knob("prune", "Prune faint Gaussians", "Remove the faint.", "bool", True, is_live=True),
        Knob("steps", "Steps", "Length of training.", "int", 1500, 1, 30000),
        Knob("model.levels", "Levels", "Resolutions of the grid.", "int", 8, 1, 16),
        Knob(
            "model.density",
            "Density control",
            "How it grows.",
            "choice",
            "paper",
            choices=("paper", "mcmc"),
        ),
    )


def start_values() -> dict[str, object]:
    return {
        "title": "HyRF Studio",
        "engine.state": "ready",
        "engine.text": "Kernels ready",
        "machine.processor": "4 cores",
        "machine.graphics": "No CUDA device: drawing on the CPU",
        "machine.memory": "11.2 of 16 GB free",
        "machine.disk": "18 GB",
        "recent": (
            ("fox", "/data/captures/fox", "29.8 dB, 1.1 MB, yesterday"),
            ("chess king", "/data/captures/chess_king", "27.4 dB, 1.9 MB, 3 days ago"),
        ),
        "status": ("CPU, 4 cores", "Kernels ready", "11.2 of 16 GB free"),
    }


def scene_values() -> dict[str, object]:
    steps = np.arange(0, 413, 4)
    loss = 0.02 + 0.25 * np.exp(-steps / 90)
    psnr = 29 - 14 * np.exp(-steps / 120)
    rng = np.random.default_rng(5)
    gallery = tuple((f"frame_{at:04d}.jpg", picture_of(turned(at * 0.3))) for at in range(18))
    rows = tuple(
        (f"frame_{at:04d}.jpg", f"{24 + 4 * rng.random():.2f}", f"{0.8 + 0.1 * rng.random():.3f}")
        for at in range(7)
    )
    return {
        **start_values(),
        "title": "fox",
        "train.has_capture": True,
        "train.state": "running",
        "train.progress": (0.275, "412 of 1500"),
        "train.speed": "9.3 steps/s",
        "train.eta": "2 min",
        "train.psnr": "27.41 dB",
        "train.study": "hyrf",
        "train.studies": (("hyrf", "HyRF"), ("splats_3dgs", "3DGS")),
        "train.preset": "full",
        "train.presets": ("quick", "full", "paper", "urban"),
        "train.yields": True,
        "train.knobs": knobs(),
        **{f"knob.{knob.key}": knob.value for knob in knobs()},
        "cameras.count": 50,
        "cameras.has_pictures": True,
        "cameras.text": "50 photographs, 7 held out",
        "cameras.gallery": gallery,
        "layers.mode": 0.5,
        "layers.blend": 0.5,
        "layers.channel": "rgb",
        "scene.has_background": True,
        "scene.gaussians": "24.6 k",
        "scene.visible": "11.8 k",
        "scene.model": "HyRF (hybrid)",
        "scene.steps": "412 steps",
        "scene.size": "1.13 MB",
        "scene.shares": (
            ("Gaussians", 402_000, "gaussians"),
            ("Geometry grid", 310_000, "neural"),
            ("Radiance grid", 362_000, "neural"),
            ("Networks", 56_000, "neural"),
        ),
        "scene.up": UP,
        "scene.center": np.zeros(3),
        "scene.radius": 3.0,
        "export.scene_path": "/data/runs/fox/scene.hyrf",
        "export.path": "/data/runs/fox/scene.ply",
        "export.format": ".ply",
        "curves.loss": {"Loss, averaged": (steps, loss)},
        "curves.psnr": {
            "Held out": (steps[::10], psnr[::10]),
            "Training, averaged": (steps, psnr + 0.8),
        },
        "curves.gaussians": {"Gaussians": (steps, 8000 + 40 * steps)},
        "evaluation.rows": rows,
        "evaluation.summary": "27.41 dB, SSIM 0.862",
        "notices": (
            (
                2,
                "warning",
                "17 of 67 pictures are missing and were left out.",
                "frame_0003.jpg\nframe_0009.jpg",
            ),
            (1, "info", "No CUDA device: drawing on the CPU.", ""),
        ),
        "status": (
            "CPU, 4 cores",
            "12 ms frame, 480 x 270 of 960 x 540",
            "View of step 410",
            "1.1 of 16 GB",
        ),
    }


def turned(angle: float) -> Camera:
    center = np.array([3.5 * np.cos(angle), 3.5 * np.sin(angle), 1.6])
    camera = first_camera(120, 90)
    return replace(camera, camera_to_world=look_at(center, np.zeros(3), UP))
