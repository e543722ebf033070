"""Nodes that the tests of the machine and of the C back end share, and their agreement with the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np

import seiche.ir.ops  # noqa: F401
from seiche.backends.c.binding import CProgram
from seiche.backends.executor import CheckFailed, Executor
from seiche.backends.interp import Interpreter
from seiche.ir.builder import Builder
from seiche.ir.core import Equation, Fby, Node, Scan, Var
from seiche.ir.loops import Buffer, Declare, For, If, Stmt, Store
from seiche.numbers.formats import Type, bool_, f32, i32
from seiche.schedule.lower import Lowered, lower
from seiche.schedule.machine import Scheduled, schedule
from tests.agreement import same_bits

B, I, F = bool_[()], i32[()], f32[()]


def close(b: Builder, state: Var, init: Any, next: Var, reset: Var | None = None) -> None:
    """The equation of a state."""
    b.eqs.append(Equation((state,), Fby(b.lit(init, state.type), next, reset)))


def named(var: Var, name: str) -> Var:
    var.name = name
    return var


def draw(type: Type, rng: np.random.Generator) -> np.ndarray:
    if type.format.kind == "bool":
        return rng.random(type.shape) < 0.5
    if type.format.is_integer:
        return rng.integers(0, 6, type.shape).astype(type.format.dtype)
    return (
        np.round(rng.normal(size=type.shape) * 8) / 8
        if not type.format.exact
        else rng.normal(size=type.shape)
    )


def inputs_of(node: Node, ticks: int, seed: int = 0) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        [np.asarray(draw(v.type, rng), v.type.format.dtype) for v in node.inputs]
        for _ in range(ticks)
    ]


def step(machine: Executor, x: list[np.ndarray]) -> Any:
    """The results of a tick, or the number of the check that failed."""
    try:
        return machine.step(x)
    except CheckFailed as failed:
        return failed.check


def agree(node: Node, ticks: int = 12, seed: int = 0) -> CProgram:
    """Asserts that C gives the interpreter's bits: results, states, and once more after a reset."""
    lowered: Lowered = lower(node)
    interpreter, compiled = Interpreter(lowered), CProgram(lowered)
    for _ in range(2):
        for t, x in enumerate(inputs_of(lowered.node, ticks, seed)):
            if lowered.ended is not None:
                x = x[:-1]
            mine, theirs = step(compiled, x), step(interpreter, x)
            if isinstance(theirs, int):
                assert mine == theirs
                break
            for out, a, b in zip(node.outputs, mine, theirs, strict=True):
                assert (a is None) == (b is None), (t, out)
                assert a is None or same_bits(a, b), f"tick {t}, {out}:\n{a}\nis not\n{b}"
            wanted = interpreter.get_state()
            for name, x in compiled.get_state().items():
                assert same_bits(x, wanted[name]), (
                    f"tick {t}, state {name}:\n{x}\nis not\n{wanted[name]}"
                )
        interpreter.reset()
        compiled.reset()
    return compiled


def machine_of(node: Node) -> Scheduled:
    return schedule(lower(node))


def loops(block: list[Stmt]) -> list[For]:
    """All loops, outermost first."""
    found: list[For] = []
    for s in block:
        if isinstance(s, For):
            found += [s, *loops(s.body)]
        elif isinstance(s, If):
            found += loops(s.yes) + loops(s.no)
    return found


def stores(block: list[Stmt]) -> list[Buffer]:
    """The buffers that are stored to, in textual order."""
    found: list[Buffer] = []
    for s in block:
        match s:
            case Store(buffer):
                found.append(buffer)
            case For(body=body):
                found += stores(body)
            case If(_, yes, no):
                found += stores(yes) + stores(no)
            case _:
                assert not isinstance(s, Declare) or s.buffer.storage == "local"
    return found


def scratch(node: Node) -> dict[str, int]:
    """The elements of the scratch buffers."""
    return {b.name: b.type.size for b in machine_of(node).machine.scratch}


# Nodes.


def gru(n: int = 40, m: int = 128, seed: int = 0) -> Node:
    """A gated recurrent unit with weights [in, out], as one would write it in the language."""
    rng = np.random.default_rng(seed)
    b, x, h = Builder(), Var("x", f32[n]), Var("h", f32[m])

    def weight(name: str, *shape: int) -> Var:
        return b.lit(rng.normal(size=shape) * 0.1, f32[shape], name)

    def product(v: Var, w: Var, bias: Var, name: str) -> Var:
        row = b.reshape(v, shape=(1, *v.type.shape))
        return named(b.add(b.reshape(b.matmul(row, w), shape=(3 * m,)), bias), name)

    def part(v: Var, k: int) -> Var:
        return b.slice(v, start=(k * m,), stop=((k + 1) * m,), step=(1,))

    gi = product(x, weight("wi", n, 3 * m), weight("bi", 3 * m), "gi")
    gh = product(h, weight("wh", m, 3 * m), weight("bh", 3 * m), "gh")
    reset = named(b.sigmoid(b.add(part(gi, 0), part(gh, 0))), "reset")
    keep = named(b.sigmoid(b.add(part(gi, 1), part(gh, 1))), "keep")
    new = named(b.tanh(b.add(part(gi, 2), b.mul(reset, part(gh, 2)))), "new")
    after = b.add(b.mul(b.sub(b.lit(1.0, f32[m]), keep), new), b.mul(keep, h))
    close(b, h, 0.0, named(after, "y"))
    return b.node("gru", (x,), (after,))


def online_regression(n: int = 64, m: int = 32) -> Node:
    """y is predicted by w^T x; w moves against the gradient: an outer product."""
    b = Builder()
    x, y, w = Var("x", f32[1, n]), Var("y", f32[1, m]), Var("w", f32[n, m])
    error = named(b.sub(b.matmul(x, w), y), "error")
    gradient = b.matmul(x, error, trans_a=True)
    after = b.sub(w, b.mul(b.lit(0.01, f32[n, m]), gradient))
    close(b, w, 0.0, after)
    loss = named(b.sum(b.square(error), axes=(0, 1)), "loss")
    return b.node("regression", (x, y), (loss,))


def accumulator_body(n: int, m: int) -> Node:
    """s = s + outer(a, d)."""
    b = Builder()
    a, d, s = Var("a", f32[n]), Var("d", f32[m]), Var("s", f32[n, m])
    outer = b.matmul(b.reshape(a, shape=(n, 1)), b.reshape(d, shape=(1, m)))
    after = b.add(s, outer)
    close(b, s, 0.0, after)
    return b.node("accumulate", (a, d), (after,))


def scan(
    b: Builder,
    body: Node,
    args: tuple[Var, ...],
    kinds: tuple[Any, ...],
    extent: int,
    length: Var | None = None,
) -> tuple[Var, ...]:
    """All arguments mapped."""
    shapes = [
        v.type.format[(extent, *v.type.shape)] if k == "stack" else v.type
        for v, k in zip(body.outputs, kinds, strict=True)
    ]
    rhs = Scan(body, args, (True,) * len(args), kinds, extent, length)
    return b.define_many(rhs, tuple(shapes), tuple(f"out{k}" for k in range(len(kinds))))
