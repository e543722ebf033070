"""A processor in the loop: a program's ticks on a target beside the interpreter's, compared bit for bit.

Physical ticks are compared, from where each output's latency has passed; what is reported are logical ticks, as `Program.run`
numbers them. All NaNs are one value. The states at the end are compared too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seiche.backends.c.binding import CProgram
from seiche.backends.deploy.able import check_able
from seiche.backends.deploy.emulate import emulate as emulated
from seiche.backends.deploy.footprint import check_fits
from seiche.backends.deploy.harness import Job, Outcome
from seiche.backends.deploy.toolchain import Make, is_host
from seiche.backends.executor import CheckFailed, Columns, Executor
from seiche.backends.inputs import whole_stream
from seiche.backends.interp import Interpreter
from seiche.backends.program import Program
from seiche.errors import NOWHERE, fail
from seiche.ir.op import AnyArray
from seiche.schedule.lower import Lowered
from seiche.schedule.target import Target
from seiche.schedule.target import target as target_of


@dataclass(frozen=True)
class Difference:
    """The first thing that is not the same: an output at a tick (or, after the last tick, a state), and what either side says."""

    tick: int
    name: str
    interpreter: Any
    target: Any

    def __str__(self) -> str:
        return (
            f"tick {self.tick}: `{self.name}` is {_shown(self.target)} on the target, "
            f"{_shown(self.interpreter)} in the interpreter"
        )


@dataclass(frozen=True)
class Emulation:
    """A run on an emulated processor.

    `ticks` were compared; `difference` is the first one, None where all bits agree. `stopped` is the check that ended both alike,
    None where none did. `instructions` is the mean of a step, `instructions_max` the most that one took: exact counts, not cycles.
    `stack_bytes` is what steps were seen to use, up to 64 B more.
    """

    target: str
    ticks: int
    difference: Difference | None
    stopped: str | None
    instructions: float
    instructions_max: int
    stack_bytes: int
    elf: Path

    @property
    def agrees(self) -> bool:
        return self.difference is None


@dataclass(frozen=True)
class Reference:
    """What the interpreter did: outputs at the ticks that ran, the check that stopped it (from 1) or 0, its states."""

    columns: tuple[Columns, ...]
    ticks: int
    failed: int
    states: dict[str, AnyArray]


def emulate(
    program: Program,
    *inputs: Any,
    target: str = "cortex-m4f",
    compiler: Make | None = None,
    against: Literal["interp", "c"] = "interp",
    **named: Any,
) -> Emulation:
    """Runs a program from its first tick on an emulated processor, beside the interpreter; arguments as for `program.run`.

    `target` is a name, or the path of a user's file; `compiler` is "zig" or "gcc" (the first that is there). `against="c"` compares
    with C on this machine, for runs of a million ticks. Raises SE903 where an input does not fit, SE901, SE904, SE905 or SE909 where
    the program cannot be built for the target, SE911 where it cannot run.

    >>> import seiche as sc, numpy as np
    >>> @sc.node
    ... def twice(x: sc.f32) -> sc.f32:
    ...     return 2 * x
    >>> sc.emulate(sc.compile(twice), np.ones(3, np.float32), target="host")
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: error[SE904]: the host is not emulated
      hint: sc.compile(..., target="c") runs there
    """
    streams, ticks = whole_stream(program.signature, inputs, named)
    machine = target_of(target)
    if is_host(machine):
        hint = 'sc.compile(..., target="c") runs there'
        raise fail("SE904", "the host is not emulated", NOWHERE, hint=hint)
    check_able(program.lowered, machine)
    job = job_of(program.lowered, streams, ticks, machine)
    check_fits(job.scheduled, machine)
    run = emulated([job], compiler)
    done = run.outcomes[0]
    judge = CProgram(job.lowered) if against == "c" else Interpreter(job.lowered)
    found = difference(job, reference(job, judge), done)
    stopped = _stopped(program.lowered, done) if done.failed else None
    mean = done.instructions / max(1, done.ticks + (done.failed != 0))
    ran = min(ticks, done.ticks)
    return Emulation(machine.name, ran, found, stopped, mean, done.most, done.stack, run.elf)


def _stopped(lowered: Lowered, done: Outcome) -> str:
    """Which check, and at which tick."""
    k = done.failed - 1
    return f"{lowered.node.checks[k].said(lowered.node.name)}, at tick {done.ticks - lowered.check_latency[k]}"


def job_of(lowered: Lowered, streams: Sequence[AnyArray], ticks: int, target: Target) -> Job:
    """The physical ticks of a run whose input ends: its own, then those that bring out what is held back."""
    total = ticks + lowered.flush
    rows: list[AnyArray] = []
    for x in streams:
        blank = np.zeros((lowered.flush, *x.shape[1:]), x.dtype)
        rows.append(np.concatenate([x, blank]))
    if lowered.ended is not None:
        rows.append(np.arange(total) >= ticks)
    return Job(lowered, target, tuple(rows), total)


def reference(job: Job, machine: Executor | None = None) -> Reference:
    """The same rows by the interpreter (or another executor of the same program)."""
    lowered = job.lowered
    runner = machine or Interpreter(lowered)
    outputs = lowered.node.outputs
    shapes = [(job.ticks, *v.type.shape) for v in outputs]
    columns = tuple(
        Columns(np.zeros(s, v.type.format.dtype), np.zeros(job.ticks, bool))
        for v, s in zip(outputs, shapes, strict=True)
    )
    hidden = lowered.ended is not None
    for t in range(job.ticks):
        row = [np.asarray(x[t]) for x in job.inputs]
        try:
            results = runner.step(row[:-1], bool(row[-1])) if hidden else runner.step(row)
        except CheckFailed as stopped:
            return Reference(columns, t, stopped.check + 1, {})
        for column, result in zip(columns, results, strict=True):
            if result is not None:
                column.values[t], column.present[t] = result, True
    return Reference(columns, job.ticks, 0, runner.get_state())


def difference(job: Job, mine: Reference, theirs: Outcome) -> Difference | None:
    """The first difference by physical tick, then by output; None where there is none."""
    ticks = min(mine.ticks, theirs.ticks)
    found: list[tuple[int, Difference]] = []
    names = _names(job.lowered)
    pairs = zip(names, job.lowered.latency, mine.columns, theirs.columns, strict=True)
    for name, late, a, b in pairs:
        t = _first(a, b, late, ticks)
        if t is not None:
            found.append((t, Difference(t - late, name, _at(a, t), _at(b, t))))
    if found:
        return min(found, key=lambda pair: pair[0])[1]
    if (mine.ticks, mine.failed) != (theirs.ticks, theirs.failed):
        return Difference(ticks, "the check that stops it", mine.failed, theirs.failed)
    for name, value in mine.states.items():
        if not bool(same(value, theirs.states[name]).all()):
            return Difference(ticks, f"state {name}", value, theirs.states[name])
    return None


def _names(lowered: Lowered) -> list[str]:
    return [v.name for v in lowered.node.outputs]


def _first(a: Columns, b: Columns, start: int, stop: int) -> int | None:
    """The first tick at which two columns differ."""
    if start >= stop:
        return None
    part = slice(start, stop)
    there = np.asarray(a.present[part])
    equal = same(a.values[part], b.values[part]).reshape(stop - start, -1).all(axis=1)
    wrong = (there != b.present[part]) | (there & ~equal)
    found = np.flatnonzero(wrong)
    return start + int(found[0]) if len(found) else None


def _at(column: Columns, tick: int) -> AnyArray | None:
    return column.values[tick] if column.present[tick] else None


def same(a: AnyArray, b: AnyArray) -> AnyArray:
    """Where two arrays have the same bits, all NaNs alike.

    >>> same(np.float32([0.0, np.nan, 1.0]), np.float32([-0.0, np.nan, 1.0])).tolist()
    [False, True, True]
    """
    if a.dtype.kind != "f":
        return np.asarray(a == b)
    with np.errstate(invalid="ignore"):
        equal = (a == b) & (np.signbit(a) == np.signbit(b))
        return np.asarray(equal | (np.isnan(a) & np.isnan(b)))


def _shown(value: Any) -> str:
    """A value with its exact bits where it is a single float."""
    if value is None:
        return "absent"
    array = np.asarray(value)
    if array.shape == () and array.dtype.kind == "f":
        return f"{float(array):.9g} ({float(array).hex()})"
    return np.array2string(array, threshold=8, separator=", ", floatmode="unique")
