"""A main that replays recorded inputs and compares every output with what the interpreter gave: C99, without a library.

Inputs and outputs are constants of the file, so that it runs on any board: it returns 0, or 1 with the tick in a variable.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seiche.backends.c.expr import ctype, literal, stripped
from seiche.backends.c.helpers import nans
from seiche.backends.deploy.compare import Reference
from seiche.backends.deploy.harness import Job
from seiche.backends.executor import Columns
from seiche.ir.loops import Buffer
from seiche.ir.op import AnyArray
from seiche.numbers.units import kept

BYTES_MAX = 1 << 16
"""Of recorded inputs and outputs in the file: more ticks than fit are left out."""

TEXT = """\
/* Replays recorded inputs of {name} and compares what comes out, bit for bit. Written by Seiche.
   Returns 0 where all agrees, else 1: `{name}_replay_tick` then says at which tick. */
#include <string.h>

#include "{name}.h"

{nans}#define TICKS {ticks}u

extern volatile uint32_t {name}_replay_tick;
volatile uint32_t {name}_replay_tick;

static const struct {name}_in inputs[TICKS] = {{
{inputs}}};

static const struct {name}_out outputs[TICKS] = {{
{outputs}}};

static struct {name} instance;
static struct {name}_out out;
{helpers}
/* Whether the outputs of a tick are those recorded: where they are absent, or have not come yet, anything will do. */
static int agrees(uint32_t tick, const struct {name}_out *wanted)
{{
{checks}    return 1;
}}

int main(void)
{{
    {name}_init(&instance, {weights});
    for ({name}_replay_tick = 0u; {name}_replay_tick < TICKS; {name}_replay_tick += 1u) {{
        const uint32_t tick = {name}_replay_tick;
        if ({name}_step(&instance, &inputs[tick], &out) != 0 || !agrees(tick, &outputs[tick])) {{
            return 1;
        }}
    }}
    return 0;
}}
"""

FLOATS = """
/* Equal bits, but that all NaNs are one value. */
static int same_{f}(const {type} *a, const {type} *b, size_t n)
{{
    size_t i;
    for (i = 0u; i < n; ++i) {{
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0 && (a[i] == a[i] || b[i] == b[i])) {{
            return 0;
        }}
    }}
    return 1;
}}
"""


def replay_file(job: Job, done: Reference) -> str:
    """The text of the file, for the first ticks of a job."""
    machine, sources = job.scheduled.machine, job.sources
    row = sum(b.type.nbytes for b in (*machine.inputs, *machine.outputs))
    ticks = min(done.ticks, max(1, BYTES_MAX // max(1, row)))
    given = zip(machine.inputs, job.inputs, strict=True)
    columns = list(zip(machine.outputs, done.columns, strict=True))
    wanted = [*((b, c.values) for b, c in columns), *_flags(job, columns)]
    floats = sorted({b.type.format.carrier for b, _ in columns} & {"f32", "f64"})
    kinds = {"f32": "float", "f64": "double"}
    inputs, outputs = _rows(list(given), ticks), _rows(wanted, ticks)
    return TEXT.format(
        name=sources.name, ticks=ticks, nans=nans(inputs + outputs), inputs=inputs, outputs=outputs,
        helpers="".join(FLOATS.format(f=f, type=kinds[f]) for f in floats), checks="".join(_checks(job)),
        weights=f"&{sources.name}_weights_data" if sources.weights else "0",
    )  # fmt: skip


def _flags(job: Job, columns: list[tuple[Buffer, Columns]]) -> Iterator[tuple[Buffer, AnyArray]]:
    present = job.scheduled.machine.present
    return ((present[b], c.present) for b, c in columns if b in present)


def _rows(members: list[tuple[Buffer, AnyArray]], ticks: int) -> str:
    """An initialiser of structs, one per tick."""
    if not members:
        return "    {0},\n" * ticks
    return "".join(
        f"    {{{', '.join(f'.{b.name} = {_value(b, x[t])}' for b, x in members)}}},\n"
        for t in range(ticks)
    )


def _value(b: Buffer, x: AnyArray) -> str:
    items = [
        stripped(literal(v.item(), b.type.format)) for v in kept(b.units, np.asarray(x)).reshape(-1)
    ]
    return f"{{{', '.join(items)}}}" if b.type.shape else items[0]


def _checks(job: Job) -> Iterator[str]:
    """A comparison per output."""
    machine = job.scheduled.machine
    waits = [late for late in job.lowered.latency if late]
    if not waits:
        yield "    (void)tick;\n"
    for b, late in zip(machine.outputs, job.lowered.latency, strict=True):
        if b in machine.present:
            flag = machine.present[b].name
            wrong = f"out.{flag} != wanted->{flag} || (out.{flag} != 0 && !{_same(b)})"
        else:
            wrong = f"!{_same(b)}"
        test = f"tick >= {late}u && ({wrong})" if late else wrong
        yield f"    if ({test}) {{\n        return 0;\n    }}\n"


def _same(b: Buffer) -> str:
    mark = "" if b.type.shape else "&"
    mine, theirs = f"{mark}out.{b.name}", f"{mark}wanted->{b.name}"
    if b.type.format.carrier in ("f32", "f64"):
        return f"same_{b.type.format.carrier}({mine}, {theirs}, {b.type.size}u)"
    count = f"{b.type.size}u * sizeof({ctype(b.type.format)})"
    return f"(memcmp({mine}, {theirs}, {count}) == 0)"
