"""What the parts of a program share while it is written: names, buffers, constants, and the facts that reports read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from seiche.ir.clocks import Clock
from seiche.ir.core import Equation, Scope, Var
from seiche.ir.loops import Buffer, Const, Expr, For, Load, Storage, Writer, carrier, integer
from seiche.ir.op import AnyArray
from seiche.numbers.formats import NAMED, Format, Type
from seiche.schedule.plan import EquationFact, ProductFact, SweepFact
from seiche.schedule.pull import identifier
from seiche.schedule.tasks import Place

INLINE_MAX = 16
"""Elements of the largest constant array that stands in the program text instead of the weights."""

RESERVED = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "asm",
        "typeof",
        "true",
        "false",
        "bool",
        "NULL",
        "offsetof",
        "and",
        "or",
        "xor",
        "not",
        "main",
        "errno",
        "stdin",
        "stdout",
        "stderr",
        "linux",
        "unix",
    ]
)
LIBRARY = frozenset(
    [
        "abort",
        "abs",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "calloc",
        "cbrt",
        "ceil",
        "conj",
        "copysign",
        "cos",
        "cosh",
        "erf",
        "erfc",
        "exit",
        "exp",
        "exp10",
        "exp2",
        "expm1",
        "fabs",
        "fdim",
        "ffs",
        "floor",
        "fma",
        "fmax",
        "fmin",
        "fmod",
        "free",
        "frexp",
        "gamma",
        "hypot",
        "index",
        "isalnum",
        "isalpha",
        "isdigit",
        "isfinite",
        "isinf",
        "isnan",
        "isnormal",
        "j0",
        "j1",
        "jn",
        "ldexp",
        "lgamma",
        "log",
        "log10",
        "log1p",
        "log2",
        "logb",
        "lrint",
        "malloc",
        "memchr",
        "memcmp",
        "memcpy",
        "memmove",
        "memset",
        "modf",
        "nan",
        "nearbyint",
        "pow",
        "printf",
        "putchar",
        "puts",
        "realloc",
        "remainder",
        "remquo",
        "rindex",
        "rint",
        "round",
        "scalb",
        "scalbn",
        "signbit",
        "significand",
        "sin",
        "sincos",
        "sinh",
        "sprintf",
        "sqrt",
        "strlen",
        "tan",
        "tanh",
        "tgamma",
        "toupper",
        "trunc",
        "y0",
        "y1",
        "yn",
        "tick",
        "self",
        "in",
        "out",
        "weights",
    ]
)
"""Functions that compilers know, and the names that each step uses: not for constants and pointers."""


HEADERS = frozenset(
    [
        "assert",
        "complex",
        "ctype",
        "errno",
        "fenv",
        "float",
        "inttypes",
        "iso646",
        "limits",
        "locale",
        "math",
        "setjmp",
        "signal",
        "stdarg",
        "stdbool",
        "stddef",
        "stdint",
        "stdio",
        "stdlib",
        "string",
        "tgmath",
        "time",
        "wchar",
        "wctype",
    ]
)
"""The standard headers: a program's own of that name would be found in their stead."""


class Names:
    """Unique identifiers, as close to the user's names as can be."""

    def __init__(self, taken: frozenset[str] = RESERVED) -> None:
        self.taken = set(taken)

    def __call__(self, scope: Scope, name: str, stem_end: bool = False) -> str:
        """`stem_end`: must not end in a digit as the names of locals do, or as those of functions."""
        stem = identifier("_".join((*scope, name)))
        if stem_end and (stem[-1].isdigit() or stem.endswith("_bool")):
            stem += "_"
        count, word = 1, stem
        while word in self.taken:
            count += 1
            word = f"{stem}_{count}{'_' if stem_end else ''}"
        self.taken.add(word)
        return word


def _names() -> dict[Storage, Names]:
    """A name space per struct; scratch and tables are names in the body of the step."""
    inner = Names(RESERVED | LIBRARY)
    members = RESERVED | {"fault", "fault_tick", "weights"} | {f"scratch_{f}" for f in NAMED}
    return {
        "state": Names(members), "scratch": inner, "table": inner, "in": Names(), "out": Names(), "weights": Names(),
    }  # fmt: skip


@dataclass(frozen=True)
class Constant:
    """An Access to a literal: the number itself where it is known, else an element of a table or of the weights."""

    shop: Shop
    var: Var
    value: AnyArray

    @property
    def type(self) -> Type:
        return self.var.type

    @property
    def uniform(self) -> bool:
        """Whether all elements have the same bits."""
        flat = np.ascontiguousarray(self.value).reshape(-1)
        return bool((flat.view(np.uint8).reshape(flat.size, -1) == flat[:1].view(np.uint8)).all())

    def __call__(self, *index: Expr | int) -> Expr:
        at = tuple(map(integer, index))
        format = carrier(self.type.format)
        if self.uniform:
            return Const(self.value.reshape(-1)[0].item(), format)
        if all(isinstance(i, Const) for i in at):
            return Const(
                self.value[tuple(int(i.value) for i in at if isinstance(i, Const))].item(), format
            )
        return Load(self.shop.constant(self.var, self.value), at)


@dataclass
class Shop:
    """Collects what one program is made of."""

    w: Writer = field(default_factory=Writer)
    formats: dict[Var, Format] = field(default_factory=dict["Var", Format])
    """Of Vars that hold units of fixed point."""
    names: dict[Storage, Names] = field(default_factory=lambda: _names())
    scratch: list[Buffer] = field(default_factory=list["Buffer"])
    weights: list[tuple[Buffer, AnyArray]] = field(default_factory=list["tuple[Buffer, AnyArray]"])
    tables: list[tuple[Buffer, AnyArray]] = field(default_factory=list["tuple[Buffer, AnyArray]"])
    carried: dict[Buffer, For] = field(default_factory=dict["Buffer", For])
    origin: dict[Buffer, Var] = field(default_factory=dict["Buffer", Var])
    equations: list[EquationFact] = field(default_factory=list["EquationFact"])
    sweeps: list[SweepFact] = field(default_factory=list["SweepFact"])
    products: list[ProductFact] = field(default_factory=list["ProductFact"])
    kinds: dict[Buffer, str] = field(default_factory=dict["Buffer", str])
    clock: Clock = ()
    """Of the equation of the node that is being written."""
    _constants: dict[object, Buffer] = field(default_factory=dict["object", Buffer])

    def buffer(
        self, var: Var, storage: Storage, type: Type | None = None, name: str = "", kind: str = ""
    ) -> Buffer:
        """A buffer for a Var's value (or for a stored stream of it); scratch is collected here."""
        scope = () if storage in ("in", "out") else var.scope
        word = self.names[storage](
            scope, name or var.name, stem_end=storage in ("scratch", "table")
        )
        title = "/".join((*scope, name or var.name))
        made = Buffer(word, type or var.type, storage, var.loc, title, self.formats.get(var))
        self.origin[made] = var
        self.kinds[made] = kind
        if storage == "scratch":
            self.scratch.append(made)
        return made

    def memory(self, var: Var, type: Type | None = None, name: str = "", kind: str = "") -> Place:
        """Scratch memory."""
        held = type or var.type
        return Place(held, self.buffer(var, "scratch", held, name, kind))

    def constant(self, var: Var, value: AnyArray) -> Buffer:
        """The table or weight that holds a literal; equal ones share it."""
        bits = (var.type, np.ascontiguousarray(value).tobytes())
        if bits not in self._constants:
            small = value.size <= INLINE_MAX
            made = self.buffer(var, "table" if small else "weights")
            (self.tables if small else self.weights).append((made, value))
            self._constants[bits] = made
        return self._constants[bits]

    def count(
        self, eq: Equation, what: str, operations: int, trips: int, inlined: bool, clock: Clock
    ) -> None:
        """Notes what an equation costs; `clock` is that within the region that it is in."""
        out, clock = eq.outs[0], (*self.clock, *clock)
        total = operations * trips
        self.equations.append(
            EquationFact(out.name, what, out.loc, out.scope, total, trips, inlined, clock)
        )

    @contextmanager
    def on(self, clock: Clock) -> Iterator[None]:
        """What is counted meanwhile runs on this clock."""
        before, self.clock = self.clock, (*self.clock, *clock)
        yield
        self.clock = before
