"""Eight or sixteen float32 numbers in one vector register, for kernels whose sums must stay there.

The compiler turns simple inner loops into vector instructions by itself, but what lives across an
outer loop it keeps in memory, one load and one store per use. `Lanes` is a type of compiled code
(nothing of it runs in Python) with + - * / and comparisons; a float32 beside it is spread over all
lanes. WIDTH is 16 where registers are 512 bits long and 8 elsewhere; where they are shorter still
the compiler splits them.

lanes = read(array, place)     array [n] float32, WIDTH numbers from `place` on
write(array, place, lanes)
where(mask, lanes, lanes)      mask: what comparisons give
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.binding
import llvmlite.ir as ir
import numba
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model


def _has_long_registers() -> bool:
    features = numba.config.CPU_FEATURES
    if features is None:
        try:
            features = llvmlite.binding.get_host_cpu_features().flatten()
        except RuntimeError:  # unknown to the compiler on this kind of processor
            return False
    return "+avx512vl" in features.split(",")


WIDTH = 16 if _has_long_registers() else 8
_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_BITS = ir.VectorType(ir.IntType(1), WIDTH)
_INDEX = ir.IntType(32)


class LanesType(types.Type):
    """WIDTH float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


class MaskType(types.Type):
    """WIDTH truth values."""

    def __init__(self) -> None:
        super().__init__(name="Mask")


LANES, MASK = LanesType(), MaskType()


def _register(kind: type[types.Type], vector: ir.VectorType) -> None:
    class Model(models.PrimitiveModel):
        def __init__(self, manager: Any, numba_type: types.Type) -> None:
            super().__init__(manager, numba_type, vector)

    register_model(kind)(Model)


_register(LanesType, _VECTOR)
_register(MaskType, _BITS)


def _spread(builder: Any, number: Any) -> Any:
    """Copy one float32 into every lane."""
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, number, _INDEX(0))
    return builder.shuffle_vector(
        first, empty, ir.Constant(ir.VectorType(_INDEX, WIDTH), [0] * WIDTH)
    )


def _operator(function: Callable[..., Any], result: types.Type, build: Callable[..., Any]) -> None:
    """Teach the compiler one operator between lanes, and between lanes and a float32."""

    @infer_global(function)
    class Typing(AbstractTemplate):  # numba reads it through the decorator
        def generic(self, args: Any, kws: Any) -> Any:
            if LANES in args and all(arg in (LANES, types.float32) for arg in args):
                return signature(result, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        both = [
            value if kind == LANES else _spread(builder, value)
            for kind, value in zip(sig.args, args, strict=True)
        ]
        return build(builder, *both)

    for pair in ((LANES, LANES), (LANES, types.float32), (types.float32, LANES)):
        lower_builtin(function, *pair)(lower)


def _comparison(sign: str) -> Callable[..., Any]:
    return lambda builder, a, b: builder.fcmp_ordered(sign, a, b)


_operator(operator.add, LANES, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.iadd, LANES, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.sub, LANES, lambda builder, a, b: builder.fsub(a, b))
_operator(operator.mul, LANES, lambda builder, a, b: builder.fmul(a, b))
_operator(operator.truediv, LANES, lambda builder, a, b: builder.fdiv(a, b))
_operator(operator.le, MASK, _comparison("<="))
_operator(operator.gt, MASK, _comparison(">"))


def _address(
    context: Any, builder: Any, array_type: Any, array: Any, place: Any, vector: Any = _VECTOR
) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), vector.as_pointer())


def _call(builder: Any, name: str, value: Any) -> Any:
    """Call an LLVM operation on all lanes."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    full_name = f"llvm.{name}.v{WIDTH}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full_name), [value])


@intrinsic
def read(typing: Any, array: Any, place: Any) -> Any:
    """Return WIDTH numbers of `array` from `place` on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, sig.args[0], *args)
        return builder.load(address, align=4)

    return LANES(array, types.intp), build


@intrinsic
def write(typing: Any, array: Any, place: Any, lanes: Any) -> Any:
    """Put WIDTH numbers into `array` from `place` on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, sig.args[0], *args[:2])
        builder.store(args[2], address, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, LANES), build


@intrinsic
def spread(typing: Any, number: Any) -> Any:
    """Return one number in every lane."""
    return LANES(types.float32), lambda context, builder, sig, args: _spread(builder, args[0])


def constant(values: Iterable[float]) -> Any:
    """Return a function for kernels, without arguments, that gives these WIDTH numbers."""
    numbers = [float(value) for value in values]

    @intrinsic
    def lanes(typing: Any) -> Any:
        return LANES(), lambda context, builder, sig, args: ir.Constant(_VECTOR, numbers)

    return lanes


@intrinsic
def where(typing: Any, mask: Any, chosen: Any, other: Any) -> Any:
    """Return `chosen` where the mask holds, `other` elsewhere."""
    return LANES(MASK, LANES, LANES), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def least(typing: Any, a: Any, b: Any) -> Any:
    """Return the smaller number of each lane."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return LANES(LANES, LANES), build


@intrinsic
def most(typing: Any, a: Any, b: Any) -> Any:
    """Return the larger number of each lane."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return LANES(LANES, LANES), build


@intrinsic
def magnitude(typing: Any, lanes: Any) -> Any:
    """Return absolute values."""
    return LANES(LANES), lambda context, builder, sig, args: _call(builder, "fabs", args[0])


@intrinsic
def root(typing: Any, lanes: Any) -> Any:
    """Return square roots."""
    return LANES(LANES), lambda context, builder, sig, args: _call(builder, "sqrt", args[0])


@intrinsic
def upwards(typing: Any, lanes: Any) -> Any:
    """Return whole numbers, rounded up."""
    return LANES(LANES), lambda context, builder, sig, args: _call(builder, "ceil", args[0])


@intrinsic
def any_lane(typing: Any, mask: Any) -> Any:
    """Whether the mask holds in any lane."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte = builder.bitcast(args[0], ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", byte, byte.type(0))

    return types.boolean(MASK), build


def _shuffled(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, len(lanes)), lanes))


def _add_neighbours(builder: Any, a: Any, b: Any) -> Any:
    """Add neighbouring lanes of two vectors of eight, in the order that needs one shuffle each."""
    even = [0, 2, 8, 10, 4, 6, 12, 14]
    odd = [lane + 1 for lane in even]
    return builder.fadd(_shuffled(builder, a, b, even), _shuffled(builder, a, b, odd))


def _add_halves(builder: Any, a: Any, b: Any, lanes: list[int], step: int) -> Any:
    high = [lane + step for lane in lanes]
    return builder.fadd(_shuffled(builder, a, b, lanes), _shuffled(builder, a, b, high))


def _sums_of_eight(builder: Any, vectors: Any) -> Any:
    """Return the sums of eight vectors as one vector of eight: a tree of shuffles and additions."""
    if WIDTH == 16:
        vectors = [_add_halves(builder, v, v, list(range(8)), 8) for v in vectors]
    while len(vectors) > 2:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [_add_neighbours(builder, *pair) for pair in pairs]
    return _add_halves(builder, *vectors, [0, 1, 2, 3, 8, 9, 10, 11], 4)


@intrinsic
def write_sums(
    typing: Any,
    array: Any,
    place: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    e: Any,
    f: Any,
    g: Any,
    h: Any,
) -> Any:
    """Put the sums of eight vectors into `array` from `place` on: a third of what eight sums would cost."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = _sums_of_eight(builder, args[2:])
        address = _address(context, builder, sig.args[0], *args[:2], sums.type)
        builder.store(sums, address, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, *[LANES] * 8), build


@intrinsic
def write_four_sums(typing: Any, array: Any, place: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Put the sums of four vectors into `array` from `place` on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = _sums_of_eight(builder, [*args[2:], *args[2:]])
        four = _shuffled(builder, sums, sums, [0, 1, 2, 3])
        address = _address(context, builder, sig.args[0], *args[:2], four.type)
        builder.store(four, address, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, *[LANES] * 4), build


@intrinsic
def fetch(typing: Any, array: Any, row: Any) -> Any:
    """Bring the cache line at array[row, 0] near; nothing waits for it."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = context.make_array(sig.args[0])(context, builder, args[0])
        stride = builder.extract_value(values.strides, 0)
        data = builder.bitcast(values.data, ir.IntType(8).as_pointer())
        address = builder.gep(data, [builder.mul(stride, args[1])])
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp), build
