"""Elements on demand: a value that has no memory of its own is computed where a consumer asks for it, at the index asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from seiche.ir.core import Apply, Equation, Var, When
from seiche.ir.loops import (
    PLAIN,
    Access,
    Array,
    Binary,
    Buffer,
    Choose,
    Const,
    Convert,
    Expr,
    Hardware,
    Intrinsic,
    Invoke,
    Let,
    Load,
    Name,
    Unary,
    Writer,
    carrier,
    integer,
)
from seiche.ir.op import OPS, Element, Kernel, Use
from seiche.ir.positions import Index, flat_index, key
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import Kit, Value
from seiche.numbers.rounding import round_nearest

DEPTH_MAX = 8
"""Levels of an expression before it gets a name: keeps the text readable and compilers' brackets shallow."""


def use_of(apply: Apply, out: Var) -> Use:
    return Use(tuple(a.type for a in apply.args), apply.params, out.type)


def identifier(text: str) -> str:
    """Text as (part of) a C identifier.

    >>> identifier("fixed<4, 12>"), identifier("2x")
    ('fixed_4_12', 'v2x')
    """
    word = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "v"
    return f"v{word}" if word[0].isdigit() else word


def stem_of(name: str) -> str:
    """The user's name as what a writer appends its counter to."""
    word = identifier(name)
    # `tanh_f` and the counter 32 would be the name of a function.
    return f"{word}_" if word[-1].isdigit() or word.endswith(("_f", "_i", "_u")) else word


def named(w: Writer, stem: str, value: Expr) -> Name:
    """A constant local that carries the user's name. Names that the writer makes end in its counter and so never clash."""
    name = w.fresh(stem_of(stem), value.format)
    w.block.append(Let(name, value))
    return name


def rounded(w: Writer, value: Expr, format: Format) -> Expr:
    """The value of an op, rounded to a small format."""
    if format.exact:
        return value

    def body(k: Kit, x: Value) -> Value:
        return round_nearest(k, x, format)

    return w.invoke(f"round_{identifier(format.name)}", body, value, format=carrier(format))


def depth(e: Expr, most: int) -> int:
    """Levels of operators, counted up to `most`."""
    match e:
        case _ if most == 0:
            return 0
        case Binary(_, left, right):
            return 1 + max(depth(left, most - 1), depth(right, most - 1))
        case Unary(_, arg) | Convert(arg) | Intrinsic(_, arg):
            return 1 + depth(arg, most - 1)
        case Choose(cond, yes, no):
            return 1 + max(depth(x, most - 1) for x in (cond, yes, no))
        case Invoke(_, _, args):
            return 1 + max(depth(x, most - 1) for x in args)
        case _:
            return 0


# Pulling.


@dataclass
class Puller:
    """`at(var, index)`: what is stored is loaded, the rest is computed on the spot. `leaf(var)` is the access to what is stored.

    Inside `with sharing()` a value that got a name in the block is not computed again there.
    """

    w: Writer
    defs: dict[Var, Equation]
    leaf: Callable[[Var], Access | None]
    shared: dict[tuple[Var, Any], Name] | None = None
    home: int = 0
    keep: list[Expr] = field(default_factory=list["Expr"])

    def access(self, var: Var) -> Access:
        return Pulled(self, var) if self.leaf(var) is None else Reading(self, var)

    def at(self, var: Var, index: Index) -> Expr:
        here = (var, key(flat_index(index, var.type.shape)))
        if self.shared is not None and here in self.shared:
            return self.shared[here]
        stored = self.leaf(var)
        if stored is not None:
            return stored(*index)
        return self.computed(var, index)

    def computed(self, var: Var, index: Index) -> Expr:
        """The value of an element-wise equation at an index."""
        rhs = self.defs[var].rhs
        if isinstance(rhs, When):
            return self.at(rhs.arg, index)
        assert isinstance(rhs, Apply), (var, rhs)
        code = PICKED if rhs.op == "concat" else code_of(rhs, var)
        assert isinstance(code, Element), (var, rhs)
        value = code.at(self.w, index, tuple(map(self.access, rhs.args)), use_of(rhs, var))
        if not (var.type.format.exact or is_move(rhs, var)):
            value = rounded(self.w, value, var.type.format)
        users = not isinstance(value, Const | Name | Load) and var.name != rhs.op
        if users or depth(value, DEPTH_MAX) == DEPTH_MAX:
            value = named(self.w, var.name, value)
            self.share(var, index, value)
        return value

    def share(self, var: Var, index: Index, name: Name) -> None:
        """Makes a name known to the other consumers of the block."""
        if self.shared is not None and id(self.w.block) == self.home:
            self.keep += index
            self.shared[var, key(flat_index(index, var.type.shape))] = name

    @contextmanager
    def sharing(self) -> Iterator[None]:
        before = self.shared, self.home
        self.shared, self.home = {}, id(self.w.block)
        try:
            yield
        finally:
            self.shared, self.home = before


@dataclass(frozen=True)
class Pulled:
    """An Access that computes."""

    puller: Puller
    var: Var

    @property
    def type(self) -> Type:
        return self.var.type

    def __call__(self, *index: Expr | int) -> Expr:
        return self.puller.at(self.var, tuple(map(integer, index)))


class Reading(Pulled):
    """An Access that loads."""


# How often an op reads.

MANY = 1 << 30
"""Iterations of a loop whose bounds are not static."""


class Meter(Writer):
    """A writer whose text is thrown away: it knows how often the place it stands at runs."""

    def __init__(self, hardware: Hardware = PLAIN) -> None:
        super().__init__(hardware=hardware)
        self.trips = 1

    @contextmanager
    def loop(
        self, stop: Expr | int, start: Expr | int = 0, reverse: bool = False, parallel: bool = False
    ) -> Iterator[Expr]:
        trips = stop - start if isinstance(stop, int) and isinstance(start, int) else MANY
        before, self.trips = self.trips, min(MANY, self.trips * max(1, trips))
        with super().loop(stop, start, reverse, parallel) as index:
            yield index
        self.trips = before


@dataclass
class Counter:
    """An Access that counts: `sites` in the text, `reads` when it runs."""

    meter: Meter
    type: Type
    buffer: Buffer
    sites: int = 0
    reads: int = 0

    def __call__(self, *index: Expr | int) -> Expr:
        self.sites += 1
        self.reads += self.meter.trips
        return Load(self.buffer, tuple(map(integer, index)))


@dataclass(frozen=True)
class Pattern:
    """How an op reads its arguments: per element of the result (Element) or in all (Kernel).

    `view`: the result is nothing but an element of an argument, at an index that takes no statement to compute.
    """

    reads: tuple[int, ...]
    sites: tuple[int, ...]
    view: bool


def pattern(code: Element | Kernel, use: Use, hardware: Hardware = PLAIN) -> Pattern:
    """Writes the op once, as it is written for that hardware, and looks."""
    meter = Meter(hardware)
    args = [Counter(meter, t, Buffer(f"arg{i}", t, "in")) for i, t in enumerate(use.types)]
    index = tuple(Name(f"at{k}", integer(0).format) for k in range(len(use.out.shape)))
    view = False
    if isinstance(code, Element):
        value = code.at(meter, index, tuple(args), use)
        view = not meter.block and isinstance(value, Const | Load)
    else:
        code.fill(meter, Array(meter, Buffer("out", use.out, "out")), tuple(args), use)
        if code.in_place is not None:
            args[code.in_place].reads += use.types[code.in_place].size
    return Pattern(tuple(a.reads for a in args), tuple(a.sites for a in args), view)


MOVES = frozenset({"moves"})


def is_move(apply: Apply, out: Var) -> bool:
    """Whether the result holds nothing but elements of an argument of the same format: rounding would change nothing."""
    op = OPS[apply.op]
    return op.family in MOVES and all(a.type.format in (out.type.format,) or a.type.format.is_integer for a in apply.args) and (
        any(a.type.format == out.type.format for a in apply.args)
    ) and apply.op != "pad"  # fmt: skip


def narrow_code(apply: Apply, out: Var) -> Element | None:
    """A matrix product over a single k is an outer product: element-wise, so that no buffer holds it."""
    if apply.op != "matmul":
        return None
    use = use_of(apply, out)
    ta, tb = bool(use.params.get("trans_a")), bool(use.params.get("trans_b"))
    if use.types[0].shape[-2 if ta else -1] != 1:
        return None
    format = carrier(out.type.format)

    def at(w: Writer, index: Index, args: tuple[Access, ...], use: Use) -> Expr:
        *batch, i, j = index
        left = args[0](*batch, *((0, i) if ta else (i, 0)))
        right = args[1](*batch, *((j, 0) if tb else (0, j)))
        return w.convert(left, format) * w.convert(right, format)

    return Element(at)


def _picked(w: Writer, index: Index, args: tuple[Access, ...], use: Use) -> Expr:
    axis = use.params["axis"]
    place = index[axis]
    assert isinstance(place, Const), index
    at = int(place.value)
    for arg in args:
        if at < arg.type.shape[axis]:
            return arg(*index[:axis], at, *index[axis + 1 :])
        at -= arg.type.shape[axis]
    raise AssertionError((index, use))


PICKED = Element(_picked, cheap=True)
"""Elements of a `concat`, of which it is known in which part they lie."""


def code_of(apply: Apply, out: Var) -> Element | Kernel:
    """How the op is written in this use."""
    return narrow_code(apply, out) or OPS[apply.op].code


@dataclass
class Watched:
    """An Access that notes whether all its places along an axis are `known` while the program is written."""

    var: Var
    axis: int
    known: bool = True

    @property
    def type(self) -> Type:
        return self.var.type

    def __call__(self, *index: Expr | int) -> Expr:
        at = tuple(map(integer, index))
        self.known &= isinstance(at[self.axis], Const)
        return Load(Buffer(self.var.name, self.var.type, "in"), at)


def knows(
    defs: dict[Var, Equation],
    inline: set[Var],
    hardware: Hardware,
    reader: Equation,
    var: Var,
    axis: int,
) -> bool:
    """Whether an equation reads var, through what it computes itself (`inline`), at places along the axis that are known now."""
    rhs, watched, meter = reader.rhs, Watched(var, axis), Meter(hardware)
    assert isinstance(rhs, Apply)

    def leaf(v: Var) -> Access | None:
        if v is var:
            return watched
        return None if v in inline else Counter(meter, v.type, Buffer(v.name, v.type, "in"))

    args = tuple(map(Puller(meter, defs, leaf).access, rhs.args))
    code, use = code_of(rhs, reader.out), use_of(rhs, reader.out)
    if isinstance(code, Kernel):
        code.fill(meter, Array(meter, Buffer("out", use.out, "out")), args, use)
    else:
        index = (Name(f"at{k}", integer(0).format) for k in range(len(use.out.shape)))
        code.at(meter, tuple(index), args, use)
    return watched.known
