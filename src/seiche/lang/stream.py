"""Streams: tensors that arrive tick by tick, with numpy's operators, broadcasting and indexing.

Python numbers and numpy arrays of Python's default types (float64, int64, bool) are *weak*: they adopt the format of the
stream they meet. Formats of streams are never converted implicitly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn, TypeAlias

import numpy as np

from seiche.errors import Diagnostic, SeicheError, fail
from seiche.ir.builder import broadcast_shapes
from seiche.ir.core import Apply, Lit, Var
from seiche.ir.op import OPS, SignatureError, use
from seiche.lang import trace
from seiche.lang.trace import Region
from seiche.numbers import formats
from seiche.numbers.formats import Format, Shape, Type

Constant: TypeAlias = "bool | int | float | np.ndarray[Any, Any] | np.generic"
Tensor: TypeAlias = "Stream | Constant"


class Stream:
    """A value per tick of a clock. Made by nodes, states and operations; never by calling this class."""

    __array_priority__ = 1000
    __slots__ = ("region", "var")

    def __init__(self, var: Var, region: Region) -> None:
        self.var = var
        self.region = region

    def lifted(self, region: Region) -> Var:
        """Its Var as seen in that region."""
        return trace.lift(self, region)

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

    def __rshift__(self, other: Tensor) -> Stream:
        return binary("shift_right", self, other)

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

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise fail(
            "SE104", f"`{self.var.name}[...] = ...` would change a stream in place", trace.here(),
            ("streams are values", self.var.loc),
            hint=f"write `{self.var.name} = {self.var.name}.at[...].set(value)`",
        )  # fmt: skip

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

        return reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        from seiche.lang import functions

        if name in functions.METHODS:
            function = getattr(functions, name)

            def method(*args: Any, **kwargs: Any) -> Stream:
                return function(self, *args, **kwargs)

            return method
        raise AttributeError(f"a stream has no attribute {name!r}")

    # What a stream is not.

    def __bool__(self) -> NoReturn:
        raise fail(
            "SE101", f"the truth of `{self.var.name}` is not known while tracing: it is a stream", trace.here(),
            (f"`{self.var.name}` is {self.var.type}", self.var.loc),
            hint="choose with sc.where(c, a, b); join clocks with sc.merge(c, a, b); activate with `with sc.every(c):`; "
            "use & | ~ for logic; change modes with sc.automaton()",
        )  # fmt: skip

    def _static(self, *_: Any, **__: Any) -> NoReturn:
        raise fail(
            "SE110", f"`{self.var.name}` has no value while tracing: it is a stream", trace.here(),
            (f"`{self.var.name}` is {self.var.type}", self.var.loc),
            hint="use the functions of seiche in place of numpy's and math's; shapes, axes and loop counts are Python numbers",
        )  # fmt: skip

    __float__ = __int__ = __index__ = __complex__ = __array__ = _static
    __array_ufunc__ = None


def _logic(name: str, x: Stream) -> str:
    return f"logical_{name}" if x.format is formats.bool_ else f"bit_{name}"


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
    """A constant stream, in the format given or the natural one.

    >>> constant(0.5)
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: ...
    """
    chosen = format or natural(value)
    if format is not None and not adopts(value, format):
        raise fail("SE203", f"a constant of {natural(value)} where {format} is needed", trace.here())
    region = trace.current().region
    array = represent(np.asarray(value), chosen)
    type_ = chosen[np.asarray(value).shape]
    graph = region.graph
    graph.loc, graph.scope = trace.here(), trace.current().path
    lit = Lit(array)
    var = graph.define(lit, type_, "k")
    graph.constants[var] = lit
    return Stream(var, region)


def represent(value: np.ndarray[Any, Any], format: Format) -> np.ndarray[Any, Any]:
    """The values in the format's carrier, rounded to nearest even where the carrier is wider."""
    from seiche.numbers.kit import NUMPY
    from seiche.numbers.rounding import round_nearest

    array = value.astype(format.dtype)
    return array if format.exact else np.asarray(round_nearest(NUMPY, array, format))


def is_stream(x: object) -> bool:
    """Whether x is a stream (or a state)."""
    return isinstance(x, Stream)


def as_stream(x: Tensor, format: Format | None = None) -> Stream:
    """x as a stream; a constant takes `format` where it may, else its natural one."""
    if isinstance(x, Stream):
        return x
    if not isinstance(x, bool | int | float | np.ndarray | np.generic):
        x = _array(x)
    return constant(x, format if format is not None and adopts(x, format) else None)


def _array(x: Any) -> np.ndarray[Any, Any]:
    if isinstance(x, list | tuple) and any(isinstance(item, Stream) for item in x):
        raise fail("SE201", "a list of streams is no tensor", trace.here(), hint="use sc.stack([...])")
    array = np.asarray(x)
    if array.dtype == object:
        raise fail("SE109", f"{x!r} is neither a stream nor a number", trace.here())
    return array


def together(*xs: Tensor) -> tuple[Stream, ...]:
    """Streams of one format and shape: constants adopt the streams' format, shapes broadcast."""
    streams = [x for x in xs if isinstance(x, Stream)]
    format = streams[0].format if streams else None
    operands = tuple(as_stream(x, format) for x in xs)
    odd = next((o for o in operands if o.format != operands[0].format), None)
    if odd is not None:
        raise _mixed(operands[0], odd)
    try:
        shape = broadcast_shapes(*(o.shape for o in operands))
    except ValueError:
        raise _shapes(operands) from None
    return tuple(broadcast_to(o, shape) for o in operands)


def _mixed(a: Stream, b: Stream) -> SeicheError:
    return fail(
        "SE203", f"{a.format} and {b.format} in one operation", trace.here(),
        (f"`{a.var.name}` is {a.type}", a.var.loc), (f"`{b.var.name}` is {b.type}", b.var.loc),
        hint=f"convert one of them: `{b.var.name}.to(sc.{a.format})`",
    )  # fmt: skip


def _shapes(operands: tuple[Stream, ...]) -> SeicheError:
    why = tuple((f"`{o.var.name}` is {o.type}", o.var.loc) for o in operands)
    shapes = " and ".join(str(list(o.shape)) for o in operands)
    return SeicheError([Diagnostic("SE201", f"shapes {shapes} do not broadcast", trace.here(), why)])


def broadcast_to(x: Tensor, shape: Shape) -> Stream:
    """x repeated to a shape by numpy's rule; raises SE201."""
    stream = as_stream(x)
    return stream if stream.shape == shape else apply("broadcast", stream, shape=shape)


def conform_types(value: Stream, like: Var) -> Stream:
    """The value, broadcast to a Var's shape; SE201 or SE203 when it does not have its type."""
    if value.format != like.type.format:
        code, why = "SE203", f"`{like.name}` is {like.type}, the value {value.type}"
        raise fail(code, "formats differ", trace.here(), (why, like.loc))
    return broadcast_to(value, like.type.shape)


def binary(op: str, a: Tensor, b: Tensor) -> Stream:
    """A pointwise op of two."""
    try:
        return apply(op, *together(a, b))
    except SeicheError as error:
        return recover(error, *(x for x in (a, b) if isinstance(x, Stream)))


def recover(error: SeicheError, *operands: Stream) -> Stream:
    """Keeps a type error until the end of the trace, and goes on with a stand-in of the first operand's type.

    What the stand-in makes fail later is not reported: it is a consequence.
    """
    region = trace.current().region
    spoiled = region.graph.top.spoiled
    if error.code not in ("SE201", "SE203") or not operands:
        raise error
    if not any(o.var in spoiled for o in operands):
        region.graph.diagnostics.extend(error.diagnostics)
    var = region.graph.lit(0, operands[0].type, operands[0].var.name)
    spoiled.add(var)
    return Stream(var, region)


def apply(op: str, *args: Stream, **params: Any) -> Stream:
    """An op of the table on streams; constants are computed here and now."""
    region = trace.current().region
    home = trace.home_of(args, region)
    operands = tuple(trace.lift(a, region) for a in args)
    try:
        found = use(op, tuple(v.type for v in operands), params)
    except SignatureError as error:
        return recover(SeicheError([trace.typed(op, error, args)]), *args)
    graph = region.graph
    graph.loc, graph.scope = trace.here(), trace.current().path
    known = [graph.constants.get(v) for v in operands]
    if found.out.size <= FOLD and all(lit is not None for lit in known):
        return _folded(op, tuple(lit.value for lit in known if lit), found, home)
    var = graph.define(Apply(op, operands, params), found.out, op)
    if any(v in graph.top.spoiled for v in operands):
        graph.top.spoiled.add(var)
    return Stream(var, home)


FOLD = 65536
"""Constants of up to so many elements are folded while tracing."""


def _folded(op: str, values: tuple[np.ndarray[Any, Any], ...], found: Any, home: Region) -> Stream:
    lit = Lit(represent(np.asarray(OPS[op].value(values, found)), found.out.format))
    var = home.graph.define(lit, found.out, op)
    home.graph.constants[var] = lit
    return Stream(var, home)
