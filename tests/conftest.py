"""What several tests share."""

import pytest


@pytest.fixture(scope="session")
def tiny_capture():
    """Return the demo capture at 48 pixels, ten training pictures and two held out."""
    from dataclasses import replace

    from assets import DEMO
    from core.capture.opening import open_capture

    capture = open_capture(DEMO).limited(48)
    return replace(capture, photos=capture.train[:10] + capture.test[:2])
