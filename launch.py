"""HyRF Studio: open a folder of photographs and watch a hybrid radiance field learn it.

    python launch.py                    the bundled demo capture
    python launch.py CAPTURE            a folder with photographs and camera poses
    python launch.py SCENE.hyrf         a saved scene
    python launch.py --help             everything else

From here: app/commands.py reads the arguments; app/main.py starts the engine and a window;
app/session.py carries out what people ask; core/engine/trainer.py steps the model;
core/studies/photographs.py is one training step, from a photograph to its gradients;
core/engine/render_service.py draws what the window shows.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    from app.commands import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
