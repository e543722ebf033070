"""Random logical programs with clocks, resets, frames, costates and scans, their inputs, and a shrinker.

A program is grown equation by equation from what is there, so it is well-typed and well-clocked by construction. States
are declared first and closed at the end with any stream of their type and clock: those closings that causality refuses are
tried again with another stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import seiche.ir.ops  # noqa: F401
from seiche.check.causality import check as causal
from seiche.errors import Loc
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.clocks import Clock, infer
from seiche.ir.core import Equation, Fby, Frame, Lit, Node, Post, Scan, Var
from seiche.numbers.formats import (
    Format,
    Type,
    bf16,
    bool_,
    e4m3,
    f16,
    f32,
    f64,
    fixed,
    i8,
    i32,
    u32,
)

REALS = (f32, f32, f32, f64, bf16, f16, e4m3, fixed(6, 10))
FIXED = (fixed(6, 10), fixed(3, 5), fixed(4, 8), fixed(9, 12), fixed(1, 15))
"""One of these, by the seed, where fixed point is drawn."""
SHAPES = ((), (), (3,), (2, 3), (17,))


@dataclass
class Grown:
    """A program under construction: streams by clock, and states that still need their next value."""

    rng: np.random.Generator
    b: Builder
    real: Format
    depth: int
    body: bool
    inputs: list[Var] = field(default_factory=list[Var])
    pools: dict[Clock, list[Var]] = field(default_factory=dict[Clock, list[Var]])
    open: list[tuple[Var, Clock, Callable[[Var], Fby | Post]]] = field(default_factory=list)
    waiting: list[tuple[Clock, Var]] = field(default_factory=list[tuple[Clock, Var]])
    backward: bool = False

    def pick(self, items: Any) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def clock(self) -> Clock:
        return self.pick(list(self.pools)) if self.rng.random() < 0.5 else ()

    def find(
        self,
        clock: Clock,
        type: Type | None = None,
        format: Format | None = None,
        rank: int | None = None,
    ) -> Var:
        """A stream of that kind: one that is there, else a constant."""
        fits = [
            v for v in self.pools[clock]
            if (type is None or v.type == type) and (format is None or v.type.format == format)
            and (rank is None or len(v.type.shape) == rank)
        ]  # fmt: skip
        if fits:
            return self.pick(fits[-12:])
        shape = type.shape if type else {None: self.pick(SHAPES), 0: (), 1: (3,), 2: (2, 3)}[rank]
        return self.literal((type.format if type else format or self.real)[shape])

    def literal(self, type: Type) -> Var:
        from seiche.lang.stream import represent

        return self.b.lit(represent(np.asarray(values(self.rng, type, ())), type.format), type)

    def add(self, clock: Clock, var: Var) -> None:
        self.pools.setdefault(clock, []).append(var)

    # Productions. Each adds at least one stream.

    def apply(self) -> None:
        clock = self.clock()
        x = self.find(clock, format=self.real)
        self.add(clock, self.pick(_APPLY)(self, clock, x))

    def state(self) -> None:
        clock = self.clock()
        init = self.find(clock) if self.rng.random() < 0.3 else self.literal(self.find(clock).type)
        reset = self.find(clock, bool_[()]) if self.rng.random() < 0.4 else None
        var = Var("s", init.type, self.b.loc)
        self.open.append((var, clock, lambda arg: Fby(init, arg, reset)))
        self.add(clock, var)

    def costate(self) -> None:
        clock: Clock = () if not self.body else self.clock()
        final = self.find(clock) if self.rng.random() < 0.5 else self.literal(self.find(clock).type)
        reset = self.find(clock, bool_[()]) if self.rng.random() < 0.4 else None
        if self.body and (self.backward or self.rng.random() < 0.3):
            var = Var("c", final.type, self.b.loc)
            self.open.append((var, clock, lambda arg: Post(arg, final, reset)))
            self.add(clock, var)
        elif clock == ():
            self.add(clock, self.b.post(self.find(clock, final.type), final, reset))

    def sample(self) -> None:
        clock = self.clock()
        if len(clock) >= 2:
            return
        cond = self.find(clock, bool_[()])
        if isinstance(self._rhs(cond), Lit):
            return
        both = self.rng.random() < 0.5
        for _ in range(int(self.rng.integers(1, 4))):
            x, on = self.find(clock), bool(self.rng.random() < 0.7)
            for side in (on, not on)[: 1 + both]:
                self.add((*clock, (cond, side)), self.b.when(x, cond, side))
        self.waiting.append((clock, cond))

    def join(self) -> None:
        """Merges two streams of complementary clocks, where there are such."""
        if not self.waiting:
            return
        clock, cond = self.pick(self.waiting)
        yes, no = (self.pools.get((*clock, (cond, on)), []) for on in (True, False))
        pairs = [(a, c) for a in yes[::-1] for c in no[::-1] if a.type == c.type]
        if pairs:
            self.add(clock, self.b.merge(cond, *pairs[0]))

    def scan(self) -> None:
        if self.depth == 0:
            return
        clock, extent = self.clock(), int(self.rng.integers(1, 6))
        mapped = [self.rows(clock, extent) for _ in range(int(self.rng.integers(1, 3)))]
        fixed_ = [self.find(clock) for _ in range(int(self.rng.integers(0, 3)))]
        rows = [v.type.format[v.type.shape[1:]] for v in mapped]
        body = self.grown_body(rows + [v.type for v in fixed_])
        kinds = tuple(self.pick(("stack", "first", "last")) for _ in body.outputs)
        length = None
        if self.rng.random() < 0.3:
            n = self.find(clock, i32[()])
            lo, hi = self.b.lit(1, i32[()]), self.b.lit(extent, i32[()])
            length = self.b.maximum(self.b.minimum(n, hi), lo)
        flags = (True,) * len(mapped) + (False,) * len(fixed_)
        self._many(
            clock, body, kinds, extent, Scan(body, (*mapped, *fixed_), flags, kinds, extent, length)
        )

    def frame(self) -> None:
        if self.depth == 0 or self.body:
            return
        extent = int(self.rng.integers(2, 7))
        until = self.closing(extent)
        mapped = [self.find(()) for _ in range(int(self.rng.integers(1, 3)))]
        slow: Clock = ((until, True),)
        self.pools.setdefault(slow, [])
        fixed_ = [self.find(slow) for _ in range(int(self.rng.integers(0, 2)))]
        body = self.grown_body([v.type for v in mapped + fixed_])
        kinds = tuple(self.pick(("stack", "first", "last", "stream")) for _ in body.outputs)
        flags = (True,) * len(mapped) + (False,) * len(fixed_)
        rhs = Frame(body, (*mapped, *fixed_), flags, kinds, extent, until)
        self._many((), body, kinds, extent, rhs, slow)

    def closing(self, extent: int) -> Var:
        """A boolean stream that holds at least every `extent` ticks (rarely not: the frame overflows)."""
        b, tick = self.b, Var("tick", i32[()], self.b.loc)
        limit = extent - 1 + (self.rng.random() < 0.05)
        full = b.ge(tick, b.lit(limit, i32[()]))
        closes = b.logical_or(full, self.find((), bool_[()]))
        zero = b.lit(0, i32[()])
        again = b.select(closes, zero, b.add(tick, b.lit(1, i32[()])))
        b.eqs.append(Equation((tick,), Fby(zero, again)))
        return closes

    def rows(self, clock: Clock, extent: int) -> Var:
        shape = self.pick(((), (3,)))
        x = self.find(clock, self.real[shape])
        wide = self.b.broadcast(self.b.reshape(x, shape=(1, *shape)), shape=(extent, *shape))
        return self.b.mul(wide, self.literal(self.real[(extent, *shape)]))

    def grown_body(self, types: list[Type]) -> Node:
        return grow(self.rng, types, int(self.rng.integers(2, 10)), self.real, self.depth - 1, True)

    def _many(
        self,
        clock: Clock,
        body: Node,
        kinds: tuple[Any, ...],
        extent: int,
        rhs: Scan | Frame,
        slow: Clock | None = None,
    ) -> None:
        shapes = [
            (extent, *v.type.shape) if k == "stack" else v.type.shape
            for v, k in zip(body.outputs, kinds, strict=True)
        ]
        types = tuple(v.type.format[s] for v, s in zip(body.outputs, shapes, strict=True))
        outs = self.b.define_many(rhs, types, tuple(f"y{i}" for i in range(len(types))))
        for out, kind in zip(outs, kinds, strict=True):
            self.add(clock if slow is None or kind == "stream" else slow, out)

    def _rhs(self, var: Var) -> Any:
        return next((eq.rhs for eq in self.b.eqs if var in eq.outs), None)


def _shape_op(g: Grown, x: Var) -> Var:
    b, n = g.b, len(x.type.shape)
    if n == 0:
        return b.broadcast(x, shape=(3,))
    if n == 1:
        return g.pick((
            lambda: b.reshape(x, shape=(1, *x.type.shape)), lambda: b.slice(x, start=(0,), stop=(2,), step=(1,)),
            lambda: b.concat(x, x, axis=0), lambda: b.index(x, g.find((), i32[()]), axis=0)
            if g.body else b.sum(x, axes=(0,)), lambda: b.sort(x, axis=0, descending=False),
            lambda: b.cumsum(x, axis=0, reverse=False),
        ))()  # fmt: skip
    return g.pick((
        lambda: b.transpose(x, perm=(1, 0, *range(2, n))), lambda: b.sum(x, axes=(n - 1,)), lambda: b.max(x, axes=(0,)),
    ))()  # fmt: skip


def _product(g: Grown, clock: Clock, x: Var) -> Var:
    if len(x.type.shape) != 2:
        return g.b.square(x)
    k = x.type.shape[1]
    return g.b.matmul(x, g.literal(x.type.format[(k, 3)]), trans_a=False, trans_b=False)


_APPLY: tuple[Callable[[Grown, Clock, Var], Var], ...] = (
    lambda g, c, x: g.b.add(x, g.find(c, x.type)),
    lambda g, c, x: g.b.sub(x, g.find(c, x.type)),
    lambda g, c, x: g.b.mul(x, g.find(c, x.type)),
    lambda g, c, x: g.b.div(x, g.find(c, x.type)),
    lambda g, c, x: g.b.maximum(x, g.find(c, x.type)),
    lambda g, c, x: g.b.tanh(x),
    lambda g, c, x: g.b.sigmoid(x),
    lambda g, c, x: g.b.exp(g.b.neg(g.b.abs(x))),
    lambda g, c, x: g.b.sin(x),
    lambda g, c, x: g.b.sqrt(g.b.abs(x)),
    lambda g, c, x: g.b.floor(x),
    lambda g, c, x: _shape_op(g, x),
    lambda g, c, x: _shape_op(g, x),
    _product,
    lambda g, c, x: g.b.gt(g.find(c, format=g.real, rank=0), g.find(c, format=g.real, rank=0)),
    lambda g, c, x: g.b.logical_xor(g.find(c, bool_[()]), g.find(c, bool_[()])),
    lambda g, c, x: g.b.add(g.find(c, i32[()]), g.find(c, i32[()])),
    lambda g, c, x: g.b.mod(g.find(c, i32[()]), g.find(c, i32[()])),
    lambda g, c, x: g.b.convert(g.find(c, i32[()]), format=g.real),
    lambda g, c, x: g.b.convert(g.find(c, format=g.real, rank=0), format=i32),
    lambda g, c, x: g.b.convert(g.b.convert(x, format=i8), format=g.real),
    lambda g, c, x: _selected(g, c, x),
)


def _selected(g: Grown, clock: Clock, x: Var) -> Var:
    cond = g.b.broadcast(g.find(clock, bool_[()]), shape=x.type.shape)
    return g.b.select(cond, x, g.find(clock, x.type))


def grow(
    rng: np.random.Generator, types: list[Type], size: int, real: Format, depth: int, body: bool
) -> Node:
    """A node of about `size` equations over inputs of these types."""
    g = Grown(rng, Builder(Loc("random", 0)), real, depth, body, backward=bool(rng.random() < 0.5))
    g.inputs = [Var(f"x{i}", t, g.b.loc) for i, t in enumerate(types)]
    g.pools[()] = list(g.inputs)
    kinds = [g.apply] * 6 + [g.state] * (1 if body and g.backward else 2) + [g.sample] * 2
    kinds += [g.join] * 2
    kinds += [g.costate] * 2 + [g.scan, g.frame]
    while len(g.b.eqs) + len(g.open) < size:
        g.b.loc = Loc("random", len(g.b.eqs) + 1)
        g.pick(kinds)()
    _close(g)
    outputs = _outputs(g)
    return replace(g.b.node("random", tuple(g.inputs), outputs), loc=Loc("random", 0))


def _close(g: Grown) -> None:
    """Gives every open state its next value, such that causality holds."""
    for attempt in range(8):
        closing: list[Equation] = []
        for var, clock, form in g.open:
            fits = [v for v in g.pools[clock] if v.type == var.type and v is not var] or [var]
            closing.append(
                Equation((var,), form(g.literal(var.type) if attempt == 7 else g.pick(fits)))
            )
        node = Node("trial", tuple(g.inputs), (), [*g.b.eqs, *closing])
        if not causal(node, "rows" if g.body else "node", infer(node))[1]:
            break
    g.b.eqs += closing


def _outputs(g: Grown) -> tuple[Var, ...]:
    """Some streams; a body's are on its base clock."""
    clocks = [()] if g.body else list(g.pools)
    made = [v for c in clocks for v in g.pools[c] if v not in g.inputs]
    some = made or g.pools[()]
    count = min(len(some), int(g.rng.integers(1, 5)))
    chosen = [some[i] for i in sorted(g.rng.choice(len(some), count, replace=False))]
    return tuple(dict.fromkeys(chosen))


def random_program(seed: int, size: int | None = None, reals: tuple[Format, ...] = REALS) -> Node:
    """The program of a seed: up to 60 equations, one real format, with clocks, resets, frames, costates, scans."""
    for attempt in range(20):
        rng = np.random.default_rng((seed, attempt))
        real = reals[int(rng.integers(len(reals)))]
        real = FIXED[seed % len(FIXED)] if real in FIXED else real
        types = [real[()], real[(3,)], bool_[()], i32[()], bool_[()], u32[()]]
        node = grow(rng, types, size or int(rng.integers(4, 60)), real, 2, False)
        if not causal(node, "node", infer(node))[1]:
            return node
    raise AssertionError(f"no causal program for seed {seed}")


def values(rng: np.random.Generator, type: Type, lead: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Arrays `[*lead, *shape]` of a type: mostly ordinary numbers, some extremes."""
    from seiche.lang.stream import represent

    shape = (*lead, *type.shape)
    if type.format.kind == "bool":
        return rng.random(shape) < 0.4
    if type.format.is_integer:
        return rng.integers(0 if type.format.kind == "uint" else -4, 7, shape).astype(
            type.format.dtype
        )
    x = rng.normal(size=shape)
    odd = rng.random(shape) < 0.02
    x = np.where(odd, rng.choice([0.0, -0.0, 1e30, -1e-30, np.inf, np.nan, 1e4], shape), x)
    with np.errstate(all="ignore"):
        return represent(np.asarray(x), type.format)


def random_inputs(node: Node, seed: int, ticks: int) -> list[np.ndarray[Any, Any]]:
    """Streams for the inputs of a node."""
    rng = np.random.default_rng((seed, 1))
    return [values(rng, v.type, (ticks,)) for v in node.inputs]


def shrink(node: Node, fails: Callable[[Node], bool], budget: int = 300) -> Node:
    """A smaller program that still fails: fewer outputs, equations replaced by constants of their type."""
    progress = True
    while progress and budget > 0:
        progress = False
        for smaller in _smaller(node):
            budget -= 1
            if _still(smaller, fails):
                node, progress = smaller, True
                break
            if budget <= 0:
                break
    return node


def _still(node: Node, fails: Callable[[Node], bool]) -> bool:
    try:
        return fails(node)
    except Exception:
        return False


def _smaller(node: Node) -> Any:
    if len(node.outputs) > 1:
        for out in node.outputs:
            yield core.live(replace(node, outputs=(out,)))
    for i, eq in enumerate(node.eqs):
        if not isinstance(eq.rhs, Lit):
            fresh = [
                Equation((v,), Lit(np.zeros(v.type.shape, v.type.format.dtype))) for v in eq.outs
            ]
            yield core.live(replace(node, eqs=[*node.eqs[:i], *fresh, *node.eqs[i + 1 :]]))
