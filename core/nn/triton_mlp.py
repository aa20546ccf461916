"""Triton kernels of a small fully connected network without biases (ReLU inside, linear at the end).

    inputs    [V, I]   float32  any strides
    extra     [V, E]   float32  further inputs beside them; no columns when there are none
    base      [V, H]   float32  added before the first ReLU, or None
    weights   one [in, out] float32 per layer; inputs 1..128, hidden layers 1..4
    ->
    outputs   [V, O]   float32

A program takes a block of points through the whole network in registers; widths are padded with
zeros to powers of two, at least 16, as the matrix units want. Sums are float32. Operands are either
float32, multiplied as three TF32 products each (about as exact as float32), or float16.

The backward computes the hidden values again and writes them down with their gradients; then every
weight gradient is summed in PARTS programs, each into a row of its own, and the rows are added up.
Nothing races, so every run gives the same sums. (One kernel for both has no registers left: the
sums of a 64 wide network alone fill them.)

float16 cannot hold small gradients: they are divided by the power of two near the largest of them,
and multiplied by it again in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

PARTS = 256  # programs that sum weight gradients, about two for each multiprocessor of a large GPU
OUTER_BLOCK = 64  # points such a program takes at a time
SMALLEST = 16  # side of a matrix that the matrix units multiply


@triton.jit
def _load(pointer, rows, row_stride, num_rows, column_stride, NUM: tl.constexpr, PADDED: tl.constexpr):  # fmt: skip
    """Load [rows, NUM] padded with zeros to [rows, PADDED]."""
    columns = tl.arange(0, PADDED).to(tl.int64)
    mask = (rows < num_rows)[:, None] & (columns < NUM)[None, :]
    places = rows[:, None] * row_stride + columns[None, :] * column_stride
    return tl.load(pointer + places, mask=mask, other=0.0)


@triton.jit
def _load_weight(weight, IN: tl.constexpr, OUT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    return _load(weight, tl.arange(0, ROWS), OUT, IN, 1, OUT, COLUMNS)


@triton.jit
def _store(
    pointer, values, rows, row_stride, num_rows, column_stride, NUM: tl.constexpr,
    PADDED: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, PADDED).to(tl.int64)
    mask = (rows < num_rows)[:, None] & (columns < NUM)[None, :]
    places = rows[:, None] * row_stride + columns[None, :] * column_stride
    tl.store(pointer + places, values, mask=mask)


@triton.jit
def _multiply(left, right, IS_HALF: tl.constexpr):
    if IS_HALF:
        return tl.dot(left.to(tl.float16), right.to(tl.float16))
    else:
        return tl.dot(left, right, input_precision="tf32x3")


@triton.jit
def _first_layer(
    first, second, base, weight, points, num_points, WIDTHS: tl.constexpr, SPLIT: tl.constexpr,
    HAS_BASE: tl.constexpr, INPUTS: tl.constexpr, EXTRAS: tl.constexpr, HIDDEN: tl.constexpr,
    IS_HALF: tl.constexpr,
):  # fmt: skip
    """Return the first hidden values of a block from its loaded inputs."""
    total = _multiply(first, _load_weight(weight, SPLIT, WIDTHS[1], INPUTS, HIDDEN), IS_HALF)
    if WIDTHS[0] > SPLIT:
        rest = weight + SPLIT * WIDTHS[1]
        rest = _load_weight(rest, WIDTHS[0] - SPLIT, WIDTHS[1], EXTRAS, HIDDEN)
        total += _multiply(second, rest, IS_HALF)
    if HAS_BASE:
        total += _load(base, points, WIDTHS[1], num_points, 1, WIDTHS[1], HIDDEN)
    return tl.maximum(total, 0.0)


@triton.jit
def _next_layer(
    hidden, weight, LAYER: tl.constexpr, WIDTHS: tl.constexpr, HIDDEN: tl.constexpr,
    IS_HALF: tl.constexpr,
):  # fmt: skip
    matrix = _load_weight(weight, WIDTHS[LAYER], WIDTHS[LAYER + 1], HIDDEN, HIDDEN)
    return tl.maximum(_multiply(hidden, matrix, IS_HALF), 0.0)


@triton.jit(do_not_specialize=["num_points"], do_not_specialize_on_alignment=["channel_stride"])
def _forward(
    inputs, point_stride, channel_stride, extra, base, weights, outputs, num_points,
    WIDTHS: tl.constexpr, SPLIT: tl.constexpr, HAS_BASE: tl.constexpr, INPUTS: tl.constexpr,
    EXTRAS: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
    IS_HALF: tl.constexpr,
):  # fmt: skip
    LAYERS: tl.constexpr = len(WIDTHS) - 1
    points = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    first = _load(inputs, points, point_stride, num_points, channel_stride, SPLIT, INPUTS)
    second = _load(extra, points, WIDTHS[0] - SPLIT, num_points, 1, WIDTHS[0] - SPLIT, EXTRAS)
    hidden = _first_layer(
        first, second, base, weights[0], points, num_points, WIDTHS, SPLIT, HAS_BASE, INPUTS,
        EXTRAS, HIDDEN, IS_HALF,
    )  # fmt: skip
    for layer in tl.static_range(1, LAYERS - 1):
        hidden = _next_layer(hidden, weights[layer], layer, WIDTHS, HIDDEN, IS_HALF)
    last = _load_weight(weights[LAYERS - 1], WIDTHS[LAYERS - 1], WIDTHS[LAYERS], HIDDEN, OUTPUTS)
    values = _multiply(hidden, last, IS_HALF)
    _store(outputs, values, points, WIDTHS[LAYERS], num_points, 1, WIDTHS[LAYERS], OUTPUTS)


@triton.jit
def _keep(kept, LAYER: tl.constexpr, values, points, num_points, HIDDEN: tl.constexpr):
    """Store what belongs to hidden layer LAYER, counted from one, in [hidden layers, V, HIDDEN]."""
    kept += (LAYER - 1) * num_points.to(tl.int64) * HIDDEN
    _store(kept, values, points, HIDDEN, num_points, 1, HIDDEN, HIDDEN)


@triton.jit
def _next_kept(
    hidden, weights, hiddens, points, num_points, LAYER: tl.constexpr, WIDTHS: tl.constexpr,
    HIDDEN: tl.constexpr, IS_HALF: tl.constexpr,
):  # fmt: skip
    """Compute the hidden values above a hidden layer; store and return them."""
    hidden = _next_layer(hidden, weights[LAYER], LAYER, WIDTHS, HIDDEN, IS_HALF)
    _keep(hiddens, LAYER + 1, hidden, points, num_points, HIDDEN)
    return hidden


@triton.jit
def _give_below(
    given, weights, hidden, gradients, points, num_points, LAYER: tl.constexpr,
    WIDTHS: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr, IS_HALF: tl.constexpr,
):  # fmt: skip
    """Take the gradient through one layer and the ReLU below it; store and return it."""
    matrix = _load_weight(weights[LAYER], WIDTHS[LAYER], WIDTHS[LAYER + 1], HIDDEN, COLUMNS)
    given = tl.where(hidden > 0, _multiply(given, tl.trans(matrix), IS_HALF), 0.0)
    _keep(gradients, LAYER, given, points, num_points, HIDDEN)
    return given


@triton.jit(
    do_not_specialize=["num_points"],
    do_not_specialize_on_alignment=["channel_stride", "given_channel_stride", "out_channel_stride"],
)
def _backward(
    inputs, point_stride, channel_stride, extra, weights, upstream, given_point_stride,
    given_channel_stride, unit, hiddens, gradients, input_gradient, out_channel_stride, num_points,
    TO_INPUTS: tl.constexpr, WIDTHS: tl.constexpr, SPLIT: tl.constexpr, INPUTS: tl.constexpr,
    EXTRAS: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
    IS_HALF: tl.constexpr,
):  # fmt: skip
    LAYERS: tl.constexpr = len(WIDTHS) - 1
    EXTRA: tl.constexpr = WIDTHS[0] - SPLIT
    points = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    first = _load(inputs, points, point_stride, num_points, channel_stride, SPLIT, INPUTS)
    second = _load(extra, points, EXTRA, num_points, 1, EXTRA, EXTRAS)
    hidden1 = _first_layer(
        first, second, inputs, weights[0], points, num_points, WIDTHS, SPLIT, False, INPUTS,
        EXTRAS, HIDDEN, IS_HALF,
    )  # fmt: skip
    _keep(hiddens, 1, hidden1, points, num_points, HIDDEN)
    hidden = hidden1
    if LAYERS > 2:
        hidden2 = _next_kept(
            hidden, weights, hiddens, points, num_points, 1, WIDTHS, HIDDEN, IS_HALF
        )
        hidden = hidden2
    if LAYERS > 3:
        hidden3 = _next_kept(
            hidden, weights, hiddens, points, num_points, 2, WIDTHS, HIDDEN, IS_HALF
        )
        hidden = hidden3
    if LAYERS > 4:
        hidden = _next_kept(
            hidden, weights, hiddens, points, num_points, 3, WIDTHS, HIDDEN, IS_HALF
        )

    scale = tl.load(unit)
    upstream = _load(
        upstream, points, given_point_stride, num_points, given_channel_stride, WIDTHS[LAYERS], OUTPUTS
    )  # fmt: skip
    given = _give_below(
        upstream / scale, weights, hidden, gradients, points, num_points, LAYERS - 1, WIDTHS, OUTPUTS, HIDDEN, IS_HALF
    )  # fmt: skip
    if LAYERS > 4:
        given = _give_below(
            given, weights, hidden3, gradients, points, num_points, 3, WIDTHS, HIDDEN, HIDDEN, IS_HALF
        )  # fmt: skip
    if LAYERS > 3:
        given = _give_below(
            given, weights, hidden2, gradients, points, num_points, 2, WIDTHS, HIDDEN, HIDDEN, IS_HALF
        )  # fmt: skip
    if LAYERS > 2:
        given = _give_below(
            given, weights, hidden1, gradients, points, num_points, 1, WIDTHS, HIDDEN, HIDDEN, IS_HALF
        )  # fmt: skip
    if TO_INPUTS:
        matrix = _load_weight(weights[0], SPLIT, WIDTHS[1], INPUTS, HIDDEN)
        pulled = _multiply(given, tl.trans(matrix), IS_HALF) * scale
        _store(input_gradient, pulled, points, 1, num_points, out_channel_stride, SPLIT, INPUTS)


@triton.jit(
    do_not_specialize=["num_points", "blocks_each", "width"],
    do_not_specialize_on_alignment=["left_channel_stride", "right_channel_stride"],
)
def _outer(
    left, left_point_stride, left_channel_stride, right, right_point_stride, right_channel_stride,
    unit, sums, width, num_points, blocks_each, IN: tl.constexpr, OUT: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr, SCALES: tl.constexpr,
    IS_HALF: tl.constexpr,
):  # fmt: skip
    """Sum left^T right over a program's points: [V, IN] and [V, OUT] -> [IN, OUT] of its row."""
    part = tl.program_id(0).to(tl.int64)
    scale = tl.load(unit)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for turn in range(blocks_each):
        points = (part * blocks_each + turn) * BLOCK + tl.arange(0, BLOCK)
        a = _load(left, points, left_point_stride, num_points, left_channel_stride, IN, ROWS)
        b = _load(right, points, right_point_stride, num_points, right_channel_stride, OUT, COLUMNS)
        if SCALES:
            b = b / scale
        total += _multiply(tl.trans(a), b, IS_HALF)
    _store(sums + part * width, total * scale, tl.arange(0, ROWS), OUT, IN, 1, OUT, COLUMNS)


def run(
    inputs: torch.Tensor,
    extra: torch.Tensor | None,
    base: torch.Tensor | None,
    weights: Sequence[torch.Tensor],
    is_half: bool = False,
) -> torch.Tensor:
    """Run the network without recording gradients, [V, O]."""
    inputs = inputs.detach()
    widths, settings = _settings(inputs, weights, is_half)
    outputs = inputs.new_empty(len(inputs), widths[-1])
    if not len(inputs):
        return outputs
    others = [_filled(tensor, inputs) for tensor in (extra, base)]
    with torch.cuda.device_of(inputs):
        _forward[(triton.cdiv(len(inputs), settings["BLOCK"]),)](
            inputs, *inputs.stride(), *others, _contiguous(weights), outputs, len(inputs),
            HAS_BASE=base is not None, **settings,
        )  # fmt: skip
    return outputs


class Network(torch.autograd.Function):
    """The network with gradients of `inputs` and weights; the hidden values are computed again."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        extra: torch.Tensor,
        is_half: bool,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        """Run the network on inputs [V, I] and extra [V, E], [V, O]."""
        ctx.save_for_backward(inputs, extra, *weights)
        ctx.is_half = is_half
        return run(inputs, extra, None, weights, is_half)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the inputs, if wanted, and of every weight."""
        inputs, extra, *weights = ctx.saved_tensors
        wants_inputs = ctx.needs_input_grad[0]
        pulled, gradients = pull_back(inputs, extra, weights, upstream, wants_inputs, ctx.is_half)
        return (pulled, None, None, *gradients)


def pull_back(
    inputs: torch.Tensor,
    extra: torch.Tensor,
    weights: Sequence[torch.Tensor],
    upstream: torch.Tensor,
    wants_inputs: bool,
    is_half: bool = False,
) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """Return the gradient of the inputs [V, I], None unless wanted, and those of the weights."""
    inputs, num_points = inputs.detach(), len(inputs)
    widths, settings = _settings(inputs, weights, is_half)
    if not num_points:
        pulled = torch.zeros_like(inputs) if wants_inputs else None
        return pulled, [torch.zeros_like(weight) for weight in weights]
    # channel by channel, as the hash grid's backward likes to read it
    pulled = inputs.new_empty(inputs.shape[1], num_points if wants_inputs else 1).t()
    unit = _unit(upstream) if is_half else upstream.new_ones(())
    kept = torch.empty(
        (2, len(weights) - 1, num_points, settings["HIDDEN"]),
        dtype=torch.float16 if is_half else torch.float32,
        device=inputs.device,
    )
    with torch.cuda.device_of(inputs):
        _backward[(triton.cdiv(num_points, settings["BLOCK"]),)](
            inputs, *inputs.stride(), _filled(extra, inputs), _contiguous(weights), upstream,
            *upstream.stride(), unit, kept[0], kept[1], pulled, pulled.stride(1), num_points,
            TO_INPUTS=wants_inputs, **settings,
        )  # fmt: skip
        hiddens = [values[:, :width] for values, width in zip(kept[0], widths[1:-1], strict=True)]
        givens = [values[:, :width] for values, width in zip(kept[1], widths[1:-1], strict=True)]
        pairs = [([inputs, extra], givens[0])]
        pairs += [
            ([left], right) for left, right in zip(hiddens, [*givens[1:], upstream], strict=True)
        ]
        gradients = _weight_gradients(pairs, upstream, unit, is_half)
    return pulled if wants_inputs else None, gradients


def _unit(upstream: torch.Tensor) -> torch.Tensor:
    """Return the power of two near the largest gradient, as a number on the device."""
    return upstream.abs().amax().clamp(1e-30, 1e30).log2().floor().exp2()


def _weight_gradients(
    pairs: list[tuple[list[torch.Tensor], torch.Tensor]],
    upstream: torch.Tensor,
    unit: torch.Tensor,
    is_half: bool,
) -> list[torch.Tensor]:
    """Return left^T right of every layer; a layer may have two kinds of inputs, one below the other."""
    shapes = [(sum(left.shape[1] for left in lefts), right.shape[1]) for lefts, right in pairs]
    num_points = len(upstream)
    blocks_each = triton.cdiv(num_points, OUTER_BLOCK * PARTS)
    parts = triton.cdiv(num_points, OUTER_BLOCK * blocks_each)
    sums = upstream.new_empty(parts, sum(rows * columns for rows, columns in shapes))
    start = 0
    for lefts, right in pairs:
        for left in lefts:
            if not left.shape[1]:
                continue
            rows, columns = _padded(left.shape[1]), _padded(right.shape[1])
            _outer[(parts,)](
                left, *left.stride(), right, *right.stride(), unit, sums[:, start:],
                sums.shape[1], num_points, blocks_each, IN=left.shape[1], OUT=right.shape[1],
                ROWS=rows, COLUMNS=columns, BLOCK=OUTER_BLOCK, SCALES=right is upstream,
                IS_HALF=is_half, num_warps=8 if rows * columns > 64 * 64 else 4, num_stages=1,
                enable_fp_fusion=True,
            )  # fmt: skip
            start += left.shape[1] * right.shape[1]
    total = sums.sum(dim=0)
    sizes = [rows * columns for rows, columns in shapes]
    return [part.view(shape) for part, shape in zip(total.split(sizes), shapes, strict=True)]


def _settings(
    inputs: torch.Tensor, weights: Sequence[torch.Tensor], is_half: bool
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return the widths, and the constants a kernel is compiled for."""
    widths = (weights[0].shape[0], *(weight.shape[1] for weight in weights))
    hidden = _padded(max(widths[1:-1]))
    split = inputs.shape[1]
    return widths, {
        "WIDTHS": widths,
        "SPLIT": split,
        "INPUTS": _padded(split),
        "EXTRAS": _padded(widths[0] - split),
        "HIDDEN": hidden,
        "OUTPUTS": _padded(widths[-1]),
        "BLOCK": 32 if hidden > 64 else 64,
        "IS_HALF": is_half,
        "num_warps": 8 if hidden > 64 else 4,
        "num_stages": 1,
        "enable_fp_fusion": True,
    }


def _padded(width: int) -> int:
    return max(SMALLEST, triton.next_power_of_2(width))


def _filled(tensor: torch.Tensor | None, instead: torch.Tensor) -> torch.Tensor:
    """Return what a kernel can point to: a tensor with numbers in it, here never read."""
    return instead if tensor is None or not tensor.numel() else tensor.detach().contiguous()


def _contiguous(weights: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return tuple(weight.detach().contiguous() for weight in weights)
