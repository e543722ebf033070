"""One tick of a lowered node, or one row of a body, as a JAX computation.

What is absent is computed all the same and never selected: a state moves on only where its clock is on. Consecutive equations of
one sub-clock become a branch (`lax.cond`) where they cost more than `HEAVY` operations, or hold a scan: then nothing of
them runs while the clock is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from seiche.backends.xla.library import Array, jnp, lax
from seiche.backends.xla.table import value
from seiche.errors import InternalError
from seiche.ir.clocks import Clock, infer
from seiche.ir.core import Apply, Equation, Fby, Lit, Merge, Node, Post, Scan, Var, When, operands
from seiche.ir.op import OPS, AnyArray
from seiche.numbers.formats import Type
from seiche.schedule.fold import use_of
from seiche.schedule.sweeps import conditions_of, sweeps

if TYPE_CHECKING:
    from seiche.backends.xla.rows import Body

HEAVY = 10_000
"""Operations from which a branch is worth its overhead, of about two microseconds on a CPU."""

Values = dict[Var, Array]
Place = Callable[[Var, Array], Array]
"""Where a Var lies on the devices (`sharding`): a constraint on its value."""


def blank(type: Type) -> Array:
    """What an absent stream holds: anything of its type."""
    return jnp.zeros(type.shape, type.format.dtype)


def literal(constant: AnyArray) -> Array:
    """A constant, hidden from XLA where its square leaves the range: of (x c) (y c) XLA makes (x y) (c c), 0 times infinity."""
    made = jnp.asarray(constant)
    if constant.dtype.kind != "f":
        return made
    with np.errstate(over="ignore", under="ignore"):
        squares = np.square(constant[np.isfinite(constant) & (constant != 0)])
    normal = np.finfo(constant.dtype)
    inside = np.all((squares >= normal.tiny) & (squares <= normal.max))
    return made if inside else lax.optimization_barrier(made)


@dataclass
class Tick:
    """The values of one tick. `memory` is what each `Fby` or `Post` gives, `following` what it gives at the next tick."""

    env: Values
    memory: Values
    following: Values = field(default_factory=dict[Var, Array])


class Equations:
    """A node or body whose equations run in the order of its sweeps."""

    def __init__(self, node: Node, place: Place = lambda var, x: x) -> None:
        self.node, self.place = node, place
        self.clocks = infer(node)
        self.sweeps = sweeps(node, self.clocks)
        self.uses = {eq: use_of(eq.rhs) for eq in node.eqs if isinstance(eq.rhs, Apply)}
        self.divided = _divided(node)
        owed = (*node.outputs, *(check.cond for check in node.checks))
        self.kept = {*owed, *(cond for var in owed for cond, _ in self.clocks[var])}
        self.readers: dict[Var, list[Equation]] = {}
        for eq in node.eqs:
            for var in (*operands(eq.rhs), *conditions_of(eq, self.clocks)):
                self.readers.setdefault(var, []).append(eq)

    def run(self, eqs: Sequence[Equation], tick: Tick) -> None:
        """Fills `tick.env` and `tick.following` by these equations, in their order."""
        self._block(eqs, 0, tick)
        for eq in eqs:
            if isinstance(eq.rhs, Fby | Post) and eq.out not in tick.following:
                tick.following[eq.out] = self._next(eq, tick)

    def on(self, clock: Clock, env: Values) -> Array:
        """Whether a clock is on."""
        return every(env[cond] if on else ~env[cond] for cond, on in clock)

    def _next(self, state: Equation, tick: Tick) -> Array:
        assert isinstance(state.rhs, Fby | Post)
        new, clock = tick.env[state.rhs.arg], self.clocks[state.out]
        return jnp.where(self.on(clock, tick.env), new, tick.memory[state.out]) if clock else new

    def _block(self, eqs: Sequence[Equation], depth: int, tick: Tick) -> None:
        """Equations whose clocks agree up to `depth`: runs of one sub-clock, each as a branch or as it is."""

        def deeper(eq: Equation) -> tuple[Var, bool] | None:
            clock = self.clocks[eq.outs[0]]
            return clock[depth] if len(clock) > depth else None

        for key, run in groupby(eqs, deeper):
            group = tuple(run)
            if key is None:
                for eq in group:
                    self._equation(eq, tick)
            elif self.cost(group) > HEAVY:
                self._branch(group, depth + 1, tick)
            else:
                self._block(group, depth + 1, tick)

    def _branch(self, group: tuple[Equation, ...], depth: int, tick: Tick) -> None:
        """The group under `lax.cond`: gives what others read, and the next values of its clock's states."""
        clock = self.clocks[group[0].outs[0]][:depth]
        inside = set(group)
        made = {out for eq in group for out in eq.outs}
        states = [eq for eq, arg in self.states if arg in made and eq.out in tick.memory]
        leaving = [v for eq in group for v in eq.outs if self._is_read(v, inside)]

        def yes() -> tuple[list[Array], list[Array]]:
            mine = Tick(dict(tick.env), tick.memory)
            self._block(group, depth, mine)
            following = [mine.following.get(eq.out) for eq in states]
            moved = [
                self._next(eq, mine) if x is None else x
                for eq, x in zip(states, following, strict=True)
            ]
            return [mine.env[v] for v in leaving], moved

        def no() -> tuple[list[Array], list[Array]]:
            return [blank(v.type) for v in leaving], [tick.memory[eq.out] for eq in states]

        given, moved = lax.cond(self.on(clock, tick.env), yes, no)
        tick.env.update(zip(leaving, given, strict=True))
        tick.following.update(zip((eq.out for eq in states), moved, strict=True))

    @cached_property
    def states(self) -> tuple[tuple[Equation, Var], ...]:
        """Its states, each with what it holds next."""
        return tuple((eq, eq.rhs.arg) for eq in self.node.eqs if isinstance(eq.rhs, Fby | Post))

    def _is_read(self, var: Var, inside: set[Equation]) -> bool:
        """Whether anything outside of a group reads a Var, other than as the next value of a state."""

        def now(eq: Equation) -> bool:
            at_once = not isinstance(eq.rhs, Fby | Post)
            return at_once or var in (
                eq.rhs.reset if isinstance(eq.rhs, Fby) else None,
                *(c for c, _ in self.clocks[eq.out]),
            )

        return var in self.kept or any(
            eq not in inside and now(eq) for eq in self.readers.get(var, ())
        )

    def _equation(self, eq: Equation, tick: Tick) -> None:
        env = tick.env
        match eq.rhs:
            case Lit(constant):
                env[eq.out] = literal(constant)
            case Apply(op, args):
                made = value(op, tuple([env[a] for a in args]), self.uses[eq], eq.out.loc)
                env[eq.out] = self.as_written(eq.out, made)
            case When(arg):
                env[eq.out] = env[arg]
            case Merge(cond, yes, no):
                env[eq.out] = jnp.where(env[cond], env[yes], env[no])
            case Fby(init, _, reset):
                env[eq.out] = tick.memory[eq.out]
                if reset is not None:
                    first = blank(eq.out.type) if init is None else env[init]
                    env[eq.out] = jnp.where(env[reset], first, env[eq.out])
            case Post():
                env[eq.out] = tick.memory[eq.out]
            case Scan() as scan:
                env.update(zip(eq.outs, self.bodies[eq].run_rows(scan, env), strict=True))
            case rhs:
                raise InternalError(f"the lowered IR has no {type(rhs).__name__}")
        for out in eq.outs:
            env[out] = self.place(out, env[out])

    def as_written(self, var: Var, x: Array) -> Array:
        """A value that XLA must not see through: x / (x / y) is not x * y / x, which overflows where the other does not."""
        return lax.optimization_barrier(x) if var in self.divided else x

    @cached_property
    def bodies(self) -> dict[Equation, Body]:
        """The bodies of its scans, which hold equations in their turn."""
        from seiche.backends.xla.rows import Body

        return {eq: Body(eq.rhs) for eq in self.node.eqs if isinstance(eq.rhs, Scan)}

    def cost(self, eqs: Iterable[Equation]) -> int:
        """Operations of one tick; a scan costs at least a branch."""
        total = 0
        for eq in eqs:
            match eq.rhs:
                case Apply(op):
                    total += OPS[op].cost(self.uses[eq])
                case Scan(extent=extent):
                    body = self.bodies[eq]
                    total += HEAVY + extent * body.equations.cost(body.node.eqs)
                case _:
                    pass
        return total


def _divided(node: Node) -> frozenset[Var]:
    """Quotients of floats that are divided again, or divide."""
    quotients = [
        eq for eq in node.eqs if isinstance(eq.rhs, Apply) and eq.rhs.op in ("div", "reciprocal")
    ]
    made = {eq.out for eq in quotients if eq.out.type.format.kind == "float"}
    return frozenset(made.intersection(v for eq in quotients for v in operands(eq.rhs)))


def every(conditions: Iterable[Array]) -> Array:
    """The conjunction; true of nothing."""
    held: Array = None
    for cond in conditions:
        held = cond if held is None else held & cond
    return jnp.asarray(True) if held is None else held
