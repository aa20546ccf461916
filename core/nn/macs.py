"""Count the multiply-adds that a module really does, by watching one forward pass.

    counts = multiply_adds(model, picture[:1])   # {"blocks.0.project": 98304, ..., "": 0}
    sum(counts.values())                         # of the whole pass
    by_part(counts, depth=2)                     # {"blocks.0": 212992, ...}

One multiply-add is one product that is summed up: `a*b + c`. Matrix products, linear maps,
convolutions, einsum and scaled dot-product attention count, wherever in the module they stand;
normalisation, activations and element-wise products do not, as papers count. A count is that of
the inputs given: hand over a batch of one for the cost of one.

torch's own counter watches operators one layer deeper, where it loads torch's compiler, which
crashes a process whose window is drawn in software; here Python's calls into torch are watched.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

PRODUCTS = ("matmul", "__matmul__", "mm", "bmm", "mv", "dot")
SUMMED_PRODUCTS = ("addmm", "baddbmm")  # the matrix that is added comes first
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
NOT_COUNTED = (  # they hide products inside: better no number than a wrong one
    "multi_head_attention_forward",
    "bilinear",
    "tensordot",
    "multi_dot",
    "addbmm",
    "addmv",
    "lstm",
    "gru",
)


def multiply_adds(module: nn.Module, *inputs: Any, **named: Any) -> dict[str, int]:
    """Run a module once and return its multiply-adds by dotted name of the innermost module at work.

    What stands in the module's own forward is under "". Mode and parameters are left as found.
    """
    watch = _Watch()
    with ExitStack() as stack:
        stack.enter_context(measuring(module))
        stack.enter_context(torch.no_grad())
        for name, part in module.named_modules():
            before = part.register_forward_pre_hook(lambda *_, name=name: watch.enter(name))
            after = part.register_forward_hook(lambda *_: watch.leave())
            stack.callback(before.remove)
            stack.callback(after.remove)
        stack.enter_context(watch)
        module(*inputs, **named)
    return dict(watch.counts)


def by_part(counts: dict[str, int], depth: int = 1) -> dict[str, int]:
    """Sum counts over the first `depth` names of each module, in the order in which they ran."""
    found: Counter[str] = Counter()
    for name, count in counts.items():
        found[".".join(name.split(".")[:depth])] += count
    return dict(found)


@contextmanager
def measuring(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation and every part of it back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, is_training in modes:
            part.training = is_training


class _Watch(TorchFunctionMode):
    """Sees every call of a torch function while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.names: list[str] = []

    def enter(self, name: str) -> None:
        self.names.append(name)
        self.counts[name] += 0

    def leave(self) -> None:
        self.names.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        name = getattr(func, "__name__", "")
        if name in NOT_COUNTED:
            raise ValueError(f"Multiply-adds inside torch's {name} cannot be counted.")
        self.counts[self.names[-1] if self.names else ""] += _cost(name, args, named, result)
        return result


def _cost(name: str, args: Any, named: Any, result: Any) -> int:
    """Return the multiply-adds of one call."""
    if name in PRODUCTS:
        return int(result.numel() * args[0].shape[-1])
    if name in SUMMED_PRODUCTS:
        return int(result.numel() * args[1].shape[-1])
    if name == "einsum":
        return _einsum_cost(args)
    if name == "scaled_dot_product_attention":
        query, key, value = args[:3]
        pairs = query.numel() // query.shape[-1] * key.shape[-2]
        return int(pairs * (query.shape[-1] + value.shape[-1]))
    weight = args[1] if len(args) > 1 else named.get("weight")
    if name == "linear":
        return int(result.numel() * weight.shape[-1])
    if name in CONVOLUTIONS:
        return int(result.numel() * weight[0].numel())
    if name in TRANSPOSED:
        return int(args[0].numel() * weight[0].numel())
    return 0


def _einsum_cost(args: Any) -> int:
    """Return the product of the sizes of all letters: each pair of elements meets once."""
    pattern, operands = args[0], args[1:]
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if len(operands) > 2:
        raise ValueError(
            f"Multiply-adds of einsum '{pattern}' depend on its order: write it as pairs."
        )
    sizes: dict[str, int] = {}
    spread: list[tuple[int, ...]] = []
    for letters, operand in zip(pattern.split("->")[0].split(","), operands, strict=True):
        first, dots, last = letters.replace(" ", "").partition("...")
        shape = tuple(operand.shape)
        ends = shape[: len(first)] + shape[len(shape) - len(last) :]
        sizes.update(
            {
                letter: max(size, sizes.get(letter, 1))
                for letter, size in zip(first + last, ends, strict=True)
            }
        )
        if dots:
            spread.append(shape[len(first) : len(shape) - len(last)])
    return (
        math.prod(sizes.values()) * math.prod(torch.broadcast_shapes(*spread))
        if len(operands) > 1
        else 0
    )
