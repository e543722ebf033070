"""`compile` and `diagnose`: from a node function to a program that runs, or to all its diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from seiche.backends.contracts import unmonitored
from seiche.backends.program import Executor, Program, Signature
from seiche.check.facts import Facts
from seiche.check.run import verify
from seiche.errors import NOWHERE, Diagnostic, SeicheError, fail
from seiche.ir import tree
from seiche.ir.core import Node
from seiche.schedule.budget import bytes_of, fitted
from seiche.schedule.deadline import bounded
from seiche.schedule.lower import Lowered, lower
from seiche.schedule.machine import schedule
from seiche.schedule.report import Report, report

Target = Literal["interp", "c", "xla"]
Arithmetic = Literal["strict", "fast"]


class Traced(Protocol):
    """A traced node with the trees of types of its arguments and results."""

    @property
    def node(self) -> Node: ...
    @property
    def inputs(self) -> dict[str, Any]: ...
    @property
    def outputs(self) -> Any: ...


class Traceable(Protocol):
    """What `compile` takes: a function made by `@node`."""

    name: str

    def trace(self, *args: Any, **static: Any) -> Traced: ...


def compile(
    node: Traceable,
    *args: Any,
    target: Target = "interp",
    arithmetic: Arithmetic = "strict",
    memory: int | str | None = None,
    deadline: int | str | None = None,
    monitors: bool = True,
    device: str | None = None,
    devices: int | Sequence[object] | None = None,
    shard: Mapping[str, int] | None = None,
    **static: Any,
) -> Program:
    """Traces, checks and schedules a node, for a target: "interp" (numpy, the meaning), "c" (C99, built and loaded) or "xla" (JAX).

    Further arguments are those of the node that are no streams (or a type, for an argument that is to be one). Raises all
    diagnostics of the first stage that found any. `arithmetic="fast"` lets the C compiler contract and reassociate.

    `memory` is a budget in bytes (or text such as "64KiB") for all that an instance holds, as the report predicts it: states,
    frames, tape and scratch. Tapes that do not fit are recomputed in chunks, with the same bits; SE908 says what it would take.

    `deadline` bounds the operations of the worst tick (or text such as "2.5x": times the mean tick's). The work of a frame is then spread
    over the ticks of the next, and what leaves it comes with the next close, later by one frame; SE912 says what would hold.

    With `monitors=False`, contracts (`assume`, `guarantee`) are left out, with all that only they need.

    For XLA, `device` is "cpu" or "gpu" (JAX's default), `devices` a number of them or a list, and `shard` the axis of inputs,
    states and other streams, by name, that is spread over these: `compile(fleet, target="xla", devices=4, shard={"x": 0})`.

    >>> import seiche as sc
    >>> @sc.node
    ... def twice(x: sc.f32) -> sc.f32:
    ...     return 2 * x
    >>> sc.compile(twice, target="c").step(1.5)
    array(3., dtype=float32)
    """
    if not hasattr(node, "trace"):
        raise fail(
            "SE109",
            f"compile takes a node, not {node!r}",
            NOWHERE,
            hint="decorate the function with @sc.node",
        )
    traced = node.trace(*args, **static)
    verify(traced.node)
    where = {"device": device, "devices": devices, "shard": shard}
    where = {name: given for name, given in where.items() if given is not None}

    def made(logical: Node) -> Program:
        lowered = lower(logical if monitors else unmonitored(logical))
        if deadline is not None:
            lowered = bounded(lowered, deadline)
        if memory is not None:
            lowered = fitted(lowered, bytes_of(memory, logical.loc))
        executor = executor_of(lowered, target, arithmetic, where)
        return Program(logical, lowered, _signature(traced), executor, _report, made)

    return made(traced.node)


def _report(program: Program) -> Report:
    return report(program.lowered, schedule(program.lowered).plan)


def _signature(traced: Traced) -> Signature:
    _, inputs = tree.flatten(traced.inputs)
    _, outputs = tree.flatten(traced.outputs)
    return Signature(inputs, outputs, tuple(traced.node.inputs), tuple(traced.node.outputs))


def executor_of(
    lowered: Lowered,
    target: str,
    arithmetic: Arithmetic = "strict",
    where: Mapping[str, Any] | None = None,
) -> Executor:
    """What runs a lowered node on a target; raises SE904 for one that is none."""
    where = where or {}
    if where and target != "xla":
        raise fail(
            "SE904",
            f"the target {target!r} does not choose {', '.join(where)}",
            NOWHERE,
            hint='target="xla" does',
        )
    match target:
        case "interp":
            from seiche.backends.interp import Interpreter

            return Interpreter(lowered)
        case "c":
            from seiche.backends.c.binding import CProgram

            return CProgram(lowered, arithmetic)
        case "xla":
            from seiche.backends.xla.executor import XlaProgram

            return XlaProgram(lowered, **where)
        case _:
            hint = 'the targets are "interp", "c" and "xla"'
            raise fail("SE904", f"there is no target {target!r}", NOWHERE, hint=hint)


def diagnose(node: Traceable, *args: Any, **static: Any) -> tuple[Diagnostic, ...]:
    """All diagnostics of a node, warnings included, without raising.

    >>> import seiche as sc
    >>> @sc.node
    ... def idle(x: sc.f32, y: sc.f32) -> sc.f32:
    ...     return x
    >>> [d.code for d in sc.diagnose(idle)]
    ['SE107']
    """
    try:
        traced = node.trace(*args, **static)
        facts: Facts = verify(traced.node)
        lower(traced.node)
    except SeicheError as error:
        return error.diagnostics
    return facts.warnings
