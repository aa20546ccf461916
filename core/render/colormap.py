"""Colours for numbers: viridis, which rises evenly in lightness and is told apart by colour-blind eyes.

values [H, W], any unit -> [H, W, 3], 0..1 sRGB
"""

from __future__ import annotations

import torch

# Nine knots of viridis (van der Walt and Smith 2015, released to the public domain), joined by straight lines.
_KNOTS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")


def viridis(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return a colour for every value: `low` and below dark violet, `high` and above yellow, NaN black."""
    knots = torch.tensor([list(bytes.fromhex(knot)) for knot in _KNOTS], device=values.device) / 255
    span = max(high - low, 1e-12)
    places = ((values.float() - low) / span).clamp(0, 1) * (len(_KNOTS) - 1)  # [H, W]
    known = torch.isfinite(places)
    places = torch.where(known, places, torch.zeros_like(places))
    left = places.long().clamp(max=len(_KNOTS) - 2)
    share = (places - left)[..., None]
    colors = knots[left] * (1 - share) + knots[left + 1] * share
    return torch.where(known[..., None], colors, torch.zeros_like(colors))
