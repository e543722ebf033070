"""The imperative IR below the equations: scalar expressions, loops, buffers, and a machine of memories and methods.

It plays the part of Heptagon's Obc (Biernacki et al. 2008), with loops and arrays. Kernels of ops write it through a
`Writer`; back ends of C's kind print it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np

from seiche.errors import NOWHERE, Loc
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Type

Storage: TypeAlias = Literal["state", "scratch", "weights", "table", "in", "out", "local"]
"""`table`: a constant array of the program text; `weights`: one of the blob that `init` is given."""


@dataclass(eq=False)
class Buffer:
    """A dense row-major array (or scalar, shape `()`) in one format's carrier. Identity is the object.

    `name` is an identifier; `title` is what the user calls it, with the path of instances. `units`: the format of fixed point whose
    units of the last place its integers count.
    """

    name: str
    type: Type
    storage: Storage
    loc: Loc = NOWHERE
    title: str = ""
    units: Format | None = None


class Expr:
    """A scalar expression; operators build larger ones. Python numbers adopt the other operand's format.

    With `lanes` above 1 it is as many values side by side: operators work lane by lane, a scalar operand is the same in all.
    Lanes are of f32 or f64, and no more than names, loads, constants, `+ - * /`, the unary minus and choices by comparisons have
    them; of u32 and u64, the bits of these and `& | ^`; of i32 and u32, the calls in `ops.packed`. Lanes of f32, i32, u32 and bool
    may meet, in what `ir.vectors.Widening` makes of short loops.
    """

    format: Format
    lanes: int = 1

    def _bin(self, op: str, other: Operand, swap: bool = False) -> Expr:
        right = constant(other, self.format)
        return Binary(op, right, self) if swap else Binary(op, self, right)

    def __add__(self, other: Operand) -> Expr:
        return self._bin("+", other)

    def __radd__(self, other: Operand) -> Expr:
        return self._bin("+", other, True)

    def __sub__(self, other: Operand) -> Expr:
        return self._bin("-", other)

    def __rsub__(self, other: Operand) -> Expr:
        return self._bin("-", other, True)

    def __mul__(self, other: Operand) -> Expr:
        return self._bin("*", other)

    def __rmul__(self, other: Operand) -> Expr:
        return self._bin("*", other, True)

    def __truediv__(self, other: Operand) -> Expr:
        return self._bin("/", other)

    def __rtruediv__(self, other: Operand) -> Expr:
        return self._bin("/", other, True)

    def __floordiv__(self, other: Operand) -> Expr:
        """Integer quotient, truncated; only for non-negative operands and a positive divisor (index arithmetic)."""
        return self._bin("/", other)

    def __mod__(self, other: Operand) -> Expr:
        """Integer remainder; only for non-negative operands and a positive divisor (index arithmetic)."""
        return self._bin("%", other)

    def __and__(self, other: Operand) -> Expr:
        return self._bin("&", other)

    def __or__(self, other: Operand) -> Expr:
        return self._bin("|", other)

    def __xor__(self, other: Operand) -> Expr:
        return self._bin("^", other)

    def __rand__(self, other: Operand) -> Expr:
        return self._bin("&", other, True)

    def __ror__(self, other: Operand) -> Expr:
        return self._bin("|", other, True)

    def __rxor__(self, other: Operand) -> Expr:
        return self._bin("^", other, True)

    def __lshift__(self, other: Operand) -> Expr:
        return self._bin("<<", other)

    def __rshift__(self, other: Operand) -> Expr:
        return self._bin(">>", other)

    def __invert__(self) -> Expr:
        return Unary("!" if self.format is fmt.bool_ else "~", self)

    def __neg__(self) -> Expr:
        return Unary("-", self)

    def __lt__(self, other: Operand) -> Expr:
        return self._bin("<", other)

    def __le__(self, other: Operand) -> Expr:
        return self._bin("<=", other)

    def __gt__(self, other: Operand) -> Expr:
        return self._bin(">", other)

    def __ge__(self, other: Operand) -> Expr:
        return self._bin(">=", other)

    def eq(self, other: Operand) -> Expr:
        return self._bin("==", other)

    def ne(self, other: Operand) -> Expr:
        return self._bin("!=", other)

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return self.eq(other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return self.ne(other)  # type: ignore[arg-type]

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("an expression of the generated program has no truth value here")


Operand: TypeAlias = "Expr | int | float | bool | np.generic"
COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})


@dataclass(eq=False)
class Const(Expr):
    value: float | int | bool
    format: Format


@dataclass(eq=False)
class Name(Expr):
    """A loop index, a `Let` or a `Local`."""

    name: str
    format: Format
    lanes: int = 1


@dataclass(eq=False)
class Load(Expr):
    """The element there, or `lanes` elements from there on in row-major order; with lanes in the index, the element at each place."""

    buffer: Buffer
    index: tuple[Expr, ...]
    lanes: int = 1

    def __post_init__(self) -> None:
        self.format = carrier(self.buffer.type.format)


@dataclass(eq=False)
class Unary(Expr):
    op: str
    arg: Expr

    def __post_init__(self) -> None:
        self.format, self.lanes = self.arg.format, self.arg.lanes


@dataclass(eq=False)
class Binary(Expr):
    """Both sides are of one carrier format (shift counts too); comparisons give bool; integers wrap."""

    op: str
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        self.format = fmt.bool_ if self.op in COMPARISONS else self.left.format
        self.lanes = max(self.left.lanes, self.right.lanes)


@dataclass(eq=False)
class Choose(Expr):
    """yes where cond, else no. Back ends may evaluate both. In lanes, cond joins comparisons of values of the same format."""

    cond: Expr
    yes: Expr
    no: Expr

    def __post_init__(self) -> None:
        self.format = self.yes.format
        self.lanes = max(self.cond.lanes, self.yes.lanes, self.no.lanes)


@dataclass(eq=False)
class Convert(Expr):
    """C's conversion between carriers (float to integer truncates: the argument is in range)."""

    arg: Expr
    format: Format
    lanes: int = 1


@dataclass(eq=False)
class Intrinsic(Expr):
    """`bits`, `from_bits` (reinterpretation) or `sqrt`."""

    name: Literal["bits", "from_bits", "sqrt"]
    arg: Expr

    def __post_init__(self) -> None:
        turned = {"f32": fmt.u32, "f64": fmt.u64, "u32": fmt.f32, "u64": fmt.f64}
        self.format = self.arg.format if self.name == "sqrt" else turned[self.arg.format.name]
        self.lanes = self.arg.lanes


@dataclass(eq=False)
class Invoke(Expr):
    """A scalar function written over the kit, printed once per program: `body(kit, *args)`; `name` identifies it."""

    name: str
    body: Callable[..., Expr]
    args: tuple[Expr, ...]
    format: Format
    lanes: int = 1


@dataclass(eq=False)
class Let:
    """A constant local."""

    name: Name
    value: Expr


@dataclass(eq=False)
class Local:
    """A mutable local scalar."""

    name: Name
    value: Expr


@dataclass(eq=False)
class Declare:
    """A local array (storage "local"): its content is undefined; it lives until the enclosing block ends."""

    buffer: Buffer


@dataclass(eq=False)
class Assign:
    name: Name
    value: Expr


@dataclass(eq=False)
class Store:
    """Stores a value, or all its lanes from there on in row-major order."""

    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr


@dataclass(eq=False)
class For:
    """`index` from `start` to `stop` (exclusive), ascending, or descending when `reverse`. Bounds are i32 expressions.

    `parallel`: iterations are independent and touch no common element (a vectoriser may trust it).
    """

    index: Name
    start: Expr
    stop: Expr
    body: list[Stmt]
    reverse: bool = False
    parallel: bool = False


@dataclass(eq=False)
class If:
    cond: Expr
    yes: list[Stmt]
    no: list[Stmt]


@dataclass(eq=False)
class Note:
    """Where the following statements come from: a line of the user's."""

    text: str
    loc: Loc = NOWHERE


Stmt: TypeAlias = Let | Local | Declare | Assign | Store | For | If | Note


class Access(Protocol):
    """How a kernel reads an argument: `arg(i, j)` is its element there, `arg.type` its type."""

    @property
    def type(self) -> Type: ...

    def __call__(self, *index: Expr | int) -> Expr: ...


class Result(Protocol):
    """How a kernel stores its result, and reads what it stored: elements in the carrier, not rounded.

    A sum may be stored several times: with `part` as long as terms are missing, with `put` at the end. Where a reader is computed
    as the result is stored (`fused`), `put` stores what the reader makes of it; `takes` says whether it can be given lanes.
    """

    @property
    def type(self) -> Type: ...

    @property
    def fused(self) -> bool: ...

    def put(self, index: tuple[Expr | int, ...], value: Expr) -> None: ...

    def part(self, index: tuple[Expr | int, ...], value: Expr) -> None: ...

    def get(self, index: tuple[Expr | int, ...]) -> Expr: ...

    def takes(self, index: tuple[Expr | int, ...], lanes: int) -> bool: ...


class Hardware(Protocol):
    """What kernels know of a processor: bytes of a vector register (0: none), how many accumulators fit in registers, bytes of
    its data caches, the formats that it computes itself, how many products of small integers it adds to a sum of 32 bits by one
    instruction (0: it has none for that), and how many terms of a sum are written out where there are no vectors. A target is one.
    It decides how fast, never which bits.
    """

    @property
    def vector(self) -> int: ...

    @property
    def registers(self) -> int: ...

    @property
    def caches(self) -> tuple[int, ...]: ...

    @property
    def floats(self) -> tuple[str, ...]: ...

    @property
    def dots(self) -> int: ...

    @property
    def unroll(self) -> int: ...


@dataclass(frozen=True)
class Plain:
    """A processor of which nothing is known."""

    vector: int = 0
    registers: int = 16
    caches: tuple[int, ...] = ()
    floats: tuple[str, ...] = ("f32", "f64")
    dots: int = 0
    unroll: int = 1


PLAIN = Plain()


def carrier(format: Format) -> Format:
    """The machine format that holds a format's values."""
    return fmt.NAMED[format.carrier]


def constant(value: Operand, format: Format) -> Expr:
    """An expression as it is; a Python number as a constant of that format."""
    return value if isinstance(value, Expr) else Const(_plain(value), format)


def integer(value: Expr | int) -> Expr:
    """An index."""
    return constant(value, fmt.i32)


def _plain(value: float | int | bool | np.generic) -> float | int | bool:
    return value.item() if isinstance(value, np.generic) else value


@dataclass
class Writer:
    """Writes statements; is also the `Kit` whose values are expressions."""

    block: list[Stmt] = field(default_factory=list["Stmt"])
    prefix: str = ""
    counter: list[int] = field(default_factory=lambda: [0])
    hardware: Hardware = PLAIN
    scratch: Callable[[str, Type], Buffer] | None = None
    """Makes scratch memory, where there is an arena for it."""
    facts: list[object] = field(default_factory=list["object"])
    """What kernels chose, for the report."""

    def fresh(self, stem: str, format: Format, lanes: int = 1) -> Name:
        """A new local name."""
        self.counter[0] += 1
        return Name(f"{self.prefix}{stem}{self.counter[0]}", format, lanes)

    def memory(self, shape: tuple[int, ...], format: Format, stem: str) -> Array:
        """An array that is too large for the stack: in scratch memory, where there is any."""
        if self.scratch is None:
            return self.array(shape, format, stem)
        return Array(self, self.scratch(stem, Type(carrier(format), shape)))

    @contextmanager
    def into(self, block: list[Stmt]) -> Iterator[None]:
        """Statements go to `block` meanwhile."""
        before, self.block = self.block, block
        try:
            yield
        finally:
            self.block = before

    @contextmanager
    def loop(
        self,
        stop: Expr | int,
        start: Expr | int = 0,
        reverse: bool = False,
        parallel: bool = False,
    ) -> Iterator[Expr]:
        """`with w.loop(n) as i:` — a static trip count of 1 becomes no loop."""
        if isinstance(stop, int) and isinstance(start, int) and stop - start == 1:
            yield integer(start)
            return
        index = self.fresh("i", fmt.i32)
        loop = For(index, integer(start), integer(stop), [], reverse, parallel)
        self.block.append(loop)
        with self.into(loop.body):
            yield index

    @contextmanager
    def loops(self, shape: tuple[int, ...], parallel: bool = True) -> Iterator[tuple[Expr, ...]]:
        """Nested loops over all indices of a shape."""
        if not shape:
            yield ()
            return
        with self.loop(shape[0], parallel=parallel) as i, self.loops(shape[1:], parallel) as rest:
            yield (i, *rest)

    @contextmanager
    def when(self, cond: Expr) -> Iterator[None]:
        """`with w.when(c):` — statements under an if."""
        branch = If(cond, [], [])
        self.block.append(branch)
        with self.into(branch.yes):
            yield

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The else of the `when` just closed."""
        branch = self.block[-1]
        assert isinstance(branch, If)
        with self.into(branch.no):
            yield

    def local(self, value: Expr, stem: str = "a", lanes: int = 1) -> Name:
        """A mutable scalar, or lanes that all start as it, or as its lanes."""
        name = self.fresh(stem, value.format, max(lanes, value.lanes))
        self.block.append(Local(name, value))
        return name

    def array(self, shape: tuple[int, ...], format: Format, stem: str = "t") -> Array:
        """A local array in the format's carrier, its content undefined: `t.put((i,), x)`, `t.get((i,))`."""
        buffer = Buffer(
            self.fresh(stem, carrier(format)).name, Type(carrier(format), shape), "local"
        )
        self.block.append(Declare(buffer))
        return Array(self, buffer)

    def assign(self, name: Name, value: Expr) -> None:
        self.block.append(Assign(name, value))

    def store(self, buffer: Buffer, index: tuple[Expr | int, ...], value: Expr) -> None:
        assert len(index) == len(buffer.type.shape), (buffer, index)
        self.block.append(Store(buffer, tuple(map(integer, index)), value))

    def note(self, text: str, loc: Loc = NOWHERE) -> None:
        self.block.append(Note(text, loc))

    # The kit.

    def const(self, value: float | int | bool, format: Format) -> Expr:
        return Const(_plain(value), carrier(format))

    def select(self, cond: Expr, yes: Operand, no: Operand) -> Expr:
        typed = yes if isinstance(yes, Expr) else no
        assert isinstance(typed, Expr), "one branch of select needs a format"
        return Choose(cond, constant(yes, typed.format), constant(no, typed.format))

    def convert(self, x: Expr, format: Format) -> Expr:
        return x if x.format is format else Convert(x, format)

    def bits(self, x: Expr) -> Expr:
        return Intrinsic("bits", x)

    def from_bits(self, u: Expr) -> Expr:
        return Intrinsic("from_bits", u)

    def sqrt(self, x: Expr) -> Expr:
        return Intrinsic("sqrt", x)

    def let(self, x: Expr) -> Expr:
        if isinstance(x, Const | Name):
            return x
        name = self.fresh("v", x.format, x.lanes)
        self.block.append(Let(name, x))
        return name

    def invoke(self, name: str, body: Callable[..., Expr], *args: Expr, format: Format) -> Expr:
        """A call of a scalar function that is printed once; `body(kit, *args)` writes it."""
        return Invoke(f"{name}_{'_'.join(a.format.name for a in args)}", body, args, format)


@dataclass(frozen=True)
class Array:
    """A buffer together with the writer that stores into it: a `Result`."""

    writer: Writer
    buffer: Buffer

    @property
    def type(self) -> Type:
        return self.buffer.type

    @property
    def fused(self) -> bool:
        return False

    def put(self, index: tuple[Expr | int, ...], value: Expr) -> None:
        self.writer.store(self.buffer, index, value)

    part = put

    def takes(self, index: tuple[Expr | int, ...], lanes: int) -> bool:
        return True

    def get(self, index: tuple[Expr | int, ...]) -> Expr:
        assert len(index) == len(self.buffer.type.shape), (self.buffer, index)
        return Load(self.buffer, tuple(map(integer, index)))


@dataclass
class Machine:
    """A class with memories and two methods, ready to print.

    `offsets` places each scratch buffer in the arena of its carrier, `arenas` says how many elements that has. `present` maps
    an output to the flag that says whether it has a value at this tick. `fault` holds the number of the failed check. `ended`:
    the last input is the hidden one that is true at the ticks after the last. `checks` says in words what the numbers mean,
    `fault_tick` counts the ticks up to the one that failed (where there are contracts).
    """

    name: str
    state: list[Buffer]
    scratch: list[Buffer]
    weights: list[tuple[Buffer, np.ndarray]]
    tables: list[tuple[Buffer, np.ndarray]]
    inputs: list[Buffer]
    outputs: list[Buffer]
    present: dict[Buffer, Buffer]
    fault: Buffer | None
    ended: bool
    offsets: dict[Buffer, int]
    arenas: dict[Format, int]
    reset: list[Stmt]
    step: list[Stmt]
    checks: tuple[str, ...] = ()
    fault_tick: Buffer | None = None
