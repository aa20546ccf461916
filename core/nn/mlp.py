"""Small fully connected network without biases: ReLU after the hidden layers, linear output.

    inputs   [V, I]  in one tensor or two
    weights  one parameter per layer, [in, out]: hidden = relu(inputs @ weights[0])
    ->
    outputs  [V, O]

The network of a hash-grid field (Mueller et al. 2022, section 4). Compiled loops on the CPU in
float32 (any number of layers, widths up to 128), Triton on CUDA in float32 (up to four hidden
layers, widths up to 64, or 128 where it multiplies in float16), plain torch elsewhere.

For viewing, the first layer can be split: what depends on position alone is computed once with
`partial`, the rest per view with `finish`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.base.shapes import expect
from core.nn import mlp_kernels as kernels
from core.nn import triton_probe

WIDEST = 128
TRITON_LAYERS = 5  # hidden ones and the last
TRITON_WIDEST = 64  # in float32: wider tiles do not fit a program's registers
_NOTHING = np.empty((0, 0), np.float32)


class Mlp(torch.nn.Module):
    """Fully connected network of the given widths, for example (32, 64, 64, 8).

    Where Triton runs, `multiplies_half` makes it multiply in float16; sums stay float32.
    """

    multiplies_half = False

    def __init__(
        self,
        widths: Sequence[int],
        generator: torch.Generator | None = None,
        output_scale: float = 1.0,
    ) -> None:
        """Draw weights uniformly (Glorot and Bengio 2010); the last layer times `output_scale`."""
        super().__init__()
        self.widths = tuple(int(width) for width in widths)
        if len(self.widths) < 3 or not all(1 <= width <= WIDEST for width in self.widths):
            raise ConfigError(
                f"A network needs an input, at least one hidden layer and an output, each 1 to {WIDEST} wide; "
                f"got {self.widths}."
            )
        device = generator.device if generator is not None else None
        self.weights = torch.nn.ParameterList()
        for layer, (num_in, num_out) in enumerate(
            zip(self.widths[:-1], self.widths[1:], strict=True)
        ):
            bound = math.sqrt(6.0 / (num_in + num_out))
            if layer == len(self.widths) - 2:
                bound *= output_scale
            weight = torch.empty(num_in, num_out, device=device)
            self.weights.append(
                torch.nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
            )

    def forward(self, inputs: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Run the network on inputs [V, F], beside them `extra` [V, I - F] if given, [V, O].

        For the kernels two tensors are cheaper than one made with `torch.cat`.
        """
        if extra is None:
            extra = inputs.new_empty(len(inputs), 0)
        elif extra.requires_grad:
            inputs, extra = torch.cat((inputs, extra), dim=1), inputs.new_empty(len(inputs), 0)
        expect(inputs, len(extra), self.widths[0] - extra.shape[1], name="inputs")
        if _is_compiled(inputs, extra, self.weights[0]):
            return _Network.apply(inputs, extra, *self.weights)
        if self._runs_triton(inputs, extra):
            from core.nn import triton_mlp

            return triton_mlp.Network.apply(inputs, extra, self.multiplies_half, *self.weights)
        if extra.shape[1]:
            inputs = torch.cat((inputs, extra), dim=1)
        return run_reference(inputs, list(self.weights))

    def _runs_triton(self, *tensors: torch.Tensor) -> bool:
        """Return whether the Triton kernels can take these inputs [V, ...] and the weights."""
        widest = max(*self.widths[1:], *(tensor.shape[1] for tensor in tensors))
        fits = self.multiplies_half or widest <= TRITON_WIDEST
        return (
            fits
            and len(self.weights) <= TRITON_LAYERS
            and triton_probe.is_usable(self.multiplies_half, *tensors, *self.weights)
        )

    def partial(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the first F inputs [V, F] add to the first hidden layer before its ReLU, [V, H]."""
        return features @ self.weights[0][: features.shape[1]]

    @torch.no_grad()
    def finish(self, partial: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        """Return the outputs [V, O] from `partial` [V, H] and the remaining inputs [V, I - F]; no gradient."""
        expect(partial, len(extra), self.widths[1], name="partial")
        rest = self.weights[0][self.widths[0] - extra.shape[1] :]
        weights = [rest, *list(self.weights)[1:]]
        if _is_compiled(partial, rest):
            return _run(extra, None, partial, weights)
        if self._runs_triton(extra, partial):
            from core.nn import triton_mlp

            return triton_mlp.run(extra, None, partial, weights, self.multiplies_half)
        hidden = torch.relu(partial + extra @ rest)
        return run_reference(hidden, weights[1:])


def run_reference(inputs: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Run the network with plain torch operations in any precision."""
    values = inputs
    for weight in weights[:-1]:
        values = torch.relu(values @ weight)
    return values @ weights[-1]


def _run(
    inputs: torch.Tensor,
    extra: torch.Tensor | None,
    base: torch.Tensor | None,
    weights: Sequence[torch.Tensor],
) -> torch.Tensor:
    packed, widths = packed_weights(weights)
    outputs = torch.empty(len(inputs), int(widths[-1]))
    arrays = (_NOTHING if tensor is None else _array(tensor) for tensor in (inputs, extra, base))
    kernels.forward(*arrays, packed, widths, outputs.numpy())
    return outputs


class _Network(torch.autograd.Function):
    """The compiled network; the hidden values are computed again in the backward."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, extra: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(inputs, extra, *weights)
        return _run(inputs, extra, None, weights)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, extra, *weights = ctx.saved_tensors
        packed, widths = packed_weights(weights)
        transposed = np.ascontiguousarray(packed.transpose(0, 2, 1))
        sums = np.empty((kernels.PARTS, *packed.shape), np.float32)
        wanted = inputs.shape if ctx.needs_input_grad[0] else (0, inputs.shape[1])
        input_gradient = torch.empty(wanted)
        kernels.backward(
            _array(inputs),
            _array(extra),
            packed,
            transposed,
            widths,
            _array(upstream),
            sums,
            input_gradient.numpy(),
        )
        total = torch.from_numpy(sums.sum(axis=0))  # [layers, P, P], parts added in order
        gradients = [
            total[layer, : weight.shape[0], : weight.shape[1]].contiguous()
            for layer, weight in enumerate(weights)
        ]
        return (input_gradient if ctx.needs_input_grad[0] else None, None, *gradients)


def packed_weights(weights: Sequence[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return all weights in one zero-padded array [layers, P, P], and the widths [layers + 1]."""
    widths = np.array([weights[0].shape[0], *(weight.shape[1] for weight in weights)])
    side = -(-int(widths.max()) // kernels.TILE) * kernels.TILE
    packed = np.zeros((len(weights), side, side), np.float32)
    for layer, weight in enumerate(weights):
        packed[layer, : weight.shape[0], : weight.shape[1]] = weight.detach().numpy()
    return packed, widths


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _is_compiled(*tensors: torch.Tensor) -> bool:
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
