"""Linear recurrences as parallel scans: log2(n) steps over all rows in place of n steps over one.

    s = fby(i, e)   e = a s + b, elementwise, a and b not of s     |-   (a, b)[r] = the maps of rows 0 to r composed
    e[r] = a[r] s0 + b[r]

Composing rounds otherwise than stepping does: this is fast arithmetic. Blelloch 1990, "Prefix sums and their applications"
(section 1.4.1); the steps double as in Hillis & Steele 1986.
"""

from __future__ import annotations

from dataclasses import dataclass

from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Fby, Var
from seiche.numbers.formats import Type

LINEAR = ("add", "sub", "mul", "neg")


@dataclass(frozen=True)
class Linear:
    """A state and the equations from it to its next value, each after those it reads."""

    fby: Equation
    steps: tuple[Equation, ...]

    @property
    def state(self) -> Var:
        return self.fby.out


def find_linear(eqs: list[Equation]) -> Linear | None:
    """The recurrence, if it is linear in one state that is never reset."""
    states = [eq for eq in eqs if isinstance(eq.rhs, Fby)]
    if len(states) != 1 or not states[0].out.type.format.is_float:
        return None
    state, left = states[0], [eq for eq in eqs if eq is not states[0]]
    assert isinstance(state.rhs, Fby)
    if state.rhs.reset is not None or state.rhs.init is None:
        return None
    inside = {out for eq in eqs for out in eq.outs}
    known, steps = {state.out}, list[Equation]()
    while left:
        ready = [eq for eq in left if _is_linear(eq, inside, known)]
        if not ready:
            return None
        steps += ready
        known.update(eq.out for eq in ready)
        left = [eq for eq in left if eq not in ready]
    return Linear(state, tuple(steps))


def _is_linear(eq: Equation, inside: set[Var], known: set[Var]) -> bool:
    if not isinstance(eq.rhs, Apply) or eq.rhs.op not in LINEAR:
        return False
    carrying = [a for a in eq.rhs.args if a in inside]
    return known.issuperset(carrying) and (eq.rhs.op != "mul" or len(carrying) == 1)


@dataclass(frozen=True)
class Map:
    """`s -> scale s + shift` at each row; None for 1 and for 0."""

    scale: Var | None
    shift: Var | None


class Composer:
    """The maps of a linear recurrence over n rows, composed. `rows` gives what is no part of it, as `[n, ...]`."""

    def __init__(self, b: Builder, n: int, type: Type) -> None:
        self.b, self.n, self.type = b, n, Type(type.format, (n, *type.shape))

    def step(self, linear: Linear, rows: dict[Var, Var]) -> Map:
        """The map of one row, from the state to its next value; `rows` has what the steps read from outside."""
        maps: dict[Var, Map] = {linear.state: Map(None, None)}
        for eq in linear.steps:
            assert isinstance(eq.rhs, Apply)
            args = [maps.get(a) or rows[a] for a in eq.rhs.args]
            maps[eq.out] = self._apply(eq.rhs.op, args)
        assert isinstance(linear.fby.rhs, Fby)
        return maps[linear.fby.rhs.arg]

    def _apply(self, op: str, args: list[Map | Var]) -> Map:
        b = self.b
        match op, args:
            case "neg", [Map() as x]:
                return self._scaled(x, self._const(-1))
            case "mul", [Map() as x, Var() as k] | [Var() as k, Map() as x]:
                return self._scaled(x, k)
            case "add", [Map() as x, Var() as k] | [Var() as k, Map() as x]:
                return Map(x.scale, k if x.shift is None else b.add(x.shift, k))
            case "sub", [Map() as x, Var() as k]:
                return Map(x.scale, b.neg(k) if x.shift is None else b.sub(x.shift, k))
            case "sub", [Var() as k, Map() as x]:
                return self._apply("add", [k, self._scaled(x, self._const(-1))])
            case "add" | "sub", [Map() as x, Map() as y]:
                return self._sum(x, y if op == "add" else self._scaled(y, self._const(-1)))
            case _:
                raise AssertionError(op)

    def _const(self, value: float) -> Var:
        return self.b.lit(value, self.type)

    def _scaled(self, x: Map, k: Var) -> Map:
        b = self.b
        return Map(
            k if x.scale is None else b.mul(x.scale, k),
            None if x.shift is None else b.mul(x.shift, k),
        )

    def _sum(self, x: Map, y: Map) -> Map:
        b = self.b
        scale = b.add(x.scale or self._const(1), y.scale or self._const(1))
        if x.shift is None or y.shift is None:
            return Map(scale, x.shift or y.shift)
        return Map(scale, b.add(x.shift, y.shift))

    def composed(self, one: Map, start: Var) -> Var:
        """The next values at all rows, from the state `start` before the first."""
        b = self.b
        scale, shift = one.scale or self._const(1), one.shift or self._const(0)
        by = 1
        while by < self.n:
            shift = b.add(shift, b.mul(scale, self._earlier(shift, by, 0)))
            scale = b.mul(scale, self._earlier(scale, by, 1))
            by *= 2
        return b.add(b.mul(scale, b.broadcast(start, shape=self.type.shape)), shift)

    def _earlier(self, x: Var, by: int, value: float) -> Var:
        """Row r - by at row r; `value` where there is none."""
        rest = (0,) * (len(self.type.shape) - 1)
        return self.b.pad(x, low=(by, *rest), high=(-by, *rest), value=value)
