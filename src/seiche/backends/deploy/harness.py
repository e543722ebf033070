"""One ELF from many programs: what is generated for the loop over ticks, its input file, its output file read back.

A row is `struct X_in` or `struct X_out` as it lies in memory: layouts are known, and both sides are little-endian. The sizes that
the processor reports are compared with those that were predicted.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seiche.backends.c.printer import Sources, print_c
from seiche.backends.c.source import files_of
from seiche.backends.executor import Columns
from seiche.errors import InternalError
from seiche.ir.op import AnyArray
from seiche.numbers.units import carried, kept
from seiche.schedule.layout import Layout, in_layout, out_layout, self_layout, weights_layout
from seiche.schedule.lower import Lowered
from seiche.schedule.machine import Scheduled, schedule
from seiche.schedule.target import Target

BLOCK_BYTES = 1 << 14
"""Of rows that are read, and written, at once; less where RAM is small."""


@dataclass(frozen=True)
class Job:
    """A program for a target, and the physical ticks that it is to run: rows of its inputs, the hidden one included."""

    lowered: Lowered
    target: Target
    inputs: tuple[AnyArray, ...]
    ticks: int

    @cached_property
    def scheduled(self) -> Scheduled:
        return schedule(self.lowered, self.target)

    @cached_property
    def sources(self) -> Sources:
        return print_c(self.scheduled.machine)

    @cached_property
    def layouts(self) -> tuple[Layout, Layout, Layout, Layout]:
        """Of self, in, out and weights on the target."""
        m = self.scheduled.machine
        whole = self_layout(m, self.target.pointer)
        return whole, in_layout(m), out_layout(m), weights_layout(m)

    def rows(self) -> bytes:
        """The inputs as the processor reads them."""
        _, layout, _, _ = self.layouts
        table = np.zeros(self.ticks, row_type(layout))
        for buffer, x in zip(self.scheduled.machine.inputs, self.inputs, strict=True):
            table[buffer.name] = kept(buffer.units, x)
        return struct.pack("<I", self.ticks) + table.tobytes()


@dataclass(frozen=True)
class Outcome:
    """What a processor did: an output at each tick that ran, the number of the check that stopped it or 0, its states at the
    end by name, instructions of all steps and of the longest one (exact where the emulator counts), bytes of stack.
    """

    columns: tuple[Columns, ...]
    ticks: int
    failed: int
    states: dict[str, AnyArray]
    instructions: int
    most: int
    stack: int


def row_type(layout: Layout) -> np.dtype[np.void]:
    """A struct as numpy reads it, without arenas and pointers.

    >>> from seiche.schedule.layout import layout
    >>> row_type(layout([])).itemsize
    0
    """
    members = [(m.name, m.buffer) for m in layout.members if m.buffer is not None]
    return np.dtype(
        {
            "names": [name for name, _ in members],
            "formats": [(np.dtype(b.type.format.dtype), b.type.shape) for _, b in members],
            "offsets": [layout.offsets[name] for name, _ in members],
            "itemsize": layout.size,
        }
    )


def sources_of(jobs: Sequence[Job]) -> dict[str, str]:
    """The C files of the programs, and the table of them for the loop."""
    files: dict[str, str] = {}
    for job in jobs:
        files |= files_of(job.sources)
    return {**files, "seiche/programs.c": _programs(jobs)}


def defines(jobs: Sequence[Job]) -> dict[str, int]:
    """What the loop is told by the compiler's command: how many programs, how large its blocks are."""
    widest = max(layout.size for job in jobs for layout in job.layouts[1:3])
    there = jobs[0].target.ram
    wanted = BLOCK_BYTES if there is None else min(BLOCK_BYTES, there // 16)
    block = max(wanted, widest)
    return {"PROGRAMS": len(jobs), "BLOCK_BYTES": block + -block % 8}


PROGRAM = """\
static struct {name} {name}_self;

static void {name}_start(void)
{{
    {name}_init(&{name}_self, {weights});
}}

static int32_t {name}_tick(const void *in, void *out)
{{
    return {name}_step(&{name}_self, in, out);
}}

"""
ENTRY = """\
    {{sizeof(struct {name}_in), sizeof(struct {name}_out),
     {{sizeof(struct {name}), sizeof(struct {name}_in), sizeof(struct {name}_out), sizeof(struct {name}_weights)}},
     &{name}_self, {name}_start, {name}_tick}},
"""


def _programs(jobs: Sequence[Job]) -> str:
    names = [job.sources.name for job in jobs]
    weights = [f"&{j.sources.name}_weights_data" if j.sources.weights else "0" for j in jobs]
    return "".join(
        [
            '#include "programs.h"\n',
            *(f'#include "../{name}.h"\n' for name in names),
            "\n",
            *(PROGRAM.format(name=n, weights=w) for n, w in zip(names, weights, strict=True)),
            "const struct program programs[] = {\n",
            *(ENTRY.format(name=name) for name in names),
            "};\n",
        ]
    )


class Reader:
    """Reads what the processor wrote, front to back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def bytes(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise InternalError(f"the processor wrote {len(self.data)} bytes, {self.at + n} wanted")
        self.at += n
        return self.data[self.at - n : self.at]

    def words(self, n: int) -> tuple[int, ...]:
        return struct.unpack(f"<{n}I", self.bytes(4 * n))

    def rows(self, row: np.dtype[np.void]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """Blocks of rows up to the empty one."""
        blocks = [np.zeros(0, row)]
        while count := self.words(1)[0]:
            blocks.append(np.frombuffer(self.bytes(count * row.itemsize), row))
        return np.concatenate(blocks)


def outcome(job: Job, reader: Reader) -> Outcome:
    """What a program did; raises InternalError where its structs are not what was predicted."""
    measured, predicted = reader.words(4), tuple(layout.size for layout in job.layouts)
    if measured != predicted:
        raise InternalError(
            f"`{job.sources.name}` on {job.target.name}: predicted {predicted} bytes, measured {measured}"
        )
    table = reader.rows(row_type(job.layouts[2]))
    failed, low, high, most, stack = reader.words(5)
    whole = np.frombuffer(reader.bytes(predicted[0]), row_type(job.layouts[0]), 1)[0]
    states = {n: carried(b.units, np.array(whole[b.name])) for n, b in job.scheduled.states.items()}
    columns = tuple(_columns(job, table))
    return Outcome(columns, len(table), failed, states, high << 32 | low, most, stack)


def _columns(job: Job, table: np.ndarray[tuple[int], np.dtype[np.void]]) -> list[Columns]:
    machine, ticks = job.scheduled.machine, len(table)
    everywhere = np.ones(ticks, bool)
    flags = [machine.present.get(b) for b in machine.outputs]
    return [
        Columns(
            carried(b.units, np.array(table[b.name], order="C")),
            everywhere if f is None else np.asarray(table[f.name], bool),
        )
        for b, f in zip(machine.outputs, flags, strict=True)
    ]
