"""Lanes from scalar expressions: what an access gives at `lanes` indices side by side, where memory has it side by side too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from seiche.ir.loops import (
    COMPARISONS,
    Binary,
    Buffer,
    Choose,
    Const,
    Convert,
    Expr,
    Intrinsic,
    Let,
    Load,
    Name,
    Stmt,
    Store,
    Unary,
    Writer,
    integer,
)
from seiche.ir.positions import flat_index
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format

Env = dict[str, Expr]


def wide(
    w: Writer,
    at: Callable[[Expr], Expr],
    base: Expr | int,
    lanes: int,
    known: Mapping[str, Expr] = MappingProxyType({}),
) -> Expr | None:
    """`at(base)` to `at(base + lanes - 1)` as lanes (a scalar, if they are all one); None where memory has them elsewhere.

    Statements that `at` writes are written once, for all lanes. `known`: names in them that differ from lane to lane, as lanes.
    """
    if lanes == 1:
        return at(integer(base))
    lane = w.fresh("lane", fmt.i32)
    start = integer(base)
    scalar: list[Stmt] = []
    with w.into(scalar):
        value = at(lane if isinstance(start, Const) and start.value == 0 else start + lane)
    widening = Widening(w, lane, lanes, dict(known))
    if not widening.block(scalar):
        return None
    found = widening.value(value)
    if found is not None:
        w.block.extend(widening.made)
    return found


@dataclass
class Widening:
    """Turns statements about one lane into statements about all. `made`: what it wrote so far.

    `mixed`: elements of 32 bits and truth values may meet, and be looked up anywhere in memory; else all is of one format, side by side.
    """

    w: Writer
    lane: Name
    lanes: int
    env: Env = field(default_factory=dict[str, Expr])
    mixed: bool = False
    made: list[Stmt] = field(default_factory=list["Stmt"])

    def block(self, stmts: list[Stmt]) -> bool:
        """Whether it could write them all."""
        return all(map(self._statement, stmts))

    def _statement(self, stmt: Stmt) -> bool:
        match stmt:
            case Let(name, value):
                held = self.value(value)
                if held is None:
                    return False
                self.env[name.name] = self._named(Name(name.name, name.format, held.lanes), held)
                return True
            case Store(buffer, index, value) if self.mixed:
                held = self.value(value)
                if (
                    held is None
                    or not self._beside(buffer, index)
                    or not _mixes(buffer.type.format)
                ):
                    return False
                start = tuple(without(i, self.lane) for i in index)
                self.made.append(Store(buffer, start, self._spread(held)))
                return True
            case _:
                return False

    def _named(self, name: Name, value: Expr) -> Name:
        self.made.append(Let(name, value))
        return name

    def _spread(self, value: Expr) -> Expr:
        """What is the same in all lanes, in all lanes."""
        if value.lanes > 1:
            return value
        return self._named(self.w.fresh("all", value.format, self.lanes), value)

    def _beside(self, buffer: Buffer, index: tuple[Expr, ...]) -> bool:
        """Whether the lanes' elements lie side by side."""
        return slope(flat_index(index, buffer.type.shape), self.lane, self.env) == 1

    def value(self, e: Expr) -> Expr | None:
        """All lanes of an expression; None where it has none."""
        if not depends(e, self.lane, self.env):
            return e
        match e:
            case Name(name):
                return self.env.get(name)
            case Load(buffer, index):
                return self._load(buffer, index)
            case Intrinsic("bits" | "from_bits" as name, arg):
                inner = self.value(arg)
                return None if inner is None else Intrinsic(name, inner)
            case Convert(arg, format) if (
                self.mixed and _mixes(format) and arg.format.name in CONVERTED
            ):
                inner = self.value(arg)
                return None if inner is None else Convert(inner, format, inner.lanes)
            case Unary("-", arg) if not e.format.is_float:
                return self.value(Binary("-", Const(0, arg.format), arg))
            case Unary(op, arg) if _has(op, e.format, self.mixed, 1):
                inner = self.value(arg)
                return None if inner is None else Unary(op, inner)
            case Binary(op, left, right) if _has(op, left.format, self.mixed):
                a, b = self.value(left), self.value(right)
                return None if a is None or b is None else Binary(op, a, b)
            case Choose(cond, yes, no) if e.format.is_float or self.mixed:
                mask = self.value(cond) if self.mixed else self._mask(cond, e.format)
                a, b = self.value(yes), self.value(no)
                if mask is None or a is None or b is None:
                    return None
                return Choose(self._spread(mask), a, b)
            case _:
                return None

    def _load(self, buffer: Buffer, index: tuple[Expr, ...]) -> Expr | None:
        if self.mixed and not _mixes(buffer.type.format):
            return None
        if self._beside(buffer, index):
            return Load(buffer, tuple(without(i, self.lane) for i in index), self.lanes)
        if not self.mixed:
            return None
        places: list[Expr] = []
        for i in index:
            found = self.value(i)
            if found is None:
                return None
            if found.lanes > 1 and not isinstance(found, Name):
                found = self._named(self.w.fresh("place", fmt.i32, self.lanes), found)
            places.append(found)
        return Load(buffer, tuple(places), self.lanes)

    def _mask(self, e: Expr, format: Format) -> Expr | None:
        """Comparisons in lanes of that format, joined by `&` and `|`; what is the same in all lanes would be no mask."""
        match e:
            case Binary(op, left, right) if op in COMPARISONS and left.format is format:
                a, b = self.value(left), self.value(right)
            case Binary("&" | "|" as op, left, right):
                a, b = self._mask(left, format), self._mask(right, format)
            case _:
                return None
        return None if a is None or b is None or max(a.lanes, b.lanes) == 1 else Binary(op, a, b)


CONVERTED = frozenset({"i32", "bool"})
"""What is converted in lanes."""


def _mixes(format: Format) -> bool:
    """Whether its lanes may meet those of others."""
    return format.carrier in ("f32", "i32", "u32", "bool")


def _has(op: str, format: Format, mixed: bool, operands: int = 2) -> bool:
    """Whether lanes of that format have the operator: arithmetic of floats, and the bits of floats; more where formats mix."""
    if operands == 1:
        return (op == "-" and format.is_float) or (mixed and op == "!")
    if op in COMPARISONS:
        return mixed and _mixes(format) and (format.kind != "bool" or op in ("==", "!="))
    if format.is_float:
        return op in "+-*/"
    if format.kind == "uint":
        return op in "&|^" or (mixed and op in "+-*" and _mixes(format))
    return mixed and _mixes(format) and op in ("&|^" if format.kind == "bool" else "+-*&|^")


def depends(e: Expr, lane: Name, env: Env) -> bool:
    """Whether the lane's number shows in an expression; unknown kinds count as if it did."""
    match e:
        case Const():
            return False
        case Name(name):
            return name == lane.name or name in env
        case Binary(_, left, right):
            return depends(left, lane, env) or depends(right, lane, env)
        case Unary(_, arg) | Intrinsic(_, arg) | Convert(arg):
            return depends(arg, lane, env)
        case Choose(cond, yes, no):
            return any(depends(x, lane, env) for x in (cond, yes, no))
        case Load(_, index):
            return any(depends(i, lane, env) for i in index)
        case _:
            return True


def slope(e: Expr, lane: Name, env: Env) -> int | None:
    """By how much an index grows from lane to lane; None where that is not known.

    >>> j = Name("j", fmt.i32)
    >>> slope(3 + j * 4, j, {}), slope(j / 2, j, {})
    (4, None)
    """
    if not depends(e, lane, env):
        return 0
    match e:
        case Name(name):
            return 1 if name == lane.name else None
        case Binary("+", left, right):
            a, b = slope(left, lane, env), slope(right, lane, env)
            return None if a is None or b is None else a + b
        case Binary("*", left, Const(value)):
            a = slope(left, lane, env)
            return None if a is None else a * int(value)
        case Binary("*", Const(value), right):
            a = slope(right, lane, env)
            return None if a is None else a * int(value)
        case _:
            return None


def without(e: Expr, lane: Name) -> Expr:
    """An index at lane 0."""
    match e:
        case Name(name) if name == lane.name:
            return integer(0)
        case Binary(op, left, right):
            a, b = without(left, lane), without(right, lane)
            if op == "+" and isinstance(b, Const) and b.value == 0:
                return a
            if op == "+" and isinstance(a, Const) and a.value == 0:
                return b
            return e if a is left and b is right else Binary(op, a, b)
        case _:
            return e
