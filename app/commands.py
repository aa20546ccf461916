"""The command line: what can be asked for, and how failures end.

Exit codes: 0 done, 2 wrong use or wrong input, 1 our fault, 128 + the signal's number when stopped
(130 for Ctrl-C). Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from core.base import discover
from core.base.errors import HybridError
from core.formats.quality import Quality
from core.formats.table import BACKGROUNDS

OK, OUR_FAULT, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
COMMANDS = (
    "open",
    "train",
    "eval",
    "render",
    "export",
    "info",
    "inspect",
    "check",
    "doctor",
    "study",
)


def run(words: Sequence[str]) -> int:
    """Carry out one command line."""
    words = list(words)
    if not words or (words[0] not in COMMANDS and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "open")
    arguments = parser().parse_args(words)  # exits with 2 and a sentence on wrong use
    try:
        return _dispatch(arguments)
    except HybridError as error:
        print(f"hyrf: {error}", file=sys.stderr)
        return WRONG_USE
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("hyrf: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _our_fault(error)


def _our_fault(error: Exception) -> int:
    if os.environ.get("HYRF_DEBUG"):
        traceback.print_exception(error)
    what = f"{type(error).__name__}: {error}".rstrip(": .")
    advice = "Set HYRF_DEBUG=1 to see where it happened, and please report it."
    print(f"hyrf: a fault of this program: {what}. {advice}", file=sys.stderr)
    return OUR_FAULT


def _dispatch(arguments: argparse.Namespace) -> int:
    from core.engine.cores import quiet_libraries

    quiet_libraries()
    if arguments.command == "open":
        from app.desktop.display import DisplayProbe

        # a child process tries the display while this one imports
        probe = None if arguments.web else DisplayProbe()
        from app.main import open_window

        return open_window(arguments, probe)
    if arguments.command == "doctor":
        from app import doctor

        return doctor.report(as_json=arguments.json)
    if arguments.command == "study":
        from app import studies

        return studies.run(arguments)
    if arguments.command == "train":
        from app.unattended import train

        return train(arguments)
    from app import headless, pixel_report

    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "eval": headless.evaluate,
        "render": headless.render,
        "export": headless.export,
        "info": headless.info,
        "inspect": pixel_report.inspect,
        "check": headless.check,
    }
    return actions[arguments.command](arguments)


def parser() -> argparse.ArgumentParser:
    """Describe every command and option."""
    from app import pixel_report, studies

    top = argparse.ArgumentParser(
        prog="hyrf",
        description="View and train hybrid radiance fields. Without a command: open a window.",
        epilog="hyrf COMMAND --help explains a command. Give a folder, a video, a scene file or a run to open it.",
    )
    top.add_argument("--version", action="version", version=f"HyRF Studio {_version()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _open(
        commands.add_parser(
            "open", help="open a capture, a scene or a run in a window (the default)"
        )
    )
    _train(commands.add_parser("train", help="train a model without a window"))
    _eval(commands.add_parser("eval", help="measure a run or scene on the held-out photographs"))
    _render(commands.add_parser("render", help="render a camera path to a video or pictures"))
    _export(commands.add_parser("export", help="write a scene in another format"))
    info = commands.add_parser("info", help="say what a scene file holds, without loading it")
    info.add_argument("file", type=Path, help="scene file of any format")
    info.add_argument("--json", action="store_true", help="print JSON")
    pixel_report.describe(
        commands.add_parser("inspect", help="say which Gaussians made a pixel of a scene")
    )
    _check(commands.add_parser("check", help="say what is wrong with a capture before training"))
    studies.describe(
        commands.add_parser("study", help="list, train and judge systems of other papers")
    )
    doctor = commands.add_parser("doctor", help="say what is usable on this machine, and why not")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    return top


def scene_models() -> tuple[str, ...]:
    """Return the studies that learn a scene from photographs."""
    return tuple(name for name, entry in discover.studies().items() if entry.family == "radiance")


def _open(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path", nargs="?", help="folder of photographs, video, scene file or run; none: the demo"
    )
    command.add_argument(
        "--web", action="store_true", help="serve the web view instead of a window"
    )
    command.add_argument(
        "--host", default="127.0.0.1", help="address of the web view (default: %(default)s)"
    )
    command.add_argument(
        "--port", type=int, default=8080, help="port of the web view (default: %(default)s)"
    )
    command.add_argument(
        "--token", help="secret asked of visitors when --host is not this machine alone"
    )
    command.add_argument("--no-train", action="store_true", help="open without starting to train")
    command.add_argument("--frames", type=_positive, help="draw this many frames, then quit")
    command.add_argument("--screenshot", type=Path, help="save the last frame as PNG")
    command.add_argument(
        "--size", type=_size, default=(1280, 800), metavar="WxH", help="window size"
    )
    _model(command)


def _train(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "capture", nargs="?", help="folder of photographs, or video; none: the demo"
    )
    command.add_argument("--out", type=Path, required=True, help="run folder to create")
    command.add_argument(
        "--resume", action="store_true", help="go on from the run's last checkpoint"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object a line")
    command.add_argument("--threads", type=_positive, help="processor cores to use (default: all)")
    _model(command)


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--study", choices=scene_models(), help="model (default: hyrf)")
    command.add_argument(
        "--start",
        metavar="FILE",
        help="scene file in the capture's coordinates whose Gaussians training starts from (any format that opens)",
    )
    command.add_argument("--variant", help="ablation of the model, for example no_fields")
    command.add_argument(
        "--preset", help="quick, full, paper or urban (default: what suits the machine)"
    )
    command.add_argument("--steps", type=_positive, help="number of training steps")
    command.add_argument(
        "--max-size", type=_positive, metavar="PIXELS", help="longer side of the pictures"
    )
    command.add_argument("--seed", type=int, help="seed of all random numbers (default: 0)")
    command.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="where to train (default: auto)"
    )
    command.add_argument(
        "--seeds",
        choices=("auto", "random"),
        help="seed points: from the capture or triangulated (auto, the default), or random",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting; may repeat",
    )


def _eval(command: argparse.ArgumentParser) -> None:
    command.add_argument("scene", type=Path, help="run folder or scene file")
    command.add_argument("capture", help="folder of photographs, or video")
    command.add_argument(
        "--max-size", type=_positive, metavar="PIXELS", help="longer side of the pictures"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def _render(command: argparse.ArgumentParser) -> None:
    command.add_argument("scene", type=Path, help="scene file or run folder")
    command.add_argument(
        "--camera-path",
        type=Path,
        required=True,
        help="JSON file of cameras or keyframes, in the coordinates of the capture's files",
    )
    command.add_argument(
        "--out", type=Path, required=True, help="video file (.mp4) or folder of pictures"
    )
    command.add_argument(
        "--blend", type=float, default=0.5, help="0 Gaussians, 0.5 both, 1 background"
    )


def _export(command: argparse.ArgumentParser) -> None:
    command.add_argument("scene", type=Path, help="scene file or run folder")
    command.add_argument("out", type=Path, help="file to write; its suffix chooses the format")
    command.add_argument(
        "--sh-degree",
        type=int,
        choices=range(4),
        default=3,
        help="spherical harmonics that a neural colour is turned into (default 3)",
    )
    command.add_argument(
        "--background",
        choices=BACKGROUNDS,
        default="picture",
        help="what a neural background becomes: a picture beside the file (inside a page), a far shell of "
        "Gaussians, or none (default: %(default)s)",
    )
    command.add_argument(
        "--quality",
        choices=tuple(quality.value for quality in Quality),
        help="how closely a .hyrf file keeps the scene (default: best)",
    )
    command.add_argument(
        "--at-most",
        metavar="SIZE",
        help="the closest .hyrf file of at most this size, for example 8MB or 500kB",
    )
    command.add_argument(
        "--mesh-cells",
        type=_positive,
        default=0,
        metavar="N",
        help="cells of a mesh's grid along its longest side (default: as fine as the pictures, 256 at most)",
    )


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument("capture", type=Path, help="folder of photographs, or video")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--study", choices=scene_models(), help="model (default: hyrf)")
    command.add_argument("--preset", help="preset to estimate memory and time for")
    command.add_argument(
        "--max-size",
        type=_positive,
        metavar="PIXELS",
        help="longer side of the pictures to train at (default: as the window does)",
    )
    command.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="where to train (default: auto)"
    )


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a whole number of 1 or more")
    return int(word)


def _size(word: str) -> tuple[int, int]:
    width, _, height = word.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{word}' is not a size such as 1280x800")
    return _positive(width), _positive(height)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hyrf-studio")
    except PackageNotFoundError:
        return "(from a checkout)"
