"""Whether the Triton kernels of the hash grid and the networks may be used on a device.

They are used on a CUDA device once a small encoding and a small network, values and gradients,
agreed there with plain torch in float64; where Triton is missing or they disagree, torch does the
same work more slowly. Triton is not imported before a CUDA tensor asks.
"""

from __future__ import annotations

import importlib.util
import threading
from itertools import pairwise

import numpy as np
import torch

_POINTS = 200
_TOLERANCE = 1e-3  # of the largest number; a wrong kernel is wrong by far more
_HALF_TOLERANCE = 1e-2  # float16 operands are rounded to 5e-4 each

_lock = threading.Lock()
_reasons: dict[tuple[torch.device, bool], str | None] = {}


def probe(device: torch.device | str = "cuda", is_half: bool = False) -> str | None:
    """Return why the Triton kernels are not used on this device, or None once they agreed with torch."""
    device = torch.device(device)
    if (device, is_half) in _reasons:
        return _reasons[device, is_half]
    if device.type != "cuda" or not torch.cuda.is_available():
        return "No CUDA device"
    if device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    with _lock:  # the trainer and a view may ask at the same time
        if (device, is_half) not in _reasons:
            _reasons[device, is_half] = _missing(device) or trial(device, is_half)
        return _reasons[device, is_half]


def is_usable(is_half: bool, *tensors: torch.Tensor) -> bool:
    """Return whether all tensors are float32 on one CUDA device where the kernels agreed with torch."""
    device = tensors[0].device
    return (
        device.type == "cuda"
        and all(tensor.device == device and tensor.dtype == torch.float32 for tensor in tensors)
        and probe(device, is_half) is None
    )


def _missing(device: torch.device) -> str | None:
    if torch.cuda.get_device_capability(device) < (8, 0):  # Triton's compiler may abort, not raise
        return "The GPU is older than the kernels need (compute capability 8.0)"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    return None


def trial(device: torch.device, is_half: bool = False) -> str | None:
    """Run both kernels on a few points and compare them with torch; return what went wrong."""
    random = torch.Generator().manual_seed(0)
    tolerance = _HALF_TOLERANCE if is_half else _TOLERANCE
    try:
        for check in (_try_hash_grid, _try_network):
            for what, actual, expected in check(device, is_half, random):
                difference = (actual.detach().double().cpu() - expected).abs()
                # a hidden value next to zero may fall on either side of the ReLU, for a point or two
                worst = float(difference.flatten().quantile(0.95)) / float(expected.abs().max())
                if not worst <= tolerance:
                    return f"Triton computes wrong {what} here (off by {worst:.2g})"
    except Exception as error:  # a compiler or driver may fail in any way: torch computes instead
        first_line = next(iter(str(error).splitlines()), "no message")
        return f"Triton does not run here ({type(error).__name__}: {first_line})"
    return None


_Compared = list[tuple[str, torch.Tensor, torch.Tensor]]


def _try_hash_grid(device: torch.device, is_half: bool, random: torch.Generator) -> _Compared:
    """Encode at a dense and at a hashed level, and back."""
    from core.nn import hashgrid, triton_hashgrid

    layout = (
        np.array([7, 40.5], np.float32),
        np.array([8, 0], np.uint32),
        np.array([512, 1024], np.uint32),
    )
    table = torch.randn(2, 1024, 2, generator=random)
    u = torch.rand(_POINTS, 3, generator=random)
    upstream = torch.randn(_POINTS, 4, generator=random)
    exact = table.double().requires_grad_()
    expected = hashgrid.encode_reference(exact, u.double(), layout)
    expected.backward(upstream.double())
    u, table, upstream = u.to(device), table.to(device), upstream.to(device)
    gradient = torch.zeros_like(table)
    touched = torch.zeros(table.shape[:2], dtype=torch.uint8, device=device)
    encoded = triton_hashgrid.encode(u, table, layout, is_half)
    triton_hashgrid.encode_backward(u, upstream, layout, gradient, touched)
    return [
        ("hash grid values", encoded, expected.detach()),
        ("hash grid gradients", gradient, exact.grad),
        ("hash grid marks", touched, (exact.grad != 0).any(-1).double()),
    ]


def _try_network(device: torch.device, is_half: bool, random: torch.Generator) -> _Compared:
    """Run a network of two inputs, and back."""
    from core.nn import mlp, triton_mlp

    widths = (41, 64, 64, 3)  # a radiance network of the usual size: its kernels are needed anyway
    weights = [torch.randn(i, o, generator=random) / i**0.5 for i, o in pairwise(widths)]
    inputs = torch.randn(_POINTS, widths[0], generator=random)
    upstream = torch.randn(_POINTS, widths[-1], generator=random)
    leaves = [tensor.double().requires_grad_() for tensor in (inputs, *weights)]
    expected = mlp.run_reference(leaves[0], leaves[1:])
    expected.backward(upstream.double())
    inputs, upstream = inputs.to(device), upstream.to(device)
    features, extra = inputs[:, :32].t().contiguous().t(), inputs[:, 32:]
    weights = [weight.to(device) for weight in weights]
    outputs = triton_mlp.run(features, extra, None, weights, is_half)
    pulled, gradients = triton_mlp.pull_back(features, extra, weights, upstream, True, is_half)
    compared = [
        ("network values", outputs, expected.detach()),
        ("network input gradients", pulled, leaves[0].grad[:, :32]),
    ]
    named = zip(gradients, leaves[1:], strict=True)
    return compared + [("network weight gradients", mine, leaf.grad) for mine, leaf in named]
