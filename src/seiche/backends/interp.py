"""The reference interpreter: runs the lowered IR tick by tick in numpy. It *is* the meaning of the language on machines.

top level   one forward sweep per tick; a state is an array, read before it is written
scan        every sweep of the body over its rows, one after the other; nested scans run inside a row
clocks      an equation runs at the ticks where its clock is on; elsewhere its Vars have no value at all
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from seiche.backends.contracts import spoken_of
from seiche.backends.executor import CheckFailed, Columns, run_by_steps
from seiche.errors import InternalError
from seiche.ir.clocks import Clock, infer
from seiche.ir.core import Apply, Equation, Fby, Lit, Merge, Node, Post, Scan, Var, When
from seiche.ir.op import AnyArray
from seiche.schedule.fold import use_of, value
from seiche.schedule.lower import Lowered
from seiche.schedule.sweeps import sweeps


class Env(dict[Var, AnyArray]):
    """The values of one tick; an absent Var has none."""

    def __missing__(self, var: Var) -> AnyArray:
        raise InternalError(f"`{var}` is read where it is absent ({var.loc})")


Memory = dict[Var, AnyArray]
"""What the `Fby` or `Post` that defines a Var gives at the next tick."""


@dataclass(frozen=True)
class Step:
    """An equation and the clock it runs on."""

    eq: Equation
    clock: Clock


@dataclass(frozen=True)
class Pass:
    reverse: bool
    steps: tuple[Step, ...]


class Plan:
    """The sweeps of a node and, by identity, the plans of its bodies."""

    def __init__(self, node: Node) -> None:
        clocks = infer(node)
        self.node = node
        self.passes = tuple(
            Pass(sweep.reverse, tuple(Step(eq, clocks[eq.outs[0]]) for eq in sweep.eqs))
            for sweep in sweeps(node, clocks)
        )
        self.uses = {eq: use_of(eq.rhs) for eq in node.eqs if isinstance(eq.rhs, Apply)}
        self.bodies = {eq: Plan(eq.rhs.body) for eq in node.eqs if isinstance(eq.rhs, Scan)}
        self.checks = tuple((check, clocks[check.cond]) for check in node.checks)

    def tick(self, one: Pass, env: Env, memory: Memory) -> None:
        """Runs a sweep at one tick: fills `env`, replaces what `memory` holds."""
        following: dict[Var, Var] = {}
        for step in one.steps:
            if not is_on(step.clock, env):
                continue
            self.equation(step.eq, env, memory)
            if isinstance(step.eq.rhs, Fby | Post):
                following[step.eq.out] = step.eq.rhs.arg
        memory.update({out: env[arg] for out, arg in following.items()})

    def equation(self, eq: Equation, env: Env, memory: Memory) -> None:
        """The values of the Vars that an equation defines."""
        match eq.rhs:
            case Lit(constant):
                env[eq.out] = constant
            case Apply(op, args):
                env[eq.out] = value(op, tuple([env[a] for a in args]), self.uses[eq])
            case When(arg):
                env[eq.out] = env[arg]
            case Merge(cond, yes, no):
                env[eq.out] = env[yes] if env[cond] else env[no]
            case Fby(init, _, reset):
                opens = eq.out not in memory or (reset is not None and bool(env[reset]))
                env[eq.out] = start(init, eq.out, env) if opens else memory[eq.out]
            case Post(_, final, _):
                env[eq.out] = memory[eq.out] if eq.out in memory else env[final]
            case Scan() as scan:
                env.update(zip(eq.outs, self.bodies[eq].scan(scan, env), strict=True))
            case rhs:
                raise InternalError(f"the lowered IR has no {type(rhs).__name__}")

    def scan(self, scan: Scan, env: Env) -> Iterator[AnyArray]:
        """This body over the rows of its mapped arguments."""
        # Before its latency has passed a length may be anything: it is kept in range, as on every target.
        length = (
            scan.extent if scan.length is None else min(max(int(env[scan.length]), 1), scan.extent)
        )
        args = [env[a] for a in scan.args]
        pairs = list(zip(self.node.inputs, args, scan.mapped, strict=True))
        rows = [Env({v: np.asarray(a[t]) if m else a for v, a, m in pairs}) for t in range(length)]
        for one in self.passes:
            memory: Memory = {}
            for row in reversed(rows) if one.reverse else rows:
                self.tick(one, row, memory)
        for out, kind in zip(self.node.outputs, scan.outs, strict=True):
            if kind == "stack":
                stacked = np.zeros((scan.extent, *out.type.shape), out.type.format.dtype)
                stacked[:length] = [row[out] for row in rows]
                yield stacked
            else:
                yield rows[0 if kind == "first" else -1][out]


def is_on(clock: Clock, env: Env) -> bool:
    """Whether a clock is on at a tick."""
    return not clock or all(cond in env and bool(env[cond]) == on for cond, on in clock)


def start(init: Var | None, out: Var, env: Env) -> AnyArray:
    """What a state gives where its segment opens."""
    return np.zeros(out.type.shape, out.type.format.dtype) if init is None else env[init]


class Interpreter:
    """Executes a lowered node."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.plan = Plan(lowered.node)
        assert len(self.plan.passes) == 1, "a lowered node has one forward sweep"
        self.reset()

    def reset(self) -> None:
        defs = self.lowered.states
        self.memory: Memory = {defs[n].out: x for n, x in self.lowered.initial.items()}

    def step(self, inputs: list[AnyArray], ended: bool = False) -> list[AnyArray | None]:
        node = self.lowered.node
        hidden = [] if self.lowered.ended is None else [np.asarray(ended)]
        env = Env(zip(node.inputs, [np.array(x) for x in (*inputs, *hidden)], strict=True))
        memory = dict(self.memory)
        with np.errstate(all="ignore"):
            self.plan.tick(self.plan.passes[0], env, memory)
        for k, (check, clock) in enumerate(self.plan.checks):
            if is_on(clock, env) and not env[check.cond]:
                raise CheckFailed(k, values=spoken_of(node, check, env))
        self.memory = memory
        return [np.array(env[out]) if out in env else None for out in node.outputs]

    def run(self, inputs: list[AnyArray], ticks: int, ended: bool = False) -> list[Columns]:
        return run_by_steps(self, self.lowered.node.outputs, inputs, ticks, ended)

    def get_state(self) -> dict[str, AnyArray]:
        return {name: self.memory[eq.out].copy() for name, eq in self.lowered.states.items()}

    def set_state(self, state: Mapping[str, AnyArray]) -> None:
        self.memory = {self.lowered.states[name].out: np.array(x) for name, x in state.items()}
