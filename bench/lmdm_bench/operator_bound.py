"""The least work of one operator call, from the shapes and dtypes that a profiler recorded of it.

Shapes are a trace's "Input Dims" and "Input type", scalars its "Concrete Inputs". What a call has
to do at least is its FLOPs (a multiply and an add as two), and its inputs and output once through
the memory; moving or filling memory without computing is work that need not be done at all.
"""

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lmdm_bench.record import Ceiling

MS_PER_SECOND = 1e3

_ITEM_BYTES = {
    "c10::BFloat16": 2,
    "c10::Half": 2,
    "float": 4,
    "double": 8,
    "long int": 8,
    "long": 8,
    "long long": 8,
    "int": 4,
    "short": 2,
    "short int": 2,
    "signed char": 1,
    "unsigned char": 1,
    "bool": 1,
}
# Of a list's tensors the profiler records no dtype.
_UNTOLD_ITEM_BYTES = 4

# Operators that neither compute nor move numbers: they look at a tensor in another way, make room
# for one, or ask something about one.
IDLE = frozenset(
    f"aten::{name}"
    for name in (
        *("view", "transpose", "transpose_", "unsqueeze", "slice", "expand", "permute", "t", "mT"),
        *("select", "split", "alias", "detach", "detach_", "_unsafe_view", "squeeze", "unbind"),
        *("as_strided", "as_strided_", "chunk", "narrow", "split_with_sizes", "lift_fresh"),
        *("_reshape_alias", "unflatten", "view_as", "expand_as", "unfold", "resize_"),
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
        *("promote_types", "result_type", "resolve_conj", "resolve_neg", "is_same_size"),
        *("_nnpack_available", "is_nonzero", "item"),
    )
)
# Operators that pass their work on to others, which the trace has inside them.
WRAPPERS = frozenset(
    f"aten::{name}"
    for name in (
        *("to", "_to_copy", "type_as", "contiguous", "clone", "reshape", "flatten", "stack"),
        *("pad", "constant_pad_nd", "layer_norm", "rms_norm", "softmax", "matmul", "linear"),
        *("square", "square_", "conv1d", "conv2d", "convolution", "_convolution", "thnn_conv2d"),
        *("new_zeros", "new_full", "zeros", "zeros_like", "ones", "full", "full_like", "randn"),
        *("repeat", "repeat_interleave", "isfinite", "embedding", "scaled_dot_product_attention"),
    )
)

# Numbers that are only moved, joined, converted or filled.
_MOVEMENT = frozenset(("aten::copy_", "aten::cat", "aten::fill_", "aten::zero_"))
# In what order an operator takes the two factors of a matrix product.
_PRODUCTS = {
    "aten::mm": (0, 1),
    "aten::bmm": (0, 1),
    "aten::addmm": (1, 2),
    "aten::baddbmm": (1, 2),
    "aten::_addmm_activation": (1, 2),
    "aten::mv": (0, 1),
    "aten::dot": (0, 1),
}
# Rows [… , in] by a weight [out, in].
_LINEARS = frozenset(("aten::linear", "mkldnn::_linear_pointwise"))
_ATTENTION = frozenset(
    (
        "aten::scaled_dot_product_attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_attention_math",
        "aten::_scaled_dot_product_fused_attention_overrideable",
    )
)
# Around each library's own, whose arguments are in other orders.
_CONVOLUTION = "aten::convolution"
# Only the named rows of the first input are read or written: (rows, …) by position.
_INTO_ROWS = {"aten::index_copy_": 3, "aten::index_add_": 3, "aten::scatter_": 3}
_OF_ROWS = {"aten::index_select": 2, "aten::gather": 2, "aten::embedding": 1}
# What is read is larger than what comes out.
_REDUCTIONS = frozenset(
    f"aten::{name}" for name in ("sum", "mean", "amax", "amin", "max", "min", "all", "any", "prod")
)


@dataclass(frozen=True)
class Call:
    """One operator call as a trace has it: a shape for each argument, [] where it is no tensor, a
    list of shapes where it is several."""

    name: str
    shapes: tuple[tuple[object, ...], ...] = ()
    dtypes: tuple[str, ...] = ()
    concrete: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """``is_product``: a matrix product (or convolution, or attention) rather than an elementwise
    one; ``is_movement``: nothing is computed, so that all of its time is avoidable."""

    flops: float = 0.0
    num_bytes: float = 0.0
    is_product: bool = False
    is_movement: bool = False

    def bound_ms(self, ceiling: Ceiling) -> float:
        """What the machine needs for it at least; 0 for movement."""
        seconds = max(
            self.flops / ceiling.flops_per_second, self.num_bytes / ceiling.bytes_per_second
        )
        return 0.0 if self.is_movement else seconds * MS_PER_SECOND


def is_computing(name: str) -> bool:
    """Whether an operator does something itself, besides making a view, room or another call."""
    return name not in IDLE and name not in WRAPPERS


def is_known(name: str) -> bool:
    """Whether the work of a call can be told from its shapes: torch's operators, no others'."""
    return name.startswith(("aten::", "mkldnn::", "onednn::"))


def stands_for_its_parts(name: str) -> bool:
    """Whether ``work_of`` speaks for a call with all that is called inside it."""
    return is_computing(name) or name in _LINEARS | _ATTENTION | {_CONVOLUTION}


def work_of(call: Call) -> Work | None:
    """The least work of a call; None where its shapes do not tell."""
    if call.name in _MOVEMENT:
        return Work(is_movement=True)
    if not is_known(call.name):
        return None
    try:
        return _work(call)
    except (IndexError, TypeError, ValueError):
        # An overload with other arguments: nothing is claimed about it.
        return None


def _work(call: Call) -> Work | None:
    if call.name in _LINEARS:
        rows, weight = _shape(call, 0), _shape(call, 1)
        out = (*rows[:-1], weight[0])
        return _product(call, (rows, weight, out), rows[-1])
    if call.name in _PRODUCTS:
        first, second = (_shape(call, index) for index in _PRODUCTS[call.name])
        out = (*first[:-1], *second[len(first) - 1 :])
        return _product(call, (first, second, out), first[-1])
    if call.name in _ATTENTION:
        return _attention(call)
    if call.name == _CONVOLUTION:
        return _convolution(call)
    return _elementwise(call)


def _product(call: Call, tensors: Sequence[tuple[int, ...]], summed: int) -> Work:
    """A product whose last tensor is its result, of sums of so many products."""
    item = _item_bytes(call, 0)
    return Work(
        flops=2.0 * math.prod(tensors[-1]) * summed,
        num_bytes=float(item * sum(math.prod(one) for one in tensors)),
        is_product=True,
    )


def _attention(call: Call) -> Work:
    query, key, value = (_shape(call, index) for index in range(3))
    scores = math.prod(query[:-1]) * key[-2]
    numbers = 2 * math.prod(query) + math.prod(key) + math.prod(value)
    return Work(
        flops=2.0 * scores * (query[-1] + value[-1]),
        num_bytes=float(_item_bytes(call, 0) * numbers),
        is_product=True,
    )


def _convolution(call: Call) -> Work:
    """``aten::convolution(input, weight, bias, stride, padding, dilation, transposed, …)``."""
    rows, weight = _shape(call, 0), _shape(call, 1)
    stride, padding, dilation = (_numbers(call.concrete[index]) for index in (3, 4, 5))
    is_transposed = call.concrete[6] == "True"
    out_padding, groups = _numbers(call.concrete[7]), int(call.concrete[8])
    kernel = weight[2:]
    lengths = []
    for axis, length in enumerate(rows[2:]):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if is_transposed:
            grown = (length - 1) * stride[axis] - 2 * padding[axis] + reach + out_padding[axis]
            lengths.append(grown)
        else:
            lengths.append((length + 2 * padding[axis] - reach) // stride[axis] + 1)
    channels = weight[1] * groups if is_transposed else weight[0]
    out = (rows[0], channels, *lengths)
    # Each number of the longer side meets each of a filter's, over the channels of its group.
    meetings = math.prod(rows if is_transposed else out) * math.prod(weight[1:])
    numbers = math.prod(rows) + math.prod(weight) + math.prod(out)
    return Work(2.0 * meetings, float(_item_bytes(call, 0) * numbers), is_product=True)


def _elementwise(call: Call) -> Work:
    """Inputs and output once through the memory."""
    if call.name in _INTO_ROWS:
        rows = _INTO_ROWS[call.name]
        return Work(num_bytes=2.0 * math.prod(_shape(call, rows)) * _item_bytes(call, rows))
    if call.name in _OF_ROWS:
        return Work(num_bytes=2.0 * _taken_rows(call) * _item_bytes(call, 0))
    tensors = list(_tensors(call))
    read = sum(math.prod(shape) * item for shape, item in tensors)
    if not tensors:
        return Work()
    shapes = [shape for shape, _ in tensors]
    written = 0 if call.name in _REDUCTIONS else math.prod(_broadcast(shapes))
    item = max(item for _, item in tensors)
    # One operation for each number, which no machine is held up by.
    return Work(num_bytes=float(read + written * item))


def _taken_rows(call: Call) -> int:
    """How many numbers are read of the first input, by the indices that name its rows."""
    index = math.prod(_shape(call, _OF_ROWS[call.name]))
    if call.name == "aten::gather":
        return index
    source = _shape(call, 0)
    if call.name == "aten::embedding":
        return index * math.prod(source[1:])
    axis = int(call.concrete[1])
    return math.prod(source) // max(1, source[axis]) * index


def _tensors(call: Call) -> list[tuple[tuple[int, ...], int]]:
    """Each input tensor's shape and bytes per number; a tensor without dimensions is left out,
    since the profiler tells it from a number by its dtype alone."""
    found = []
    for index, shape in enumerate(call.shapes):
        if shape and isinstance(shape[0], list | tuple):
            found += [
                (tuple(int(size) for size in one), _UNTOLD_ITEM_BYTES)  # type: ignore[attr-defined]
                for one in shape
            ]
        elif shape:
            found.append((_shape(call, index), _item_bytes(call, index)))
    return found


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of the result, or the largest input's where they are no broadcast."""
    longest = max(len(shape) for shape in shapes)
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    sizes = [{size for size in axis if size != 1} or {1} for axis in zip(*padded, strict=True)]
    if any(len(axis) > 1 for axis in sizes):
        return max(shapes, key=math.prod)
    return tuple(axis.pop() for axis in sizes)


def _shape(call: Call, index: int) -> tuple[int, ...]:
    shape = call.shapes[index]
    if not shape:
        raise ValueError(f"argument {index} of {call.name} is no tensor")
    return tuple(int(size) for size in shape)  # type: ignore[call-overload]


def _item_bytes(call: Call, index: int) -> int:
    return _ITEM_BYTES.get(call.dtypes[index], _UNTOLD_ITEM_BYTES)


def _numbers(text: str) -> list[int]:
    return [int(one) for one in ast.literal_eval(text)]
