"""Explicit logits and both fields to activated Gaussians, as one differentiable function on the CPU.

    means [V, 3], color_logits [V, 3], scale_logits [V], opacity_logits [V], camera centre [3]
    ->
    quats [V, 4], scales [V, 3], opacities [V], colors [V, 3]

The same numbers as the plain composition in `Decoder.composed`, which stays its slow twin. Gradients
reach logits, networks and both tables (through `HashGrid.gradient`), never the means.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from core.nn.encoding import box_numbers
from core.nn.mlp import packed_weights
from core.radiance import decode_kernels as kernels
from core.radiance import grids_kernels
from core.radiance.fields import HybridFields, Space

Tensors = tuple[torch.Tensor, ...]
_scratch = threading.local()


def is_compiled(fields: HybridFields, means: torch.Tensor) -> bool:
    """Tell whether the compiled function serves these fields: two grids of two features, float32 on the CPU."""
    config = fields.config
    if config.kind != "hash":
        return False
    table = fields.radiance_grid.table
    on_cpu = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (means, table))
    return on_cpu and not config.is_shared and config.features == 2


def decoded(
    fields: HybridFields,
    space: Space,
    center: np.ndarray,
    is_product: bool,
    logits: Tensors,
) -> Tensors:
    """Return quats, scales, opacities and colors for (means, color_logits, scale_logits, opacity_logits)."""
    tables = fields.geometry_grid.table, fields.radiance_grid.table
    weights = fields.network_parameters()
    return _Decode.apply((fields, space, center, is_product), *logits, *tables, *weights)


class _Decode(torch.autograd.Function):
    """The compiled function; the backward computes the networks' hidden values again."""

    @staticmethod
    def forward(ctx: Any, job: tuple[Any, ...], *inputs: torch.Tensor) -> Tensors:
        fields, space, center, is_product = job
        leaves = [value.detach().contiguous() for value in inputs[:4]]
        num, num_blocks = len(leaves[0]), -(-len(leaves[0]) // kernels.BLOCK)
        networks = _networks(fields)
        places = torch.empty(num_blocks, 3, kernels.BLOCK)
        blocks = torch.empty(
            num_blocks, grids_kernels.input_rows(fields.config.levels), kernels.BLOCK
        )
        outputs = tuple(torch.empty(num, *tail) for tail in ((4,), (3,), (), (3,)))
        _encode(fields, space, center, leaves[0].numpy(), places.numpy(), blocks.numpy())
        kernels.decode(_arrays(leaves[1:]), blocks.numpy(), networks, is_product, _arrays(outputs))
        ctx.fields, ctx.is_product = fields, is_product
        ctx.save_for_backward(places, blocks, leaves[2], *outputs, *inputs[6:])
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        places, blocks, scale_logits, *rest = ctx.saved_tensors
        fields, num = ctx.fields, len(scale_logits)
        networks = _networks(fields)
        packed = networks[0], networks[2]
        transposed = tuple(np.ascontiguousarray(one.transpose(0, 2, 1)) for one in packed)
        sums = tuple(np.empty((kernels.PARTS, *one.shape), np.float32) for one in packed)
        explicit = tuple(torch.empty(num, *tail) for tail in ((3,), (), ()))
        to_inputs = _workspace(blocks.shape)
        kernels.decode_backward(
            _arrays([given.contiguous() for given in upstream]),
            _arrays(rest[:4]),
            scale_logits.numpy(),
            networks,
            transposed,
            ctx.is_product,
            blocks.numpy(),
            to_inputs,
            _arrays(explicit),
            sums,
        )
        if fields.geometry_grid.table.requires_grad:
            _scatter(fields, places.numpy(), to_inputs, num)
        gradients = [
            torch.from_numpy(part[layer, : weight.shape[0], : weight.shape[1]].copy())
            for part, network in zip(
                (one.sum(axis=0) for one in sums),  # parts added in order
                (fields.geometry_network, fields.radiance_network),
                strict=True,
            )
            for layer, weight in enumerate(network.weights)
        ]
        return None, None, *explicit, None, None, *gradients


def _encode(
    fields: HybridFields,
    space: Space,
    center: np.ndarray,
    means: np.ndarray,
    places: np.ndarray,
    inputs: np.ndarray,
) -> None:
    """Fill contracted places and the inputs of both networks."""
    levels = fields.config.levels
    box = box_numbers(space.low, space.high)
    grids_kernels.place_points(means, np.asarray(center, np.float32), box, levels, places, inputs)
    tables = (_pairs(grid.table.detach()) for grid in (fields.geometry_grid, fields.radiance_grid))
    grids_kernels.encode_places(places, _grid(fields), _balanced(levels), *tables, inputs)


def _scatter(fields: HybridFields, places: np.ndarray, to_inputs: np.ndarray, num: int) -> None:
    """Add the gradient of the features to both grids' own."""
    grids = fields.geometry_grid, fields.radiance_grid
    grids_kernels.scatter_features(
        places,
        to_inputs,
        _grid(fields),
        num,
        _balanced(fields.config.levels),
        tuple(_pairs(grid.gradient()) for grid in grids),
        tuple(grid.touched().numpy() for grid in grids),
    )


def _pairs(table: torch.Tensor) -> np.ndarray:
    """Return a table [L, T, 2] as complex numbers [L, T] on the same memory."""
    return table.numpy().view(np.complex64)[..., 0]


def _balanced(levels: int) -> np.ndarray:
    """Return the levels coarse and fine in turn: threads take neighbours, and each gets some of both."""
    return np.array(
        [level // 2 if level % 2 == 0 else levels - 1 - level // 2 for level in range(levels)]
    )


def _grid(fields: HybridFields) -> tuple[np.ndarray, ...]:
    scales, *geometry = fields.geometry_grid.layout
    _, *radiance = fields.radiance_grid.layout
    strides, rows = (np.stack(pair) for pair in zip(geometry, radiance, strict=True))
    return scales, strides, rows


def _networks(fields: HybridFields) -> tuple[np.ndarray, ...]:
    geometry = packed_weights(list(fields.geometry_network.weights))
    return *geometry, *packed_weights(list(fields.radiance_network.weights))


def _arrays(tensors: Any) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().numpy() for tensor in tensors)


def _workspace(shape: torch.Size) -> np.ndarray:
    """Return this thread's scratch of at least this many blocks; kept, because fresh memory has to be cleared."""
    kept = getattr(_scratch, "blocks", None)
    if kept is None or kept.shape[1:] != shape[1:] or len(kept) < shape[0]:
        kept = _scratch.blocks = np.empty(shape, np.float32)
    return kept[: shape[0]]
