"""The memory table of a program on a target: what was predicted, and the same as its compiler laid it out.

RAM and constants are known before there is any C; the code's size and the stack are the compiler's to say. A program that cannot
fit is refused before it is compiled, or when it is known what its code and its stack add, with the lines that take most.
"""

from __future__ import annotations

from dataclasses import dataclass

from seiche.backends.c.printer import Sources
from seiche.backends.c.source import files_of
from seiche.backends.deploy.elf import Elf
from seiche.backends.deploy.objects import Objects, objects
from seiche.backends.deploy.toolchain import Toolchain
from seiche.errors import NOWHERE, Loc, fail
from seiche.schedule.machine import Scheduled
from seiche.schedule.report import Report, report
from seiche.schedule.target import Target

CONTRIBUTORS = 5
"""Lines that are named where a program does not fit."""


@dataclass(frozen=True)
class Row:
    """A piece of memory: where it lies ("RAM" or "flash"), bytes predicted (None: not knowable before) and measured."""

    what: str
    where: str
    predicted: int | None
    measured: int | None


@dataclass(frozen=True)
class Footprint:
    """The memory table of a program on a target.

    instance             struct X: states, scratch, bookkeeping; one per instance
    inputs and outputs   struct X_in and struct X_out, which the caller owns
    variables            what X.c keeps elsewhere: nothing
    stack of a step      a bound: the frames of all functions of X.c, without the compiler's own library
    weights, tables      struct X_weights, one for all instances; constant tables of X.c, where the compiler keeps them
    code                 the rest of X.c, without the compiler's own library
    """

    target: str
    rows: tuple[Row, ...]

    def __getitem__(self, what: str) -> Row:
        return next(row for row in self.rows if row.what == what)

    def total(self, where: str) -> int:
        """Bytes of RAM or flash: measured where that is known, else predicted."""
        known = (r.predicted if r.measured is None else r.measured for r in self.rows if r.where == where)  # fmt: skip
        return sum(n or 0 for n in known)

    def __str__(self) -> str:
        head = f"{'memory':<26}{'where':<7}{'predicted B':>13}{'measured B':>13}"
        rows = [f"{r.what:<26}{r.where:<7}{_cell(r.predicted):>13}{_cell(r.measured):>13}" for r in self.rows]  # fmt: skip
        sums = [f"{f'all {w}':<26}{w:<7}{'':>13}{self.total(w):>13,}" for w in ("RAM", "flash")]
        return "\n".join([head, *rows, *sums])


def _cell(size: int | None) -> str:
    return "" if size is None else f"{size:,}"


PROBE = """\
#include "{name}.h"

extern struct {name} {name}_instance;
extern struct {name}_in {name}_inputs;
extern struct {name}_out {name}_outputs;
struct {name} {name}_instance;
struct {name}_in {name}_inputs;
struct {name}_out {name}_outputs;
"""


def built(chain: Toolchain, sources: Sources) -> Objects:
    """A program's objects, and one of an instance with its inputs and outputs, as firmware would declare them."""
    probe = PROBE.format(name=sources.name)
    return objects(chain, {**files_of(sources), "seiche_probe.c": probe})


def footprint(scheduled: Scheduled, target: Target, name: str, made: Objects) -> Footprint:
    """The memory table; `name` is the program's in C."""
    plan = scheduled.plan
    own, blob = made.files[name], made.files.get(f"{name}_weights")
    probe = made.files["seiche_probe"].symbols
    ports = probe[f"{name}_inputs"] + probe[f"{name}_outputs"]
    tables = sum(own.symbols.get(b.name, 0) for b, _ in scheduled.machine.tables)
    weights = 0 if blob is None else blob.symbols.get(f"{name}_weights_data", 0)
    return Footprint(
        target.name,
        (
            Row("instance", "RAM", plan.struct_bytes, probe[f"{name}_instance"]),
            Row("inputs and outputs", "RAM", plan.in_bytes + plan.out_bytes, ports),
            Row("variables", "RAM", 0, _variables(own)),
            Row("stack of a step", "RAM", None, made.stack_bytes(name)),
            Row("weights", "flash", plan.weights_bytes, weights),
            Row("tables", "flash", plan.table_bytes, tables),
            Row("code", "flash", None, _flash(own) - tables),
        ),
    )


def _variables(elf: Elf) -> int:
    return sum(n for s, n in elf.sections.items() if s.startswith((".data", ".bss", ".sdata", ".sbss")))  # fmt: skip


def _flash(elf: Elf) -> int:
    return sum(n for s, n in elf.sections.items() if s.startswith((".text", ".rodata", ".srodata")))  # fmt: skip


def check_fits(scheduled: Scheduled, target: Target) -> None:
    """Raises SE909 where what is known before compiling is more than the target has."""
    plan = scheduled.plan
    ram = plan.struct_bytes + plan.in_bytes + plan.out_bytes
    _check(scheduled, target, "RAM", ram)
    _check(scheduled, target, "flash", plan.weights_bytes + plan.table_bytes)


def check_measured(found: Footprint, scheduled: Scheduled, target: Target) -> None:
    """Raises SE909 where it is too much with its stack and its code, SE904 where structs are not laid out as predicted."""
    for row in found.rows[:2]:
        if row.predicted != row.measured:
            what = (
                f"`{scheduled.plan.name}`: {row.what} of {row.predicted} B became {row.measured} B"
            )
            why = f"by the file of target {target.name!r} a pointer has {target.pointer} B"
            raise fail("SE904", what, NOWHERE, why)
    for where, part in (("RAM", "stack of a step"), ("flash", "code")):
        why = f"{found[part].measured or 0:,} B of {where} are the {part}, as it is compiled"
        _check(scheduled, target, where, found.total(where), why)


def _check(scheduled: Scheduled, target: Target, where: str, needed: int, *more: str) -> None:
    """Raises SE909 where a memory is too small, with the lines that take most of it."""
    there = target.ram if where == "RAM" else target.flash
    if there is None or needed <= there:
        return
    plan = scheduled.plan
    what = f"`{plan.name}` needs {needed:,} B of {where}; {target.name} has {there:,} B"
    kinds = ("state", "scratch") if where == "RAM" else ("constants",)
    why = _largest(report(scheduled.lowered, plan), kinds)
    hint = "`sc.compile(..., memory=...)` cuts tapes into chunks" * (where == "RAM")
    raise fail("SE909", what, scheduled.lowered.node.loc, *more, *why, hint=hint)


def _largest(known: Report, kinds: tuple[str, ...]) -> list[tuple[str, Loc | None]]:
    """The lines that take most, and what they take it for."""
    sizes = {at: sum(getattr(cost, k) for k in kinds) for at, cost in known.by_line.items()}
    most = sorted(((n, at) for at, n in sizes.items() if n), key=lambda pair: -pair[0])
    said = f"B of {' and '.join(kinds)}"
    return [(f"{n:,} {said}: {_held(known, kinds, at)}", at) for n, at in most[:CONTRIBUTORS]]


def _held(known: Report, kinds: tuple[str, ...], at: Loc) -> str:
    """The largest of a line's memories by name."""
    places = {"constants": ("weights", "table")}
    wanted = [place for kind in kinds for place in places.get(kind, (kind,))]
    facts = [b for b in known.plan.buffers if b.place in wanted and b.loc == at]
    facts.sort(key=lambda b: -b.nbytes)
    names = list(dict.fromkeys(f"`{'/'.join((*b.scope, b.user_name))}`" for b in facts))
    return ", ".join(names[:CONTRIBUTORS]) + ", ..." * (len(names) > CONTRIBUTORS)
