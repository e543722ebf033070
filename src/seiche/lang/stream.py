"""Streams: tensors that arrive tick by tick, with numpy's operators, broadcasting and indexing.

Python numbers and numpy arrays are *weak*: they adopt the format of the stream they meet (integers may become real, reals
never integers). Formats of streams are never converted implicitly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np

from seiche.errors import SeicheError, fail
from seiche.ir import tree
from seiche.ir.builder import broadcast_shapes
from seiche.ir.core import Apply, Lit, Var
from seiche.ir.op import OPS, SignatureError, Use, use
from seiche.lang import parameters, trace
from seiche.lang.guards import Guarded
from seiche.lang.parameters import Named
from seiche.lang.trace import Region
from seiche.numbers import formats
from seiche.numbers.formats import Format, Shape, Type

Constant: TypeAlias = "bool | int | float | np.ndarray[Any, Any] | np.generic"
Tensor: TypeAlias = "Stream | Constant"


class Stream(Guarded):
    """A value per tick of a clock. Made by nodes, states and operations; never by calling this class."""

    __array_priority__ = 1000
    __slots__ = ("region", "var")

    def __init__(self, var: Var, region: Region) -> None:
        self.var = var
        self.region = region

    # What it holds.

    @property
    def type(self) -> Type:
        """Format and shape of one tick."""
        return self.var.type

    @property
    def format(self) -> Format:
        return self.var.type.format

    @property
    def shape(self) -> Shape:
        return self.var.type.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.var.type.size

    def __len__(self) -> int:
        if not self.shape:
            raise fail("SE201", f"len() of the scalar `{self.var.name}`", trace.here())
        return self.shape[0]

    def __iter__(self) -> Iterator[Stream]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<stream {self.var.name}: {self.var.type}>"

    # Operators.

    def __add__(self, other: Tensor) -> Stream:
        return binary("add", self, other)

    def __radd__(self, other: Tensor) -> Stream:
        return binary("add", other, self)

    def __sub__(self, other: Tensor) -> Stream:
        return binary("sub", self, other)

    def __rsub__(self, other: Tensor) -> Stream:
        return binary("sub", other, self)

    def __mul__(self, other: Tensor) -> Stream:
        return binary("mul", self, other)

    def __rmul__(self, other: Tensor) -> Stream:
        return binary("mul", other, self)

    def __truediv__(self, other: Tensor) -> Stream:
        return binary("div", self, other)

    def __rtruediv__(self, other: Tensor) -> Stream:
        return binary("div", other, self)

    def __floordiv__(self, other: Tensor) -> Stream:
        return binary("floor_div", self, other)

    def __rfloordiv__(self, other: Tensor) -> Stream:
        return binary("floor_div", other, self)

    def __mod__(self, other: Tensor) -> Stream:
        return binary("mod", self, other)

    def __rmod__(self, other: Tensor) -> Stream:
        return binary("mod", other, self)

    def __pow__(self, other: Tensor) -> Stream:
        if isinstance(other, int | float) and other == 2:
            return apply("square", self)
        if self.format.is_integer and isinstance(other, int) and other >= 0:
            return _multiplied(self, other)
        return binary("pow", self, other)

    def __rpow__(self, other: Tensor) -> Stream:
        return binary("pow", other, self)

    def __matmul__(self, other: Tensor) -> Stream:
        from seiche.lang.functions import matmul

        return matmul(self, other)

    def __rmatmul__(self, other: Tensor) -> Stream:
        from seiche.lang.functions import matmul

        return matmul(other, self)

    def __neg__(self) -> Stream:
        return apply("neg", self)

    def __pos__(self) -> Stream:
        return self

    def __abs__(self) -> Stream:
        return apply("abs", self)

    def __round__(self) -> Stream:
        return apply("round", self)

    def __and__(self, other: Tensor) -> Stream:
        return binary(_logic("and", self), self, other)

    def __rand__(self, other: Tensor) -> Stream:
        return binary(_logic("and", self), other, self)

    def __or__(self, other: Tensor) -> Stream:
        return binary(_logic("or", self), self, other)

    def __ror__(self, other: Tensor) -> Stream:
        return binary(_logic("or", self), other, self)

    def __xor__(self, other: Tensor) -> Stream:
        return binary(_logic("xor", self), self, other)

    def __rxor__(self, other: Tensor) -> Stream:
        return binary(_logic("xor", self), other, self)

    def __invert__(self) -> Stream:
        return apply(_logic("not", self), self)

    def __lshift__(self, other: Tensor) -> Stream:
        return binary("shift_left", self, other)

    def __rlshift__(self, other: Tensor) -> Stream:
        return binary("shift_left", other, self)

    def __rshift__(self, other: Tensor) -> Stream:
        return binary("shift_right", self, other)

    def __rrshift__(self, other: Tensor) -> Stream:
        return binary("shift_right", other, self)

    def __lt__(self, other: Tensor) -> Stream:
        return binary("lt", self, other)

    def __le__(self, other: Tensor) -> Stream:
        return binary("le", self, other)

    def __gt__(self, other: Tensor) -> Stream:
        return binary("gt", self, other)

    def __ge__(self, other: Tensor) -> Stream:
        return binary("ge", self, other)

    def __eq__(self, other: object) -> Stream:  # type: ignore[override]
        return binary("eq", self, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Stream:  # type: ignore[override]
        return binary("ne", self, other)  # type: ignore[arg-type]

    __hash__ = object.__hash__

    # Indexing.

    def __getitem__(self, key: Any) -> Stream:
        from seiche.lang.indexing import getitem

        return getitem(self, key)

    @property
    def at(self) -> Any:
        """`x.at[i].set(row)` and `x.at[i].add(row)`: a changed copy."""
        from seiche.lang.indexing import At

        return At(self)

    # numpy's methods.

    @property
    def T(self) -> Stream:
        """The transpose."""
        return apply("transpose", self, perm=tuple(range(self.ndim))[::-1])

    def to(self, format: Format) -> Stream:
        """Converted to another format, rounding to nearest even; float to integer truncates and saturates."""
        return self if format == self.format else apply("convert", self, format=format)

    def reshape(self, *shape: int | Shape) -> Stream:
        """In row-major order; one length may be -1."""
        from seiche.lang.functions import reshape

        return reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        from seiche.lang import functions

        if name in functions.METHODS:
            function = getattr(functions, name)

            def method(*args: Any, **kwargs: Any) -> Stream:
                return function(self, *args, **kwargs)

            return method
        raise AttributeError(f"a stream has no attribute {name!r}")


def _logic(name: str, x: Stream) -> str:
    return f"logical_{name}" if x.format is formats.bool_ else f"bit_{name}"


def _multiplied(x: Stream, n: int) -> Stream:
    """x to the n by squaring."""
    if n == 0:
        return broadcast_to(constant(1, x.format), x.shape)
    half = _multiplied(x, n // 2) if n > 1 else None
    even = x if half is None else half * half
    return even * x if n > 1 and n % 2 else even


# Constants.


def natural(value: Constant) -> Format:
    """The format of a constant that nothing else decides: f32 for reals, i32 for integers, else its dtype's.

    >>> natural(1.5), natural(2), natural(True), natural(np.float16(1))
    (f32, i32, bool, f16)
    """
    dtype = np.asarray(value).dtype
    weak = {"f": formats.f32, "i": formats.i32, "b": formats.bool_}
    if dtype.kind in weak and (dtype.itemsize == 8 or dtype.kind == "b"):
        return weak[dtype.kind]
    names = {"float16": "f16", "float32": "f32"}
    name = names.get(dtype.name, dtype.name.replace("uint", "u").replace("int", "i"))
    if name not in formats.NAMED:
        raise fail("SE201", f"a constant of numpy's dtype {dtype} is no number", trace.here())
    return formats.NAMED[name]


def adopts(value: Constant, format: Format) -> bool:
    """Whether a constant may take that format: integers also become reals, never the reverse.

    >>> adopts(1, formats.bf16), adopts(0.5, formats.i32)
    (True, False)
    """
    kind = np.asarray(value).dtype.kind
    if format.is_float:
        return kind in "fiu"
    return kind in "iu" if format.is_integer else kind == "b"


def constant(value: Constant, format: Format | None = None) -> Stream:
    """A constant stream, in the format given or the natural one. Raises SE201 for integers that it does not hold.

    >>> constant(0.5)
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: ...
    """
    chosen = _chosen(np.asarray(value), format)
    return _literal(parameters.of_user(value, lambda x: represent(x, chosen), chosen))


def made(value: np.ndarray[Any, Any], format: Format | None = None) -> Stream:
    """A constant that is no parameter of the program: the language made it, or it belongs to a state."""
    chosen = _chosen(value, format)
    return _literal(Named(Lit(represent(value, chosen)), chosen[value.shape]))


def _chosen(value: np.ndarray[Any, Any], format: Format | None) -> Format:
    """The format of a constant, which holds it."""
    chosen = format or natural(value)
    if format is not None and not adopts(value, format):
        raise fail(
            "SE203", f"a constant of {natural(value)} where {format} is needed", trace.here()
        )
    _in_range(value, chosen)
    return chosen


def _literal(named: Named, region: Region | None = None) -> Stream:
    region = region or trace.current().region
    graph = region.graph
    graph.stand()
    var = graph.define(named.lit, named.type, named.name)
    var.scope = var.scope if named.scope is None else named.scope
    graph.constants[var] = named.lit
    return Stream(var, region)


def _in_range(value: np.ndarray[Any, Any], format: Format) -> None:
    if not format.is_integer or not value.size:
        return
    low, high, limits = int(value.min()), int(value.max()), np.iinfo(format.dtype)
    if low < limits.min or high > limits.max:
        odd = low if low < limits.min else high
        raise fail(
            "SE201", f"the constant {odd} does not fit {format}", trace.here(), f"{format} is {limits.min}..{limits.max}",
            hint="choose a wider format for it: sc.constant(value, sc.i64)",
        )  # fmt: skip


def represent(value: np.ndarray[Any, Any], format: Format) -> np.ndarray[Any, Any]:
    """The values in the format's carrier, rounded to nearest even where the carrier is wider."""
    from seiche.numbers.kit import NUMPY
    from seiche.numbers.rounding import round_nearest

    array = value.astype(format.dtype)
    return array if format.exact else np.asarray(round_nearest(NUMPY, array, format))


def as_stream(x: Tensor, format: Format | None = None, *, named: bool = True) -> Stream:
    """x as a stream; a constant takes `format` where it may, else its natural one. It is a parameter if `named`."""
    if isinstance(x, Stream):
        return x
    array = _array(x)
    chosen = format if format is not None and adopts(array, format) else None
    if not named:
        return made(array, chosen)
    return constant(x if isinstance(x, list | tuple) else array, chosen)


def _array(x: Any) -> np.ndarray[Any, Any]:
    if isinstance(x, list | tuple) and any(isinstance(item, Stream) for item in x):
        raise fail(
            "SE201", "a list of streams is no tensor", trace.here(), hint="use sc.stack([...])"
        )
    array = np.asarray(x)
    if array.dtype == object and isinstance(x, int):
        raise fail("SE201", f"the constant {x} fits no format", trace.here())
    if array.dtype.kind not in "biuf":
        raise fail("SE109", f"{x!r} is neither a stream nor a number", trace.here())
    return array


def of_one_format(*xs: Tensor) -> tuple[Stream, ...]:
    """Streams, where constants adopt the first stream's format; without a stream all are real when one of them is."""
    format = next((x.format for x in xs if isinstance(x, Stream)), None)
    if format is None:
        natural_ones = [natural(np.asarray(x)) for x in xs]
        format = next((f for f in natural_ones if f.is_float), None)
    return tuple(as_stream(x, format) for x in xs)


def together(*xs: Tensor) -> tuple[Stream, ...]:
    """Streams of one format and shape: constants adopt the streams' format, shapes broadcast. Raises SE203 and SE201."""
    operands = of_one_format(*xs)
    same_format(*operands)
    try:
        shape = broadcast_shapes(*(o.shape for o in operands))
    except ValueError:
        why = tuple((f"`{o.var.name}` is {o.type}", o.var.loc) for o in operands)
        shapes = " and ".join(str(list(o.shape)) for o in operands)
        raise fail("SE201", f"shapes {shapes} do not broadcast", trace.here(), *why) from None
    return tuple(broadcast_to(o, shape) for o in operands)


def same_format(a: Stream, *others: Stream) -> None:
    """Raises SE203 when streams meet in two formats."""
    for b in others:
        if b.format != a.format:
            raise fail(
                "SE203", f"{a.format} and {b.format} in one operation", trace.here(),
                (f"`{a.var.name}` is {a.type}", a.var.loc), (f"`{b.var.name}` is {b.type}", b.var.loc),
                hint=f"convert one of them: `{b.var.name}.to({spelled(a.format)})`",
            )  # fmt: skip


def spelled(format: Format) -> str:
    """A format as the user writes it.

    >>> spelled(formats.bf16), spelled(formats.bool_), spelled(formats.fixed(4, 12))
    ('sc.bf16', 'sc.bool_', 'sc.fixed(4, 12)')
    """
    text = format.name.replace("<", "(").replace(">", ")").replace("float(", "float_(")
    return f"sc.{'bool_' if text == 'bool' else text}"


def broadcast_to(x: Tensor, shape: Shape) -> Stream:
    """x repeated to a shape by numpy's rule; raises SE201."""
    stream = as_stream(x)
    return stream if stream.shape == shape else apply("broadcast", stream, shape=shape)


def conform(value: Stream, type: Type, of: Var, broadcast: bool = False) -> Stream:
    """The value, which must have that type (or broadcast to it); keeps SE201 or SE203 otherwise."""
    if value.type == type:
        return value
    if broadcast and value.format == type.format and _broadcasts(value.shape, type.shape):
        return broadcast_to(value, type.shape)
    code = "SE203" if value.format != type.format else "SE201"
    error = fail(
        code, f"`{of.name}` holds {type}, the value is {value.type}", trace.here(),
        (f"`{of.name}` was made here", of.loc), (f"the value `{value.var.name}`", value.var.loc),
        hint=f"convert it: .to({spelled(type.format)})" if code == "SE203" else "reshape or broadcast it",
    )  # fmt: skip
    return recover(error, type, value)


def _broadcasts(shape: Shape, wanted: Shape) -> bool:
    try:
        return broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def recover(error: SeicheError, type: Type, *operands: Any) -> Stream:
    """Keeps an error of types until the end of the trace, and goes on with a stand-in of that type.

    What the stand-in makes fail later is not reported: it is a consequence. Other errors are raised.
    """
    region = trace.current().region
    graph, spoiled = region.graph, region.graph.top.spoiled
    if error.code not in ("SE109", "SE111", "SE201", "SE202", "SE203", "SE302"):
        raise error
    streams = [o for o in operands if isinstance(o, Stream)]
    if not any(s.var in spoiled for s in streams):
        graph.diagnostics.extend(error.diagnostics)
    graph.stand()
    var = graph.lit(0, type, streams[0].var.name if streams else "k")
    spoiled.add(var)
    return Stream(var, region)


F = TypeVar("F", bound=Callable[..., Any])


def recovering(function: F) -> F:
    """A function on streams with one for a result that keeps its errors of types: its first stream stands in."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Stream:
        try:
            return function(*args, **kwargs)
        except SeicheError as error:
            streams = [x for x in tree.flatten((args, kwargs))[0] if isinstance(x, Stream)]
            if not streams:
                raise
            return recover(error, streams[0].type, *streams)

    return cast(F, guarded)


@recovering
def binary(op: str, a: Tensor, b: Tensor) -> Stream:
    """A pointwise op of two."""
    return apply(op, *together(a, b))


def apply(op: str, *args: Stream, **params: Any) -> Stream:
    """An op of the table on streams; constants are computed here and now."""
    region = trace.current().region
    home = trace.home_of(args, region)
    operands = tuple(trace.lift(a, region) for a in args)
    try:
        found = use(op, tuple(v.type for v in operands), params)
    except SignatureError as error:
        why = (str(error), *((f"`{v.name}` is {v.type}", v.loc) for v in operands))
        return recover(
            fail("SE201", f"`{op}` does not apply to these types", trace.here(), *why),
            args[0].type,
            *args,
        )
    graph = region.graph
    known = [graph.constants.get(v) for v in operands]
    if found.out.size <= FOLD and all(lit is not None for lit in known):
        return _folded(op, [lit for lit in known if lit], found, home)
    var = graph.new(Apply(op, operands, params), found.out, op)
    if any(v in graph.top.spoiled for v in operands):
        graph.top.spoiled.add(var)
    return Stream(var, home)


FOLD = 65536
"""Constants of up to so many elements are folded while tracing."""


def _folded(op: str, args: Sequence[Lit], found: Use, home: Region) -> Stream:
    def compute(*values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with np.errstate(all="ignore"):
            return represent(np.asarray(OPS[op].value(values, found)), found.out.format)

    return _literal(parameters.derived(op, args, compute, found.out), home)
