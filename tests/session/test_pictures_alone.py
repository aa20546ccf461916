"""A folder of pictures and a video, without any camera file, on the real command line: placed, trained, measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.capture.opening import open_capture

ROOT = Path(__file__).parents[2]
LONG_SIDE, STEPS = 400, 300
# per capture: pictures that must be placed of how many, most mean reprojection error in pixels,
# focal length in pixels and how far from it the estimate may be
KNOWN = {
    # the source's own calibration and COLMAP with other settings agree on 1026 to 1048
    "sceaux": ("sceaux", 11, 11, 0.5, 1048, 0.04),
    # COLMAP on every tenth frame found 1101 to 1155, one camera for each
    "can_video": ("can_video/can.mp4", 90, 100, 0.9, 1128, 0.03),
}


def real(name: str) -> Path:
    root = os.environ.get("HYRF_TEST_DATA")
    path = Path(root or "/nowhere") / "captures" / name
    if not path.exists():
        pytest.skip(f"the real capture {name} is not here (set HYRF_TEST_DATA)")
    return path


def hyrf(*words) -> str:
    child = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, f"exit {child.returncode}\n{child.stdout}{child.stderr}"
    return child.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KNOWN))
def test_pictures_alone_are_placed_trained_and_learnt_from(name, tmp_path):
    place, least, total, most_error, focal, share = KNOWN[name]
    capture = open_capture(real(place))
    report = re.search(
        r"(\d+) of (\d+) placed, .* error ([\d.]+) pixels .*focal length (\d+) ", capture.poses
    )
    assert report is not None, capture.poses
    assert int(report[1]) >= least
    assert int(report[2]) == total
    assert float(report[3]) < most_error
    assert float(report[4]) == pytest.approx(focal, rel=share)

    run = tmp_path / "run"
    words = ("--steps", STEPS, "--max-size", LONG_SIDE)
    print(hyrf("train", real(place), "--out", run, *words))
    result = json.loads(hyrf("eval", run, real(place), "--json"))
    print(name, capture.poses, f"PSNR {result['psnr']:.2f} dB, mean colour {mean_colour(capture)}")
    assert result["psnr"] >= mean_colour(capture) + 3


def mean_colour(capture) -> float:
    """Return the held-out PSNR of predicting the mean colour of the training pictures."""
    small = capture.limited(LONG_SIDE)
    color = np.mean([photo.image().mean((0, 1)) for photo in small.train], axis=0)
    errors = [((photo.image() - color) ** 2).mean() / 255**2 for photo in small.test]
    return float(np.mean(-10 * np.log10(errors)))
