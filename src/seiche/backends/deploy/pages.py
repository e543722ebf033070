"""The texts of a deployed folder: how to build it, what it needs, where it leaves MISRA C."""

from __future__ import annotations

from seiche.backends.c.printer import Sources
from seiche.backends.deploy.footprint import Footprint
from seiche.backends.deploy.harness import Job
from seiche.backends.deploy.toolchain import Toolchain, is_host, roots
from seiche.schedule.target import Target

CMAKE = """\
# {name}: written by Seiche. In a firmware project: add_subdirectory({name}), then link to the library {name}.
cmake_minimum_required(VERSION 3.16)
project({name} C)

add_library({name} STATIC {files})
target_include_directories({name} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})
set_target_properties({name} PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
# Strict arithmetic: products and sums are not fused, or the bits would differ from the interpreter's.
target_compile_options({name} PRIVATE -ffp-contract=off -fno-math-errno)
{definitions}
# Replays recorded inputs: `cmake --build . --target {name}_replay`, where there are some.
if(EXISTS ${{CMAKE_CURRENT_SOURCE_DIR}}/{name}_replay.c)
    add_executable({name}_replay EXCLUDE_FROM_ALL {name}_replay.c)
    target_link_libraries({name}_replay PRIVATE {name})
endif()
"""

README = """\
# {name}

Written by Seiche for {title}. C99 that includes only `<stdint.h>`, `<stddef.h>` and `<string.h>`: no heap, no recursion, no library
of mathematics.

```c
#include "{name}.h"

static struct {name} instance;

{name}_init(&instance, {weights});
for (;;) {{
    struct {name}_in in = {{/* the inputs of this tick */}};
    struct {name}_out out;
    if ({name}_step(&instance, &in, &out) != 0) {{
        {name}_reset(&instance); /* a check failed */
    }}
}}
```
{checks}
| file | what |
|---|---|
| `{name}.h`, `{name}.c` | the program |{blob}
| `{name}_replay.c` | replays recorded inputs, compares the outputs (where inputs were given) |
| `CMakeLists.txt` | a library for a firmware project |
| `TRACE.md`, `{name}_trace.json` | each line of the program with its lines of C, and back |
| `FLOW.md`, `{name}_flow.json` | flow facts: how often each loop runs at most, for tools that bound times |
| `MISRA.md` | deviations from MISRA C:2012 |

## Memory

`{target}`, compiled by {compiler}

| what | where | predicted B | measured B |
|---|---|---|---|
{rows}

Predicted is what Seiche knew before there was any C; measured is what the compiler made of it. An instance is {state} B of state,
{scratch} B of scratch, and bookkeeping. The stack is a bound: the frames of the program's own functions. The code is without
the compiler's own library{soft}.

## Work

At most {operations} operations per tick. {latency}

## Build

```sh
cc {flags} -c {name}.c
```

`-ffp-contract=off` is needed for the interpreter's bits: a compiler may else fuse a product and a sum. Where the project builds with
`-ffreestanding`, add `-fbuiltin` (zig: `-fhosted`), or taking the bits of a float becomes a call of memcpy.
"""

BLOB = "\n| `{name}_weights.c` | constants, which may lie in flash |"


def cmake(sources: Sources, target: Target) -> str:
    """CMakeLists.txt."""
    blob = [f"{sources.name}_weights.c"] if sources.weights else []
    known = [flag.removeprefix("-D") for flag in _definitions(target)]
    definitions = f"target_compile_definitions({sources.name} PRIVATE {' '.join(known)})\n"
    return CMAKE.format(
        name=sources.name,
        files=" ".join([f"{sources.name}.c", *blob]),
        definitions=definitions if known else "",
    )


def _definitions(target: Target) -> tuple[str, ...]:
    return () if is_host(target) else roots(target)


def readme(job: Job, chain: Toolchain, memory: Footprint) -> str:
    """README.md."""
    name, plan, target = job.sources.name, job.scheduled.plan, job.target
    late = max(job.lowered.latency, default=0)
    flags = ["-std=c99", "-O2", "-ffp-contract=off", "-fno-math-errno", *_definitions(target)]
    return README.format(
        name=name, title=target.title, target=target.name, compiler=chain.compiler.version or "zig",
        weights=f"&{name}_weights_data" if job.sources.weights else "0",
        blob=BLOB.format(name=name) if job.sources.weights else "", rows="\n".join(_rows(memory)),
        state=f"{plan.state_bytes:,}", scratch=f"{plan.scratch_bytes:,}",
        soft="" if target.floats else ", which here holds the arithmetic of floats",
        operations=f"{plan.operations:,}", flags=" ".join(flags),
        checks=_checks(job),
        latency=f"Outputs come up to {late} ticks late." if late else "No output comes late.",
    )  # fmt: skip


CHECKS = """
## Contracts

`{name}_step` returns 0, or the number of what does not hold; `instance.fault` keeps it, `instance.fault_tick` the tick.

| number | what |
|---|---|
{rows}
"""


def _checks(job: Job) -> str:
    """What the numbers of checks mean, where there are contracts."""
    machine = job.scheduled.machine
    if machine.fault_tick is None:
        return ""
    texts = (said.replace("|", "\\|") for said in machine.checks)
    rows = "\n".join(f"| {k} | {text} |" for k, text in enumerate(texts, 1))
    return CHECKS.format(name=job.sources.name, rows=rows)


def _rows(memory: Footprint) -> list[str]:
    def cell(size: int | None) -> str:
        return "" if size is None else f"{size:,}"

    rows = [f"| {r.what} | {r.where} | {cell(r.predicted)} | {cell(r.measured)} |" for r in memory.rows]  # fmt: skip
    sums = [f"| all | {where} | | {memory.total(where):,} |" for where in ("RAM", "flash")]
    return [*rows, *sums]


DEVIATIONS: dict[str, str] = {
    "2.5": "A macro may be unused: the head of the file is the same for every program.",
    "7.2": "None is written: the checker does not see the suffix that UINT64_C gives.",
    "8.7": "The functions of the header are called from other files.",
    "8.9": "Tables of constants stand together at file scope.",
    "8.14": "`restrict` says what the generator knows, that instance, weights, inputs and outputs are apart; loops are slow without.",
    "10.1": "Bits of floats are taken apart with masks and shifts of unsigned constants.",
    "10.3": "An int8_t or int16_t takes a value that was computed in int, reduced by a cast where it may be larger.",
    "10.4": "A bool is a uint8_t, combined with 0 and 1.",
    "10.5": "A comparison is cast to uint8_t, the format of a bool.",
    "10.6": "A product or sum of indices may be assigned to a wider type; it is in range by construction.",
    "10.8": "Arithmetic that wraps goes through unsigned types and back by a cast.",
    "12.1": "Products in an index stand without parentheses.",
    "12.3": "None is written: the checker reads initialisers of tables so.",
    "13.4": "None is written: the checker reads designated initialisers so.",
    "14.4": "A uint8_t that is 0 or 1 is a condition.",
    "15.5": "A step returns at once where a check had failed.",
    "15.6": "The body of a loop follows the pragma that speaks of it.",
    "15.7": "A chain of if and else if may need no else.",
    "17.7": "The result of memcpy is its first argument.",
    "18.4": "A scratch buffer is a place in the arena: a pointer plus a constant.",
    "20.1": "An include may follow others of the same head.",
    "20.7": "A macro's parameter that is a type cannot stand in parentheses.",
    "21.15": "memcpy takes the bits of a float.",
}
"""Rules of MISRA C:2012 that generated programs leave, and why; `cppcheck --addon=misra` finds no other (tests)."""


def misra(name: str) -> str:
    """MISRA.md."""
    rows = [f"| {rule} | {why} |" for rule, why in DEVIATIONS.items()]
    head = f"# {name}: deviations from MISRA C:2012\n\nWritten by Seiche. `cppcheck --addon=misra` finds no others in generated programs.\n"
    return "\n".join([head, "| rule | why |", "|---|---|", *rows]) + "\n"
