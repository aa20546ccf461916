"""Numbers and names as people read them: units, two or three digits, no internal identifiers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

STUDY_NAMES = {"hyrf": "HyRF (hybrid)", "splats_3dgs": "3D Gaussian splatting"}
SPELLED = {
    **{name: name.upper() for name in ("auc", "cam", "care", "cnn", "iou", "macs", "mlp", "mse")},
    **{name: name.upper() for name in ("psnr", "rbf", "sdf", "ssim")},
    "convit": "ConViT",
    "hyrf": "HyRF",
    "nerf": "NeRF",
    "neurbf": "NeuRBF",
    "rbfnet": "RBFNet",
}
PRESET_NAMES = {
    "quick": "Quick (seconds)",
    "full": "Full (minutes)",
    "paper": "Paper (the published sizes)",
    "urban": "Urban (large outdoor scenes)",
}


def study_name(name: str, title: str = "") -> str:
    """Return what a study is called in a list: its short name, else its title up to the first colon."""
    return STUDY_NAMES.get(name) or title.partition(":")[0].strip() or named(name)


def preset_name(name: str) -> str:
    """Return what a preset is called."""
    return PRESET_NAMES.get(name, named(name))


def named(identifier: str) -> str:
    """Turn an identifier, snake_case or CamelCase, into words in sentence case, names spelled as in papers."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", identifier)
    if words != identifier:
        words = words.lower()
    words = words.replace("_", " ").replace("-", " ").strip()
    spelled = " ".join(SPELLED.get(word, word) for word in words.split())
    return spelled[:1].upper() + spelled[1:]


def three_digits(value: float) -> str:
    """Write a number with three significant digits and no exponent where one can do without."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        return f"{value:.2e}"
    rounded = float(f"{value:.3g}")  # 999.9 becomes 1000 before its digits are counted
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{decimals}f}"


def count(number: float) -> str:
    """Write a count: 950, 12.3 k, 1.20 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            return f"{three_digits(number / size)} {unit}"
    return str(round(number))


def data_size(num_bytes: float) -> str:
    """Write a size of data: 512 B, 8.3 MB; powers of 1000."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= size:
            scaled = num_bytes / size
            return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.1f} {unit}"
    return f"{round(num_bytes)} B"


def axis_unit(largest: float) -> tuple[float, str]:
    """Return what to divide a plot's values by, and its name: long numbers do not fit beside a plot."""
    for size, unit in ((5e6, "M"), (5e3, "k")):
        if largest >= size:
            return (1e6 if unit == "M" else 1e3), unit
    return 1.0, ""


def is_number(cell: str) -> bool:
    """Whether a cell of a table reads as a number, which stands on the right."""
    return cell in ("", "–") or cell.lstrip("+-−–")[:1].isdigit()


def duration(seconds: float) -> str:
    """Write a duration in words: under a second, 12 s, 2 min, 1 h 5 min."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 1:
        return "under a second"
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def decibels(value: float) -> str:
    """Write a PSNR."""
    return f"{value:.2f} dB" if math.isfinite(value) else "infinite"


def shortened(text: str, longest: int = 28) -> str:
    """Leave out the middle of a long name; the whole belongs into the tooltip."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[-(longest - 1 - head) :]}"


def metrics_line(metrics: Mapping[str, float]) -> str:
    """Write the main held-out metrics in one line."""
    parts = []
    if "psnr" in metrics:
        parts.append(decibels(metrics["psnr"]))
    if "ssim" in metrics:
        parts.append(f"SSIM {metrics['ssim']:.3f}")
    if "lpips" in metrics:
        parts.append(f"LPIPS {metrics['lpips']:.3f}")
    return ", ".join(parts)
